"""Run a notebook as it stands, once per test session, with nbmake; keep what it took and earned."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest import mock

from nbmake.nb_run import NotebookRun

from course_lib import lab
from course_lib.lab.build import lab_environment, watch_children


@dataclass(frozen=True)
class Played:
    """One run of a notebook in a fresh kernel."""

    error: str  # traceback of the first cell that failed, or ""
    seconds: float
    peak: int  # bytes resident
    progress: dict  # sections of the progress file

    @property
    def points(self) -> dict[str, int]:
        """Points by exercise."""
        entries = self.progress.get("exercises", {})
        return {id: entry["points"] for id, entry in entries.items()}

    @property
    def right(self) -> set[str]:
        """The quiz questions that were answered rightly."""
        return {id for id, entry in self.progress.get("quiz", {}).items() if entry["right"]}


@cache
def play(path: Path) -> Played:
    """Execute all cells of `path`; a cell may take 10 minutes before it is stopped."""
    with tempfile.TemporaryDirectory(prefix="small-memory-") as name:
        folder = Path(name)
        with environment(lab_environment(folder)), watch_children() as watch:
            result = NotebookRun(path, default_timeout=600).execute()
        book = folder / "progress.json"
        progress = json.loads(book.read_text(encoding="utf-8")) if book.is_file() else {}
    error = result.error.trace if result.error else ""
    return Played(error, watch.seconds, watch.peak, progress)


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Replace the environment of this process and of its children for a while."""
    with mock.patch.dict(os.environ, values, clear=True):
        yield


def all_points(name: str) -> dict[str, int]:
    """The points of a lab's exercises, by id."""
    return {row["id"]: row["points"] for row in lab.exercises(name)}
