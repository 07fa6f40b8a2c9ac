"""The scoreboard: one row per lab with what the learner measured, and the points so far."""

from typing import Any

from course_lib.lab import _display, _names, progress
from course_lib.lab.exercise import exercises


def scoreboard(**row: Any) -> None:
    """Keep this lab's row (numbers or short words) and show all rows with points.

    Points of exercises that wait for an answer count as 0. Raises RuntimeError before `lab.start`.
    """
    lab = _names.demand_current("lab.scoreboard")
    for name, value in row.items():
        if hasattr(value, "item"):
            row[name] = value.item()
        elif not isinstance(value, str | int | float | None):
            raise ValueError(f"{name} is {value!r}; a scoreboard holds numbers and short words.")
    progress.record("scoreboard", lab, {"row": row})
    book = progress.load()
    rows = []
    for name in sorted(book["scoreboard"].keys() | {lab}):
        earned, whole = _points(name, book)
        kept = book["scoreboard"].get(name, {}).get("row", {})
        rows.append({"lab": name, "points": f"{earned} of {whole}", **kept})
    _display.table(rows)


def _points(lab: str, book: progress.Book) -> tuple[int, int]:
    known = {one["id"]: one["points"] for one in exercises(lab)}
    earned = [book["exercises"][id]["points"] for id in known if id in book["exercises"]]
    return sum(earned), sum(known.values())
