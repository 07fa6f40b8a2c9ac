"""Every notebook runs from top to bottom: untouched, and solved."""

import os

import pytest
from house import LEARNER, NAMES, SOLUTIONS, SOURCES
from labs.play import all_points, play

from course_lib.lab import build


GIB = 2**30
MOST_MEMORY = 4 * GIB
# Machines differ, and this one may be shared: budgets in the headers hold for two free cores.
FACTOR = float(os.environ.get("COURSE_TIME_FACTOR", "2"))


def each_lab(paths):
    """One test per lab, under the lab's marker."""
    rows = zip(SOURCES, paths, strict=True)
    return pytest.mark.parametrize(
        ("source", "path"),
        [
            pytest.param(source, path, marks=getattr(pytest.mark, f"lab{source.name[:2]}"))
            for source, path in rows
        ],
        ids=NAMES,
    )


@pytest.mark.slow
@each_lab(LEARNER)
def test_an_untouched_notebook_runs_within_its_budget(source, path):
    header, run = build.read(source).header, play(path)
    print(f"{path.stem}: {run.seconds:.0f} s of {header.seconds} s, peak {run.peak / GIB:.2f} GiB")
    assert run.error == "", run.error
    assert run.seconds <= FACTOR * header.seconds, (
        f"{run.seconds:.0f} s; the budget is {header.seconds} s times {FACTOR:g}"
    )
    assert run.peak <= MOST_MEMORY, f"{run.peak / GIB:.2f} GiB resident"


@pytest.mark.slow
@each_lab(LEARNER)
def test_an_untouched_notebook_earns_nothing(source, path):
    run = play(path)
    assert sum(run.points.values()) == 0, run.points
    assert run.right == set()


@pytest.mark.slow
@each_lab(SOLUTIONS)
def test_the_solutions_earn_everything(source, path):
    run = play(path)
    asked = {
        line.split('"')[1]
        for cell in build.read(source).cells
        for line in cell.source.splitlines()
        if line.startswith("lab.quiz(")
    }
    assert run.error == "", run.error
    assert run.points == all_points(source.stem)
    assert run.right == asked


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_the_header_promises_what_the_course_promises(source):
    header = build.read(source).header
    most = 60 if source.name[:2] in ("00", "01") else 120
    assert header.seconds <= most, f"{source.name}: {header.seconds} s, the limit is {most} s"
    size, unit = header.memory.split()
    assert float(size) * {"MiB": 2**20, "GiB": GIB}[unit] <= MOST_MEMORY
    assert 10 <= header.minutes <= 60
