"""The learner's progress: one small JSON file that moves between machines.

Sections: exercises (points), predictions, quiz, reflections, scoreboard. Each entry has the time at
which it was made. An entry only gives way to one of the same or a higher rank (`_rank`), so that
running an untouched notebook again takes nothing away.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from course_lib._files import write_text
from course_lib._paths import repo_root


__all__ = ["ProgressError", "export", "load", "merge", "path", "peek", "record"]

VERSION = 1
SECTIONS = ("exercises", "predictions", "quiz", "reflections", "scoreboard")
Book = dict[str, dict[str, dict[str, Any]]]


class ProgressError(RuntimeError):
    """The progress file cannot be read or written; the message says what to do."""


def path() -> Path:
    """Return the progress file: `COURSE_PROGRESS`, else in the checkout, else in this folder."""
    if chosen := os.environ.get("COURSE_PROGRESS"):
        return Path(chosen).expanduser()
    return (repo_root() or Path.cwd()) / "progress.json"


def load() -> Book:
    """Return all entries by section and id.

    A file that cannot be understood is moved to `progress.broken-<n>.json` and named, never
    overwritten. Raises ProgressError for a file of a later version of the course.
    """
    with _locked(path()):
        return _read_or_move(path())


def peek() -> int:
    """Return the points in the file without changing anything.

    Raises ValueError when the file cannot be understood.
    """
    return _sum(_parse(path().read_text(encoding="utf-8")))


def record(section: str, id: str, entry: dict[str, Any]) -> None:
    """Add one entry. Safe when two notebooks write at once; points never fall.

    A file that cannot be written is named in a printed sentence; the lab goes on.
    """
    entry = {**entry, "when": datetime.now(UTC).isoformat()}
    try:
        with _locked(path()):
            book = _read_or_move(path())
            _write(path(), _best(book, {section: {id: entry}}))
    except OSError as problem:
        print(
            f"Your progress could not be saved in {path()}: {problem.strerror or problem}. "
            "Set COURSE_PROGRESS to a file that you may write."
        )


def export(target: str | Path) -> Path:
    """Write a copy of the progress to `target`, to carry it to another machine; return its path."""
    target = Path(target).expanduser()
    _write(target, load())
    print(f'Progress written to {target.name}. On the other machine: lab.progress.merge("…").')
    return target


def merge(source: str | Path) -> None:
    """Take over what another machine's progress file has better or later.

    Raises ProgressError when `source` is missing or is not a progress file; it is not changed.
    """
    source = Path(source).expanduser()
    if not source.is_file():
        raise ProgressError(f"There is no file {source}. Give the path of an exported progress.")
    try:
        other = _parse(source.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ProgressError(f"{source.name} is not a progress file: {problem}.") from problem
    with _locked(path()):
        mine = _read_or_move(path())
        both = _best(mine, other)
        _write(path(), both)
    print(f"Merged {source.name}: {_sum(mine)} points before, {_sum(both)} now.")


def _sum(book: Book) -> int:
    return sum(entry["points"] for entry in book["exercises"].values())


def _rank(section: str, entry: dict[str, Any]) -> int:
    """Return how much an entry is worth: points, right answers, a guess or text that is there."""
    if section == "exercises":
        return entry["points"]
    key = {"quiz": "right", "predictions": "guess", "reflections": "text"}.get(section)
    return 0 if key is None else int(entry.get(key) not in (None, False, ""))


def _best(mine: Book, other: Book) -> Book:
    """Return the better entries of both books; among equals, the later."""
    book = {section: dict(mine.get(section, {})) for section in SECTIONS}
    for section in SECTIONS:
        for id, entry in other.get(section, {}).items():
            old = book[section].get(id)
            if old is None or _order(section, entry) > _order(section, old):
                book[section][id] = entry
    return book


def _order(section: str, entry: dict[str, Any]) -> tuple[int, str]:
    return _rank(section, entry), entry["when"]


def _parse(text: str) -> Book:
    """Return the entries of a file's text; raise ValueError that says what is wrong with it."""
    data = json.loads(text)  # json.JSONDecodeError is a ValueError
    if not isinstance(data, dict) or not isinstance(data.get("version"), int):
        raise ValueError("it has no version")
    if data["version"] > VERSION:
        raise ProgressError(
            f"The progress file has version {data['version']}; this course knows {VERSION}. "
            "Update the course. The file was left as it is."
        )
    book: Book = {section: data.get(section, {}) for section in SECTIONS}
    for section, entries in book.items():
        if not isinstance(entries, dict):
            raise ValueError(f"its section {section} is no table")
        for id, entry in entries.items():
            whole = isinstance(entry, dict) and isinstance(entry.get("when"), str)
            if section == "exercises":
                whole = whole and isinstance(entry.get("points"), int)
            if not whole:
                raise ValueError(f"its entry {section}/{id} is incomplete")
    return book


def _read_or_move(file: Path) -> Book:
    if not file.is_file():
        return {section: {} for section in SECTIONS}
    try:
        return _parse(file.read_text(encoding="utf-8"))
    except ValueError as problem:  # a UnicodeDecodeError is one, too
        number = 1
        while (aside := file.with_name(f"{file.stem}.broken-{number}.json")).exists():
            number += 1
        os.replace(file, aside)
        print(
            f"{file.name} could not be read ({problem}). It was moved to {aside.name}; nothing "
            "was deleted. A new file begins now."
        )
        return {section: {} for section in SECTIONS}


def _write(file: Path, book: Book) -> None:
    text = json.dumps({"version": VERSION, **book}, indent=1, sort_keys=True, ensure_ascii=False)
    write_text(file, text)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Let one notebook at a time read and replace the file; the lock lies outside the course."""
    from filelock import FileLock

    key = hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"small-memory-{key}.lock", timeout=30):
        yield
