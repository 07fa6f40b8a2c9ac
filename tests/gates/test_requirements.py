"""pyproject.toml is the only list of requirements; the lock and environment.yml follow it."""

import re
import tomllib

import pytest
import yaml
from house import ROOT, assert_none
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ("3.11", "3.12", "3.13")


def lock() -> dict[str, list[Requirement]]:
    """The pins by package; several lines of one package differ in their markers."""
    pins: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        text = line.split(" --hash")[0].split("#")[0].strip().rstrip("\\").strip()
        if text:
            requirement = Requirement(text)
            pins.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return pins


def wanted() -> list[Requirement]:
    """What a learner and a contributor need: the core and the extras `chem` and `dev`."""
    extras = PROJECT["optional-dependencies"]
    return [Requirement(text) for text in PROJECT["dependencies"] + extras["chem"] + extras["dev"]]


def pinned(requirement: Requirement) -> Version | None:
    """The version of a line `name==version`, or None for any other line."""
    found = re.fullmatch(r"==([^,*]+)", str(requirement.specifier))
    return Version(found[1]) if found else None


def broken(wants: list[Requirement], pins: dict[str, list[Requirement]]) -> list[str]:
    """Requirements that the lock does not meet, in words."""
    found = []
    for want in wants:
        lines = pins.get(canonicalize_name(want.name), [])
        if not lines:
            found.append(f"{want} is not in requirements.lock")
        for line in lines:
            version = pinned(line)
            if version is None or not want.specifier.contains(version, prereleases=True):
                found.append(f"the lock has {line}, pyproject.toml wants {want}")
    return found


def test_the_lock_pins_everything():
    loose = [str(line) for lines in lock().values() for line in lines if pinned(line) is None]
    assert_none(loose, "The lock holds exact versions:")


def test_the_lock_is_within_the_ranges():
    assert_none(broken(wanted(), lock()), "Run `python -m course_lib lock`:")


def test_ranges_have_a_floor():
    extras = [text for texts in PROJECT["optional-dependencies"].values() for text in texts]
    offenders = [text for text in PROJECT["dependencies"] + extras if ">=" not in text]
    assert_none(offenders, "A requirement names the oldest version that works:")


def test_environment_is_python_pip_lock_and_the_package():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == "small-memory"
    assert environment["channels"] == ["conda-forge"]
    python, pip, from_pip = environment["dependencies"]
    name, rest = re.fullmatch(r"(python)(.*)", python).groups()
    assert (name, pip) == ("python", "pip")
    assert SpecifierSet(rest) == SpecifierSet(PROJECT["requires-python"])
    assert list(from_pip) == ["pip"]
    lock_line, package = from_pip["pip"]
    assert lock_line == "-r requirements.lock"
    assert package in ("-e .", "--no-deps -e .", ".", "--no-deps .")


def test_all_pythons_are_allowed():
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert all(f"{version}.0" in allowed for version in PYTHONS)
    assert "3.10.0" not in allowed


@pytest.mark.parametrize(
    ("want", "pin", "count"),
    [
        ("a>=2", "a==2.1", 0),
        ("a>=2", "a==1.9", 1),
        ("a>=2,<3", "a==3.0", 1),
        ("a>=2", "a>=2", 1),
        ("a>=2", "b==2", 1),
    ],
)
def test_the_gate_itself(want, pin, count):
    line = Requirement(pin)
    assert len(broken([Requirement(want)], {line.name: [line]})) == count
