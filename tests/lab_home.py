"""A home for the tests of `course_lib.lab`: progress and build in a folder of their own."""

from pathlib import Path

import pytest

from course_lib.lab import _names, _predict


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setenv("COURSE_BUILD", str(tmp_path / "build"))
    monkeypatch.delenv("COURSE_SCALE", raising=False)
    monkeypatch.setattr(_names, "_current", None)
    monkeypatch.setattr(_predict, "_asked", {})
    return tmp_path
