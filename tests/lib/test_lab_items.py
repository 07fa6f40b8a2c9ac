"""Scale, start, predictions, quiz, reflections, scoreboard, claims, Colab cell, doctor."""

import importlib
import json
import math
import random
import subprocess
import sys
from types import SimpleNamespace

import numpy
import pytest
import torch
from lab_home import home  # noqa: F401

from course_lib import lab
from course_lib.lab import _machine, _quiz, claims, colab, exercise, progress


doctor = importlib.import_module("course_lib.lab.doctor")  # lab.doctor is the function in it

GIB = 2**30


# --- scale and settings


@pytest.mark.parametrize(("word", "expected"), [(None, "laptop"), ("", "laptop"), ("full", "full")])
def test_scale_is_one_of_two_words(monkeypatch, word, expected):
    if word is not None:
        monkeypatch.setenv("COURSE_SCALE", word)
    assert lab.scale() == expected
    assert lab.settings(laptop={"n": "laptop"}, full={"n": "full"}).n == expected


@pytest.mark.parametrize("word", ["Full", "gpu", "medium"])
def test_a_third_word_is_refused(monkeypatch, word):
    monkeypatch.setenv("COURSE_SCALE", word)
    with pytest.raises(ValueError, match=f"COURSE_SCALE is '{word}'. It knows two words"):
        lab.scale()


def test_settings_demand_the_same_names_on_both_sides():
    with pytest.raises(ValueError, match=r"laptop lacks a, b; full lacks c\."):
        lab.settings(laptop={"c": 1}, full={"a": 1, "b": 2})


# --- start


def test_start_prints_the_machine_and_sets_the_seeds(capsys):
    def draw():
        lab.start("10_mobiletl", seed=7)
        return random.random(), float(numpy.random.rand()), float(torch.rand(()))

    assert draw() == draw()
    out = capsys.readouterr().out
    for word in ("Lab 10_mobiletl", "torch 2.", "laptop", "cores", "4,096 MiB"):
        assert word in out


def test_start_warns_when_memory_is_low(monkeypatch, capsys):
    monkeypatch.setattr(_machine, "memory", lambda: (8 * GIB, 1 * GIB))
    lab.start("10_mobiletl")
    assert "Careful: 1.0 GiB of memory is free" in capsys.readouterr().out
    monkeypatch.setattr(_machine, "memory", lambda: (8 * GIB, 6 * GIB))
    lab.start("10_mobiletl")
    assert "Careful" not in capsys.readouterr().out


def test_start_refuses_a_malformed_name():
    with pytest.raises(ValueError, match="looks like 10_mobiletl"):
        lab.start("mobiletl")


def test_memory_respects_the_limit_of_a_container(monkeypatch, tmp_path):
    monkeypatch.setattr(_machine, "CGROUP", tmp_path)
    total, free = _machine.memory()
    assert 0 < free <= total
    (tmp_path / "memory.max").write_text("1073741824\n")
    (tmp_path / "memory.current").write_text("1073741824\n")
    assert _machine.memory() == (GIB, 0)
    (tmp_path / "memory.max").write_text("max\n")
    assert _machine.memory()[0] == total


# --- predictions


def test_a_prediction_comes_back_beside_the_measurement(capsys):
    lab.predict("10.share", question="How much less?", guess=40, unit="%")
    lab.recall("10.share", measured=torch.tensor(80.0))
    out = capsys.readouterr().out
    assert "Predicted: 40 %. Measured: 80 %. The prediction is 0.5 times" in out


def test_no_prediction_is_no_error_and_writes_nothing(home, capsys):  # noqa: F811
    lab.predict("10.share", question="How much less?", unit="%")
    lab.recall("10.share", measured=62.2)
    assert "Measured: 62.2 %. No prediction made." in capsys.readouterr().out
    assert not (home / "progress.json").exists()


def test_a_prediction_outlives_the_kernel(capsys, monkeypatch):
    lab.predict("10.share", question="How much less?", guess=40, unit="%")
    monkeypatch.setattr("course_lib.lab._predict._asked", {})
    lab.recall("10.share", measured=62.2)
    lab.predict("10.share", question="How much less?", unit="%")
    out = capsys.readouterr().out
    assert "Predicted: 40 %" in out
    assert "You predicted 40 % earlier" in out


@pytest.mark.parametrize("guess", ["40 %", True, math.nan, [40, 50]])
def test_a_guess_is_a_number(guess):
    with pytest.raises(ValueError, match="guess=40, without the unit"):
        lab.predict("10.share", question="?", guess=guess)


def test_recall_before_predict():
    with pytest.raises(ValueError, match='Nothing was asked as "10.share"'):
        lab.recall("10.share", measured=1)


# --- quiz and reflection


@pytest.fixture
def quizzes(tmp_path, monkeypatch):
    monkeypatch.setattr(_quiz, "QUIZZES", tmp_path)
    file = tmp_path / "lab98.toml"
    file.write_text(
        f"""[q1]
        question = "What does a ReLU keep?"
        answer = "{_quiz.seal("98.q1", "b")}"
        options = {{ a = "its input", b = "its output" }}
        explanations = {{ a = "The output tells the sign.", b = "And the next layer shares it." }}
        """
    )
    return file


def test_quiz_asks_and_then_explains(quizzes, capsys):
    lab.quiz("98.q1")
    asked = capsys.readouterr().out
    assert "What does a ReLU keep?" in asked
    assert "a) its input" in asked
    assert "shares it" not in asked
    assert not progress.load()["quiz"]
    lab.quiz("98.q1", answer="a")
    assert "not right" in capsys.readouterr().out
    lab.quiz("98.q1", answer=" B ")
    out = capsys.readouterr().out
    assert "b) is right" in out
    assert "shares it" in out
    assert progress.load()["quiz"]["98.q1"]["right"] is True


def test_quiz_refuses_what_it_does_not_know(quizzes):
    with pytest.raises(ValueError, match="one of: a, b"):
        lab.quiz("98.q1", answer="z")
    with pytest.raises(ValueError, match="Lab 98 has: q1"):
        lab.quiz("98.q2")
    with pytest.raises(ValueError, match="Lab 97 has no quiz"):
        lab.quiz("97.q1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('question = "What does a ReLU keep?"', "", "lacks question"),
        ('b = "And', 'c = "And', "one explanation per option"),
        ('answer = "', 'answer = "0', "not seal"),
    ],
)
def test_malformed_quizzes_are_refused(quizzes, old, new, message):
    quizzes.write_text(quizzes.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        _quiz.read_quiz(quizzes)


def test_every_quiz_file_of_the_course_is_sound():
    files = sorted(_quiz.QUIZZES.glob("lab*.toml"))
    assert all(_quiz.read_quiz(file) for file in files)


def test_reflections_are_kept(capsys):
    lab.reflect("10.reflection")
    assert "Nothing written yet" in capsys.readouterr().out
    lab.reflect("10.reflection", text=" Masks are cheap. ")
    lab.reflect("10.reflection", text="")
    assert "Masks are cheap." in capsys.readouterr().out.splitlines()[-1]
    assert progress.load()["reflections"]["10.reflection"]["text"] == "Masks are cheap."


# --- scoreboard


def test_scoreboard_shows_rows_of_all_labs_with_points(monkeypatch, capsys):
    monkeypatch.setattr(exercise, "_registry", {})
    hints = ("a", "b", "c")
    check = exercise.exercise("98.one", points=3, difficulty=1, minutes=1, hints=hints)(
        lambda answer: None
    )
    lab.start("98_first")
    lab.scoreboard(saved=torch.tensor(62.5))
    assert "0 of 3" in capsys.readouterr().out
    check(1)
    lab.start("97_second")
    lab.scoreboard(ratio=0.9, verdict="faster")
    out = capsys.readouterr().out
    assert "3 of 3" in out
    assert "62.5" in out
    assert "faster" in out


def test_scoreboard_needs_a_lab_and_plain_values():
    with pytest.raises(RuntimeError, match="lab.start"):
        lab.scoreboard(x=1)
    lab.start("98_first")
    with pytest.raises(ValueError, match="numbers and short words"):
        lab.scoreboard(x=[1, 2])


# --- claims


def one_claim(**extra):
    known = {"id": "p.c", "what": "w", "unit": "%", "where": "Table 1", "setting": "s", "lab": "98"}
    return claims.Claim(**{**known, "paper": 40.0, **extra})


@pytest.mark.parametrize(
    ("extra", "here", "expected"),
    [
        ({}, 41.0, "reproduced"),
        ({}, 38.9, "does not hold"),
        ({"no_effect": 0.0}, 5.0, "same direction"),
        ({"no_effect": 0.0}, -5.0, "does not hold"),
        ({"no_effect": 0.0}, 0.0, "does not hold"),
        ({"no_effect": 50.0}, 20.0, "same direction"),
        ({"better": "higher"}, 60.0, "same direction"),
        ({"better": "lower"}, 60.0, "does not hold"),
        ({"better": "lower"}, 20.0, "same direction"),
        ({}, None, "not shown at this scale"),
    ],
)
def test_verdicts(extra, here, expected):
    assert claims.verdict(one_claim(**extra), here, 1) == expected


def test_claims_are_shown_written_and_gathered(home, capsys):  # noqa: F811
    lab.start("10_mobiletl")
    lab.claim("mobiletl.v3_irb_memory", measured=numpy.float32(53.27), tolerance=0.1)
    lab.claim("mobiletl.flops", measured=12, tolerance=1, note="Lite0 at 96 px")
    lab.claim("mobiletl.flops", measured=20, tolerance=1)
    lab.claim("mobiletl.food_against_ft4", measured=None, tolerance=0.5, shown=False)
    assert "reproduced" in capsys.readouterr().out
    (file,) = (home / "build" / "claims").iterdir()
    rows = json.loads(file.read_text())
    assert file.name == "10_mobiletl.json"
    assert rows["mobiletl.flops"]["here"] == 20
    assert rows["mobiletl.food_against_ft4"]["verdict"] == "not shown at this scale"
    table = lab.gather_claims(home / "build")
    assert list(table["verdict"]) == ["reproduced", "same direction", "not shown at this scale"]
    assert set(table["lab"]) == {"10_mobiletl"}


@pytest.mark.parametrize("measured", [math.nan, math.inf, None, "53 %", True])
def test_a_measurement_is_a_finite_number(measured, home):  # noqa: F811
    with pytest.raises(ValueError, match="Pass the number that this run measured"):
        lab.claim("mobiletl.flops", measured=measured, tolerance=1)
    assert not (home / "build").exists()


def test_unknown_claims_and_bad_tolerances():
    with pytest.raises(ValueError, match="It has: .*mobiletl.v3_irb_memory"):
        lab.claim("mobiletl.v4", measured=1, tolerance=1)
    for tolerance in (-1, math.nan):
        with pytest.raises(ValueError, match="tolerance is"):
            lab.claim("mobiletl.flops", measured=1, tolerance=tolerance)


def test_nothing_to_gather(tmp_path):
    with pytest.raises(FileNotFoundError, match="Run a lab first"):
        lab.gather_claims(tmp_path)


def test_the_papers_abstract_is_in_the_claims():
    known = claims.read_claims()
    abstract = {"v2_irb_memory": 46.3, "v3_irb_memory": 53.3, "flops": 36, "training_memory": 69}
    assert {name: known[f"mobiletl.{name}"].paper for name in abstract} == abstract
    assert all(one.where and one.setting and one.unit for one in known.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[p.c]\nwhat = 'w'\n", "p.c lacks lab, paper, setting, unit, where"),
        ("[p]\nc = 3\n", r"write it as \[p.c\]"),
        ("{all}extra = 1\n", "unknown fields: extra"),
        ("{all}better = 'larger'\n", "higher or lower"),
        ("{all}no_effect = 'zero'\n", "no_effect is 'zero'"),
    ],
)
def test_malformed_claims_are_refused(tmp_path, text, message):
    whole = "[p.c]\npaper = 1\n" + "".join(
        f"{key} = 'x'\n" for key in ("what", "unit", "where", "setting", "lab")
    )
    file = tmp_path / "claims.toml"
    file.write_text(text.replace("{all}", whole))
    with pytest.raises(ValueError, match=message):
        claims.read_claims(file)


# --- Colab


def run_cell(code, monkeypatch, *, on_colab):
    from IPython.core.inputtransformer2 import TransformerManager

    calls = []
    shell = SimpleNamespace(run_line_magic=lambda name, line, **_: calls.append((name, line)))
    if on_colab:
        monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    exec(TransformerManager().transform_cell(code), {"get_ipython": lambda: shell})
    return calls


def test_the_first_cell_does_nothing_elsewhere(monkeypatch):
    assert run_cell(colab.cell(), monkeypatch, on_colab=False) == []


def test_the_first_cell_installs_what_colab_lacks(monkeypatch):
    cell = colab.cell()
    assert len(cell.splitlines()) <= 4
    ((name, line),) = run_cell(cell, monkeypatch, on_colab=True)
    assert name == "pip"
    assert line.startswith("install -q --no-deps ")
    assert '"jaxtyping>=' in line
    assert '"wadler-lindig' in line
    assert "torch" not in line
    assert "numpy" not in line


def project(lacks, **extra):
    return {
        "project": {"version": "1.2", "dependencies": ["torch>=2.6", "jaxtyping>=0.2"], **extra},
        "tool": {"small-memory": {"colab": {"lacks": lacks}}},
    }


def test_the_course_comes_from_its_address_or_from_an_uploaded_wheel():
    assert '"small_memory-1.2-py3-none-any.whl" "jaxtyping>=0.2"' in colab.cell(
        project(["jaxtyping"])
    )
    urls = {"Repository": "https://example.org/course"}
    cell = colab.cell(project(["jaxtyping"], urls=urls))
    assert '"small-memory @ git+https://example.org/course"' in cell


def test_torch_is_never_installed():
    with pytest.raises(ValueError, match="brings its own"):
        colab.cell(project(["torch>=2.6"]))


# --- doctor


def test_one_lab_may_need_more_on_colab():
    assert "chgnet" in colab.cell(lab="70_electrocatalyst")
    assert "chgnet" not in colab.cell(lab="10_mobiletl")


def test_doctor_names_every_part_and_returns_an_exit_status(capsys):
    found = doctor.rows()
    whats = {row.what for row in found}
    assert {"Python", "packages", "memory", "cores", "GPU", "disk", "assets", "widgets"} <= whats
    assert {row.state for row in found} <= {"ok", "note", "problem"}
    assert all(row.advice for row in found if row.state != "ok")
    status = doctor.main()
    assert status == int(any(row.state == "problem" for row in found))
    lab.doctor()
    assert "packages" in capsys.readouterr().out


def test_doctor_finds_what_is_wrong(monkeypatch, home):  # noqa: F811
    monkeypatch.setattr(doctor, "requirements", lambda: ["numpy>=99", "no-such-package", "torch"])
    monkeypatch.setattr(_machine, "memory", lambda: (4 * GIB, GIB))
    monkeypatch.setattr(_machine, "cores", lambda: 1)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    (home / "progress.json").write_text("{")
    found = {row.what: row for row in doctor.rows()}
    assert "numpy" in found["packages"].found
    assert "no-such-package (missing)" in found["packages"].found
    assert "torch" not in found["packages"].found.replace("no-such", "")
    assert [found[w].state for w in ("packages", "disk")] == ["problem", "problem"]
    assert [found[w].state for w in ("memory", "cores", "progress")] == ["note"] * 3
    assert (home / "progress.json").read_text() == "{"


@pytest.mark.parametrize(
    ("widgets", "partner", "state"),
    [
        ("8.1.5", "3.0.13", "ok"),
        ("7.7.1", "1.1.1", "ok"),
        ("7.7.1", "3.0.13", "problem"),
        (None, None, "note"),
    ],
)
def test_doctor_matches_widgets_and_their_extension(monkeypatch, widgets, partner, state):
    versions = {"ipywidgets": widgets, "jupyterlab_widgets": partner}
    monkeypatch.setattr(_machine, "version", versions.get)
    assert doctor._widgets().state == state


# --- the face


def test_importing_the_lab_is_light():
    code = (
        "import sys, time; start = time.perf_counter(); from course_lib import lab\n"
        "heavy = {'torch', 'matplotlib', 'IPython', 'pandas', 'numpy', 'ipywidgets'}\n"
        "print(time.perf_counter() - start, heavy & set(sys.modules))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = made.stdout.split(maxsplit=1)
    assert heavy.strip() == "set()"
    assert float(seconds) < 0.5


def test_the_face_is_what_it_says():
    assert sorted(lab.__all__) == lab.__all__
    assert all(hasattr(lab, name) for name in lab.__all__)
    assert callable(lab.doctor)
