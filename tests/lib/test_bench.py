"""`make bench`: every technique in one short table and one file."""

import json

import pytest
import torch

from course_lib import _bench
from course_lib.mobiletl import bench as mobiletl
from course_lib.s2a import bench as s2a


@pytest.mark.parametrize("compiler", [True, False])
def test_the_table_and_the_file_agree(compiler, monkeypatch, tmp_path, capsys):
    """With a compiler there are two more rows; here it is one that leaves the network as it is."""
    monkeypatch.setattr(torch, "compile", lambda network: network)
    monkeypatch.setattr(s2a, "_has_compiler", lambda: compiler)
    monkeypatch.setattr(mobiletl, "SETTINGS", (("mobilenetv3_small_050", 64, "sign"),))
    monkeypatch.setattr(mobiletl, "BLOCKS", (3,))
    tiny = {"model_name": "vit_tiny_patch16_224", "img_size": 64, "depth": 1}
    monkeypatch.setattr(s2a, "NETWORK", tiny)
    monkeypatch.setattr(s2a, "CODES", 1 << 20)
    target = tmp_path / "bench.json"
    assert _bench.main(target, rounds=1) == 0
    printed = capsys.readouterr().out
    rows = json.loads(target.read_text())["rows"]
    assert [row["technique"] for row in rows] == ["mobiletl"] * 2 + ["s2a"] * (8 if compiler else 6)
    for row in rows:
        assert all(str(row[name]) in printed for name in _bench.COLUMNS if name in row)
        assert row["step time"] > 0
        if "compiled" not in row["case"]:
            (plain, _), (ours, _) = row["bytes"].values()
            assert row["saved bytes"] == round(ours / plain, 3) < 1
    assert max(map(len, printed.splitlines())) < 130 and "NaN" not in printed


@pytest.mark.parametrize("lacks", ["compiler", "header"])
def test_without_a_compiler_nothing_is_compiled(lacks, monkeypatch):
    if lacks == "compiler":
        monkeypatch.setenv("CXX", "no-such-compiler")
    else:
        monkeypatch.setattr(s2a.sysconfig, "get_path", lambda name: "/no/such/folder")
    assert not s2a._has_compiler()


def test_every_technique_of_the_library_is_in_the_bench():
    from course_lib._paths import repo_root

    found = {path.parent.name for path in (repo_root() / "course_lib").glob("*/bench.py")}
    assert found == set(_bench.TECHNIQUES)
