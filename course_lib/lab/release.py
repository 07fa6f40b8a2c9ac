"""Write the labs as a course for nbgrader: `make release`.

nbgrader (extra `[grading]`) hands out notebooks, collects them and grades the checks. We write its
*source* version of each lab, solutions inside; nbgrader itself makes the students' version.
A learner who works alone never needs this.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib._files import write_text
from course_lib.lab.build import HOLE, Lab, SourceError, read


COURSE = "small-memory"
_CHECK = re.compile(r"^(check\.(\w+)\(.*\))$", re.DOTALL)


def release(root: Path) -> Path:
    """Write `build/release`, an nbgrader course with one assignment per lab; return the folder.

    Each exercise cell becomes a solution cell, each check a locked cell that gives its points.
    A folder that is already there keeps what nbgrader put beside `source/` (submissions, grades).
    """
    folder = root / "build" / "release"
    sources = sorted((root / "notebooks" / "source").glob("[0-9][0-9]_*.py"))
    if not sources:
        raise SourceError("There is no lab in notebooks/source to release.")
    for path in sources:
        lab = read(path)
        target = folder / "source" / lab.name / f"{lab.name}.ipynb"
        write_text(target, nbformat.writes(assignment(lab, points_of(lab))))
    write_text(folder / "nbgrader_config.py", _config())
    return folder


def points_of(lab: Lab) -> dict[str, int]:
    """Return the points of each exercise of a lab, by the name of its check."""
    from course_lib import lab as labs

    return {row["id"].split(".", 1)[1]: row["points"] for row in labs.exercises(lab.name)}


def assignment(lab: Lab, points: dict[str, int]) -> NotebookNode:
    """Return nbgrader's source version of a lab: solutions inside, checks as graded cells."""
    cells = []
    for number, cell in enumerate(lab.cells):
        if "solution" in cell.tags:
            continue
        if cell.kind == "markdown":
            cells.append(new_markdown_cell(cell.source))
        elif "### BEGIN SOLUTION" in cell.source:
            cells.append(_solution(cell.source, f"{lab.name}-answer-{number}"))
        elif found := _CHECK.match(cell.source.strip()):
            cells.append(_graded(found[1], found[2], lab, points))
        else:
            cells.append(new_code_cell(cell.source))
    notebook = new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    return notebook


def _solution(source: str, grade_id: str) -> NotebookNode:
    return new_code_cell(source, metadata={"nbgrader": _marks(grade_id, solution=True)})


def _graded(call: str, name: str, lab: Lab, points: dict[str, int]) -> NotebookNode:
    if name not in points:
        raise SourceError(f"{lab.name}: check.{name} is not an exercise of this lab.")
    source = f"result = {call}\ndisplay(result)\nassert result.passed, result.message"
    marks = _marks(f"{lab.name}-check-{name}", grade=True, points=points[name])
    return new_code_cell(source, metadata={"nbgrader": marks})


def _marks(
    grade_id: str, *, solution: bool = False, grade: bool = False, points: int | None = None
) -> dict:
    """Return nbgrader's cell metadata, schema version 3."""
    marks = {
        "cell_type": "code",
        "grade": grade,
        "grade_id": grade_id,
        "locked": grade,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    return marks if points is None else {**marks, "points": points}


def _config() -> str:
    stub = json.dumps({"python": HOLE})
    return (
        "# Written by `make release`. Next: nbgrader generate_assignment LAB\n"
        "c = get_config()  # noqa: F821\n"
        f'c.CourseDirectory.course_id = "{COURSE}"\n'
        f"c.ClearSolutions.code_stub = {stub}\n"
        "c.ExecutePreprocessor.timeout = 600\n"
    )


def assignments(folder: Path) -> Sequence[Path]:
    """Return the assignment notebooks of a written release, in the order of the labs."""
    return sorted((folder / "source").glob("*/*.ipynb"))
