"""Rules for the notebooks: built from their sources, executed, readable by everyone."""

import re

import nbformat
import pytest
from house import LEARNER, NAMES, SOLUTIONS, SOURCES, assert_none, at

from course_lib.lab import build


CELLS = {"00": range(25, 71)}  # others: a full lab
FULL_LAB = range(45, 71)
PARTS = {"00": [1, 4, 5, 7, 9, 10, 14]}  # at least these; others: all
ALL_PARTS = list(range(1, 15))
TELLING = 20  # characters; shorter lines of a solution give nothing away
ORDINARY = ("for ", "with ", "if ", "else", "import ", "from ", "def ", "class ", "#", '"""')

each_lab = pytest.mark.parametrize("source", SOURCES, ids=NAMES)
each_notebook = pytest.mark.parametrize("path", LEARNER + SOLUTIONS, ids=at)


def opened(path):
    assert path.is_file(), f"{at(path)} is missing; run `make notebooks`"
    return nbformat.read(path, as_version=4)


def test_there_are_labs():
    assert SOURCES, "notebooks/source holds no lab"


def test_notebooks_equal_a_fresh_build():
    assert_none(build.differences(), "Run `make notebooks` and commit what it writes:")


@each_notebook
def test_outputs_follow_the_rules(path):
    assert_none(build.complaints(opened(path)), f"{at(path)}:")
    assert any(cell.get("outputs") for cell in opened(path).cells), f"{at(path)} has no output"


@each_notebook
def test_first_line_names_the_source(path):
    first = opened(path).cells[0].source.splitlines()[0]
    assert f"notebooks/source/{path.stem}.py: edit that file" in first


@each_notebook
def test_length(path):
    cells = len(opened(path).cells)
    allowed = CELLS.get(path.stem[:2], FULL_LAB)
    room = 20 if path.parent.name == "solutions" else 0  # the cells that only solutions show
    assert allowed.start <= cells < allowed.stop + room, f"{at(path)}: {cells} cells"


@each_lab
def test_all_parts_are_there_in_order(source):
    parts = [cell.part for cell in build.read(source).cells if cell.part is not None]
    number = source.stem[:2]
    assert parts == sorted(set(parts)), f"{at(source)}: parts {parts} are not in order, each once"
    missing = set(PARTS.get(number, ALL_PARTS)) - set(parts)
    assert not missing, f"{at(source)}: parts {sorted(missing)} are missing; mark them with part=N"


@each_lab
def test_no_solution_leaks(source):
    lab = build.read(source)
    learner = opened(source.parent.parent / f"{lab.name}.ipynb")
    shown = {line.strip() for cell in learner.cells for line in cell.source.splitlines()}
    sources = {cell.source for cell in learner.cells}
    offenders = []
    for cell in lab.cells:
        if "solution" in cell.tags and cell.source in sources:
            offenders.append(f"{at(source, cell.line)}: a cell that only the solutions may show")
        hidden = build.solution_lines(cell.source)
        offenders += [
            f"{at(source, cell.line)}: {line}"
            for line in hidden
            if len(line) >= TELLING and not line.startswith(ORDINARY) and line in shown
        ]
    offenders += [f"{at(source)}: a mark is left" for line in shown if "SOLUTION ###" in line]
    offenders += [f"{at(source)}: {line}" for line in shown if re.search(r"#+ \w+ SOLUTION", line)]
    assert_none(offenders, "The learner's notebook shows a solution:")
