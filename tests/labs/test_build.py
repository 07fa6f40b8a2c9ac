"""The builder, on two small sample labs."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course_lib.lab import build


SAMPLE = Path(__file__).parent / "sample"
HEADER = """\
# ---
# jupyter:
#   lab:
#     minutes: 5
#     seconds: 30
#     memory: 100 MiB
#     level: beginner
# ---

# %% [markdown] part=1
# # A title
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sample repository, built and executed once."""
    root = tmp_path_factory.mktemp("sample") / "repo"
    shutil.copytree(SAMPLE, root)
    build.build(root=root, say=lambda _: None)
    return root


@pytest.fixture
def copy(built, tmp_path):
    """A copy of the built sample that a test may change."""
    return Path(shutil.copytree(built, tmp_path / "repo"))


def open_notebook(root: Path, name: str = "notebooks/00_sample.ipynb"):
    return nbformat.read(root / name, as_version=4)


def code_of(notebook) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def rewrite(root: Path, old: str, new: str, name: str = "notebooks/source/00_sample.py") -> None:
    path = root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def rebuild(root: Path, **options) -> list[str]:
    """Build again and return what the build said."""
    said: list[str] = []
    build.build(root=root, say=said.append, **options)
    return said


def test_the_learner_gets_a_hole_where_the_solutions_have_code(built):
    learner = code_of(open_notebook(built))
    solved = code_of(open_notebook(built, "notebooks/solutions/00_sample.ipynb"))
    assert f"    {build.HOLE}" in learner
    assert "twice_the_number" not in learner
    assert "twice_the_number = number + number" in solved
    assert build.HOLE not in solved
    assert "SOLUTION" not in learner + solved


def test_tags_choose_the_notebook_of_a_cell(built):
    learner = open_notebook(built)
    solved = open_notebook(built, "notebooks/solutions/00_sample.ipynb")
    assert "answer = None" in code_of(learner)
    assert 'answer = "b"' not in code_of(learner)
    assert 'answer = "b"' in code_of(solved)
    assert "answer = None" not in code_of(solved)
    assert len(solved.cells) == len(learner.cells) + 1


def test_the_solutions_are_executed_too(built):
    solved = open_notebook(built, "notebooks/solutions/00_sample.ipynb")
    outputs = [o.text for c in solved.cells for o in c.get("outputs", ()) if "text" in o]
    assert "right\n" in outputs


def test_generated_cells(built):
    first, colab, *_, last = open_notebook(built).cells
    assert first.source.startswith("<!-- Built from notebooks/source/00_sample.py: edit that file")
    assert "5 minutes · 100 MiB · beginner · last verified with torch 2.14.1" in first.source
    assert "Colab" not in first.source  # no public address, no dead badge
    assert colab.metadata.tags == ["colab"]
    assert "[01 · The lab after](01_after.ipynb)" in last.source
    assert "OpenMoji" in last.source
    final = open_notebook(built, "notebooks/01_after.ipynb").cells[-1].source
    assert "[A sample lab](00_sample.ipynb)" in final
    assert "OpenMoji" not in final


def test_a_public_address_makes_the_colab_badge(copy):
    url = '\n[project.urls]\nRepository = "https://github.com/people/course"\n'
    with (copy / "pyproject.toml").open("a") as file:
        file.write(url)
    rebuild(copy)
    link = "https://colab.research.google.com/github/people/course/blob/main/notebooks"
    assert f"({link}/00_sample.ipynb)" in open_notebook(copy).cells[0].source
    solved = open_notebook(copy, "notebooks/solutions/00_sample.ipynb")
    assert f"({link}/solutions/00_sample.ipynb)" in solved.cells[0].source


def test_outputs_name_no_path_of_this_machine(built):
    text = (built / "notebooks" / "00_sample.ipynb").read_text()
    assert "here: ./notebooks, static: 1" in text
    assert str(built) not in text


def test_the_kept_notebooks_obey_the_rules_and_equal_a_fresh_build(built):
    for path in built.glob("notebooks/**/*.ipynb"):
        assert build.complaints(nbformat.read(path, as_version=4)) == []
        nbformat.validate(nbformat.read(path, as_version=4))
    assert build.differences(root=built) == []


def test_a_second_build_does_nothing(copy):
    before = {path: path.stat().st_mtime_ns for path in copy.glob("notebooks/**/*.ipynb")}
    said = rebuild(copy)
    assert all(line.endswith("up to date") for line in said)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_prose_keeps_outputs_and_code_executes(copy):
    rewrite(copy, "you can build a notebook", "you can build two notebooks")
    said = rebuild(copy)
    assert not any("executing" in line for line in said)
    assert sum("outputs kept" in line for line in said) == 2
    rewrite(copy, 'print("last")', 'print("at last")', "notebooks/source/01_after.py")
    said = rebuild(copy, names=["01"])
    assert sum("executing" in line for line in said) == 2
    assert "at last\n" in (copy / "notebooks" / "01_after.ipynb").read_text().replace("\\n", "\n")


def test_new_versions_execute_again(copy):
    rewrite(copy, "2.14.1", "2.15.0", "requirements.lock")
    assert any("executing" in line for line in rebuild(copy, names=["01_after"]))


def test_library_code_that_a_lab_imports_counts(copy):
    (copy / "course_lib").mkdir()
    module = copy / "course_lib" / "trick.py"
    module.write_text("A = 1\n")
    rewrite(copy, 'print("last")', "if False:\n    from course_lib import trick\nprint(1)",
            "notebooks/source/01_after.py")  # fmt: skip
    rebuild(copy, names=["01"])
    assert not any("executing" in line for line in rebuild(copy, names=["01"]))
    module.write_text("A = 2\n")
    assert any("executing" in line for line in rebuild(copy, names=["01"]))


def test_of_the_lab_layer_only_what_belongs_to_one_lab_counts(copy):
    checks = copy / "course_lib" / "lab" / "checks"
    checks.mkdir(parents=True)
    (checks / "lab01.py").write_text("A = 1\n")
    (checks.parent / "__init__.py").write_text("")
    both = (
        "if False:\n    from course_lib import lab\n    from course_lib.lab.checks import lab01\n"
    )
    rewrite(copy, 'print("last")', f"{both}print(1)", "notebooks/source/01_after.py")
    rebuild(copy, names=["01"])
    (checks.parent / "__init__.py").write_text("B = 1\n")
    assert not any("executing" in line for line in rebuild(copy, names=["01"]))
    (checks / "lab01.py").write_text("A = 2\n")
    assert any("executing" in line for line in rebuild(copy, names=["01"]))


def test_differences_names_what_was_edited_by_hand(copy):
    path = copy / "notebooks" / "00_sample.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[3].source += " By hand."
    nbformat.write(notebook, path)
    (copy / "notebooks" / "01_after.ipynb").unlink()
    shutil.copy(path, copy / "notebooks" / "02_orphan.ipynb")
    assert build.differences(root=copy) == [
        "notebooks/00_sample.ipynb: cell 4 differs from its source (source)",
        "notebooks/01_after.ipynb: missing; run `make notebooks`",
        "notebooks/02_orphan.ipynb: has no source",
    ]


def test_a_failing_cell_is_named_and_nothing_is_written(copy):
    before = (copy / "notebooks" / "01_after.ipynb").read_text()
    rewrite(copy, 'print("last")', "print(1 / 0)", "notebooks/source/01_after.py")
    with pytest.raises(build.CellError, match=r"01_after: cell 3 failed(.|\n)*ZeroDivisionError"):
        rebuild(copy)
    assert (copy / "notebooks" / "01_after.ipynb").read_text() == before


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import sys; print('noise', file=sys.stderr)", "cell 3: writes to stderr: 'noise'"),
        ("print('/usr' + '/lib/x')", "cell 3: prints a path of this machine"),
        ("object()", "cell 3: prints a bare object"),
        ("print('one line\\n' * 60_000)", "the limit is 500000"),
        ("from IPython.display import HTML\nHTML('<img src=a.png>')", "picture without alt text"),
    ],
)
def test_outputs_that_break_a_rule_stop_the_build(copy, code, complaint):
    rewrite(copy, 'print("last")', code, "notebooks/source/01_after.py")
    with pytest.raises(build.CellError, match=complaint):
        rebuild(copy, names=["01"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# %%\n### BEGIN SOLUTION\nx = 1\n", "line 14: `### BEGIN SOLUTION` without"),
        ("# %%\nx = 1\n### END SOLUTION\n", "line 15: `### END SOLUTION` without"),
        ("# %%\n### BEGIN SOLUTION\n### BEGIN SOLUTION\n", "line 15: a solution begins inside"),
        ("# %%\n### BEGIN SOLUTION\n\n# %%\n### END SOLUTION", "line 16: a new cell inside"),
        ("# %%\n## begin solution\n", "line 14: write the mark as"),
        ("# %% tags=['soluton']\nx = 1\n", "line 13: unknown tag 'soluton'"),
        ("# %% part=15\nx = 1\n", "line 13: part=15"),
        ("# %%\n\n# %%\nx = 1\n", "line 13: an empty cell"),
        ("# %% [raw]\n# x\n", "line 13: a cell is markdown or code"),
    ],
)
def test_a_wrong_source_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "00_wrong.py"
    path.write_text(HEADER + "\n" + text)
    with pytest.raises(build.SourceError, match=f"00_wrong.py, {message}"):
        build.read(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("#     level: beginner\n", "", "needs exactly minutes, seconds, memory, level"),
        ("level: beginner", "level: hard", "level 'hard' is none of beginner"),
        ("minutes: 5", "minutes: soon", "minutes is a whole number"),
        ("100 MiB", "much", "memory is a number and a unit"),
        ("# # A title", "# A title", "starts with `# Title`"),
        ("# # A title", "# ## A title", "starts with `# Title`"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path, old, new, message):
    path = tmp_path / "00_wrong.py"
    path.write_text(HEADER.replace(old, new))
    with pytest.raises(build.SourceError, match=message):
        build.read(path)


def test_an_unknown_lab_is_refused_with_those_that_exist(built):
    with pytest.raises(build.SourceError, match="No lab '99'.*00_sample, 01_after"):
        build.build(["99"], root=built)


def test_solution_lines_are_those_between_the_marks():
    source = "a = 1\n### BEGIN SOLUTION\n\n  b = 2\n### END SOLUTION\nc = 3"
    assert build.solution_lines(source) == ["b = 2"]


def test_run_for_claims_gathers_what_the_labs_write(copy):
    rewrite(
        copy,
        'print("last")',
        "import os\nfrom pathlib import Path\n"
        "folder = Path(os.environ['COURSE_BUILD']) / 'claims'\n"
        "folder.mkdir()\n(folder / '01.json').write_text('{}')",
        "notebooks/source/01_after.py",
    )
    before = (copy / "notebooks" / "01_after.ipynb").read_text()
    (copy / "build" / "fresh" / "claims").mkdir(parents=True)
    (copy / "build" / "fresh" / "claims" / "old.json").write_text("{}")
    folder = build.run_for_claims(["01"], root=copy)
    assert [file.name for file in folder.rglob("claims/*.json")] == ["01.json"]
    assert (copy / "notebooks" / "01_after.ipynb").read_text() == before


def test_the_command_line(copy, monkeypatch, capsys):
    monkeypatch.setattr("course_lib.lab.build._build.repo_root", lambda: copy)
    assert build.main(["--check"]) == 0
    rewrite(copy, "# # The lab after", "# # The very last", "notebooks/source/01_after.py")
    assert build.main(["--check"]) == 1
    assert "notebooks/00_sample.ipynb: cell 10 differs" in capsys.readouterr().out
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0
    assert build.main(["77"]) == 1
    assert "No lab '77'" in capsys.readouterr().err


def test_watch_children_sees_the_memory_of_a_child():
    code = (
        "import time; block = bytearray(200 * 2**20); block[::4096] = b'x' * 51200; time.sleep(1)"
    )
    with build.watch_children() as watch:
        subprocess.run([sys.executable, "-c", code], check=True)
    assert 200 * 2**20 <= watch.peak <= 300 * 2**20
    assert watch.seconds >= 1
