"""`make release` and `make book`: the labs for classes and for readers without a server."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course_lib import _book, _files
from course_lib.lab.build import SourceError, read
from course_lib.lab.release import assignment, assignments, points_of, release


ROOT = Path(__file__).parents[2]
LABS = sorted((ROOT / "notebooks" / "source").glob("[0-9][0-9]_*.py"))


@pytest.fixture
def school(tmp_path) -> Path:
    """A checkout with the real sources, so that nothing is written beside the real labs."""
    shutil.copytree(ROOT / "notebooks" / "source", tmp_path / "notebooks" / "source")
    return tmp_path


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_every_exercise_is_graded_once_with_its_points(path):
    lab = read(path)
    points = points_of(lab)
    marks = [c.metadata.nbgrader for c in assignment(lab, points).cells if "nbgrader" in c.metadata]
    graded = {m.grade_id.rsplit("-", 1)[1]: m.points for m in marks if m.grade}
    assert graded == points
    assert len({m.grade_id for m in marks}) == len(marks)
    assert all(m.locked and not m.solution for m in marks if m.grade)


def test_release_writes_a_course_and_keeps_the_grades(school):
    folder = release(school)
    grades = folder / "gradebook.db"
    grades.write_text("thirty students")
    assert release(school) == folder
    assert grades.read_text() == "thirty students"
    assert [file.stem for file in assignments(folder)] == [path.stem for path in LABS]


@pytest.mark.skipif(
    importlib.util.find_spec("nbgrader") is None,
    reason="nbgrader is not installed: pip install -e '.[grading]'",
)
def test_nbgrader_makes_the_students_version(school):
    folder = release(school)
    name = LABS[0].stem
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", name]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, done.stderr.decode()
    notebook = nbformat.read(folder / "release" / name / f"{name}.ipynb", as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells)
    assert "BEGIN SOLUTION" not in code
    assert "...  # your code here" in code


def test_a_check_that_is_no_exercise_is_named():
    lab = read(LABS[0])
    with pytest.raises(SourceError, match="is not an exercise of this lab"):
        assignment(lab, {})


def test_a_checkout_without_labs_is_told(tmp_path):
    with pytest.raises(SourceError, match="no lab"):
        release(tmp_path)


def test_book_has_a_page_for_each_lab_and_solution(tmp_path):
    for folder in ("notebooks", "notebooks/solutions"):
        (tmp_path / folder).mkdir()
        cells = [nbformat.v4.new_markdown_cell("<!-- source -->\n# A lab & more")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / folder / "10_sample.ipynb")
    index = _book.main(tmp_path)
    text = index.read_text(encoding="utf-8")
    assert '<a href="10_sample.html">A lab &amp; more</a>' in text
    for name in ("10_sample.html", "10_sample_solutions.html"):
        assert "A lab" in (index.parent / name).read_text(encoding="utf-8")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "book.txt"
    _files.write_text(target, "old")

    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_files.os, "replace", no_room)
    with pytest.raises(OSError, match="No space left"):
        _files.write_text(target, "new")
    assert target.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["book.txt"]
