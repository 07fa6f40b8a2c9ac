"""Fixtures of the journeys."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from house import ROOT
from journey.places import borrow, clone, quiet_jupyter


@pytest.fixture(scope="session")
def newcomer(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A fresh clone and the environment variables of a person whose packages are there already."""
    if os.name == "nt":
        pytest.skip("this journey stops its server by signals, which Windows does not have")
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs git and a repository to clone from")
    folder = tmp_path_factory.mktemp("newcomer")
    root = clone(folder / "course")
    venv = folder / "venv"
    borrow(venv, root)
    (venv / "share").symlink_to(Path(sys.prefix) / "share")
    (venv / "course-ready").write_text("borrowed")
    return root, {"COURSE_VENV": str(venv), **quiet_jupyter(folder / "jupyter")}
