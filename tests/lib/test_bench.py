"""`make bench`: every technique in one short table and one file."""

import json

from course_lib import _bench
from course_lib.mobiletl import bench as mobiletl
from course_lib.s2a import bench as s2a


def test_the_table_and_the_file_agree(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(mobiletl, "SETTINGS", (("mobilenetv3_small_050", 64, "sign"),))
    monkeypatch.setattr(mobiletl, "BLOCKS", (3,))
    tiny = {"model_name": "vit_tiny_patch16_224", "img_size": 64, "depth": 1}
    monkeypatch.setattr(s2a, "NETWORK", tiny)
    monkeypatch.setattr(s2a, "CODES", 1 << 20)
    target = tmp_path / "bench.json"
    assert _bench.main(target, rounds=1) == 0
    printed = capsys.readouterr().out
    rows = json.loads(target.read_text())["rows"]
    assert [row["technique"] for row in rows] == ["mobiletl"] * 2 + ["s2a"] * 6
    for row in rows:
        assert all(str(row[name]) in printed for name in _bench.COLUMNS)
        assert row["step time"] > 0
        (plain, _), (ours, _) = row["bytes"].values()
        assert row["saved bytes"] == round(ours / plain, 3) < 1
    assert max(map(len, printed.splitlines())) < 130


def test_every_technique_of_the_library_is_in_the_bench():
    from course_lib._paths import repo_root

    found = {path.parent.name for path in (repo_root() / "course_lib").glob("*/bench.py")}
    assert found == set(_bench.TECHNIQUES)
