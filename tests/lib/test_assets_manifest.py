"""The manifest, the errors for names, and what `import course_lib.assets` costs."""

import re
import subprocess
import sys
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement

from course_lib import assets
from course_lib._paths import data_dir
from course_lib.assets import _fetch, _manifest


def test_names_hold_what_the_course_promises():
    promised = {"openmoji", "mnist5k", "digits", "efficientnet_lite0"}
    promised |= {"cifar10", "cifar100", "flowers102", "pets"}
    assert promised <= set(assets.names())


def test_every_asset_stands_in_the_readme_with_its_license():
    rows = (data_dir() / "README.md").read_text(encoding="utf-8").splitlines()
    for asset in _manifest.manifest().values():
        (row,) = [row for row in rows if row.startswith(f"| `{asset.name}` ")]
        size = "full scale" if asset.hub else f"{asset.size / 2**20:.1f} MiB"
        assert row.count(f"| {asset.license} |") == row.count(f"| {size} |") == 1, row
        assert f"| {asset.version} |" in row, row


def test_public_names_are_sorted_and_real():
    assert assets.__all__ == sorted(assets.__all__)
    assert all(hasattr(assets, name) for name in assets.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        assets.lod  # noqa: B018


def test_files_need_no_torch():
    code = (
        "import sys; from course_lib import assets; assets.names(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: assets.load("openmojis"), "did you mean 'openmoji'"),
        (lambda: assets.load("zzzz"), "known are cifar10"),
        (lambda: assets.path("mnist"), "mnist5k"),
        (lambda: assets.fetch(["digit"]), "digits"),
        (lambda: assets.model("efficientnet_lite"), "efficientnet_lite0"),
        (lambda: assets.path("cifar10"), r"assets.load\('cifar10'\)"),
        (
            lambda: assets.path("mobilenetv2_100.ra_in1k"),
            r"assets.model\('mobilenetv2_100.ra_in1k'\)",
        ),
    ],
)
def test_wrong_names_get_the_right_one(call, words):
    with pytest.raises(assets.AssetError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("size = 9", ""), "needs file, sha256 and size"),
        (('sources = [{ repo = "x" }]', "sources = []"), "IndexError|sources"),
        (('repo = "x"', 'web = "x"'), "sources among"),
        (('license = "CC0"', ""), "license"),
        (('kind = "pictures"', 'kind = "pictures"\ncolor = 1'), "color"),
        (("[toy]", "[toy"), "not valid TOML"),
    ],
)
def test_bad_manifest_names_file_and_entry(tmp_path, monkeypatch, change, words):
    text = (
        '[toy]\nkind = "pictures"\nversion = "1"\nlicense = "CC0"\norigin = "tests"\nfile = "x"\n'
        f'sha256 = "{"0" * 64}"\nsize = 9\nsources = [{{ repo = "x" }}]\n'
    )
    (tmp_path / "assets.toml").write_text(text.replace(*change))
    monkeypatch.setattr(_manifest, "data_dir", lambda: tmp_path)
    with pytest.raises(assets.AssetError, match=words) as error:
        assets.names()
    assert str(tmp_path / "assets.toml") in str(error.value)


def test_files_of_the_repository_and_of_packages_are_verified_too(tmp_path, monkeypatch):
    row = (
        'kind = "model"\nversion = "1"\nlicense = "CC0"\norigin = "tests"\nfile = "x"\n'
        'sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"\nsize = 5\n'
    )
    (tmp_path / "assets.toml").write_text(
        f'[here]\n{row}sources = [{{ repo = "checkpoints/x" }}]\n'
        f'[other]\n{row}sources = [{{ package = "sklearn/datasets/data/iris.csv" }}]\n'
    )
    monkeypatch.setattr(_manifest, "data_dir", lambda: tmp_path)
    monkeypatch.setattr(_fetch, "data_dir", lambda: tmp_path)
    with pytest.raises(assets.AssetError, match="is missing; restore it with `git checkout"):
        assets.path("here")
    (tmp_path / "checkpoints").mkdir()
    file = tmp_path / "checkpoints" / "x"
    file.write_bytes(b"hello")
    assert assets.path("here") == file
    file.write_bytes(b"hallo!")
    with pytest.raises(assets.AssetError, match="has 6 of 5 bytes; restore it"):
        assets.path("here")
    with pytest.raises(assets.AssetError, match="iris.csv.* of 5 bytes; install again"):
        assets.path("other")


def test_wheels_are_no_requirements():
    """They are fetched alone: nothing of them is installed or imported."""
    required = {Requirement(line).name for line in requires("small-memory") or []}
    wheels = [
        s.where for a in _manifest.manifest().values() for s in a.sources if s.kind == "wheel"
    ]
    assert wheels and all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", wheel) for wheel in wheels)
    assert required.isdisjoint(wheel.partition("==")[0] for wheel in wheels)
