"""sweep: one experiment over settings, locally and on Ray; nothing is lost, nothing runs twice."""

import builtins
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time

import numpy
import pandas
import pytest
from lib.sweep_experiments import moods, square, threads_of_torch

from course_lib.sweep import grid, sweep


pytestmark = pytest.mark.lab30

# The expected line of each mood that fails.
FAILURES = {
    "raises": "ArithmeticError: the loss is not a number",
    "dies": "The process of this run died",
    "exits": "SystemExit: 3",
    "odd": "TypeError: The result has under 'value' a set",
    "nothing": "TypeError: The experiment returned None; return a dict",
    "collides": "ValueError: The result has the key 'marks', which is also the name of a setting",
}
ALL = ["slow", *FAILURES, "list", "nan"]


@pytest.fixture
def marks(tmp_path):
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def run(settings, experiment=square, **options):
    return sweep(experiment, settings, workers=2, progress=False, **options)


def check_moods(found, marks):
    """Each mood ended as it should, in the order of the settings."""
    assert found.table["mood"].tolist() == ["slow", "list", "list", "nan"]
    values = found.table["value"].tolist()
    assert math.isnan(values[0]) and values[1:3] == [1.5, -math.inf] and math.isnan(values[3])
    assert found.table["more"].tolist()[2] == [1, 2]
    assert found.table.columns.tolist() == ["mood", "marks", "value", "more"]
    assert found.failed.columns.tolist() == ["mood", "marks", "error"]
    assert found.failed["mood"].tolist() == list(FAILURES)
    for mood, error in zip(found.failed["mood"], found.failed["error"], strict=True):
        assert error.startswith(FAILURES[mood]), error
    assert sorted(file.name.split("-")[0] for file in marks.iterdir()) == sorted(ALL)


def test_grid():
    assert grid(a=[1, 2], b=["x", "y"]) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    assert grid(a=range(2), b=[]) == []
    with pytest.raises(TypeError, match=r"The axis a is 'text'; give a list: a=\['text'\]"):
        grid(a="text")


def test_one_failed_run_does_not_lose_the_others(marks, tmp_path, capfd):
    settings = grid(mood=ALL, marks=[str(marks)])
    found = run(settings, moods, folder=tmp_path / "runs")
    check_moods(found, marks)
    assert capfd.readouterr() == ("", "")

    for file in marks.iterdir():
        file.unlink()
    again = run(settings, moods, folder=tmp_path / "runs")
    pandas.testing.assert_frame_equal(again.table, found.table)
    pandas.testing.assert_frame_equal(again.failed, found.failed)
    ran = [file.name.split("-")[0] for file in marks.iterdir()]
    assert sorted(ran) == sorted(FAILURES), "the next call repeats the failed runs, and only those"


def test_ray_gives_the_same_table(marks, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray = pytest.importorskip("ray", reason="Ray is in the extras dev and cluster")
    settings = grid(mood=ALL, marks=[str(marks)])
    found = run(settings, moods, folder=tmp_path / "runs", engine="ray")
    assert not ray.is_initialized(), "what sweep starts it ends"
    check_moods(found, marks)
    local = run(settings, moods, folder=tmp_path / "runs")
    pandas.testing.assert_frame_equal(local.table, found.table)
    pandas.testing.assert_frame_equal(local.failed, found.failed)


def test_a_second_call_runs_only_what_is_missing(marks, tmp_path, capsys):
    folder = tmp_path / "runs"
    settings = grid(mood=["list", "nan", "slow"], marks=[str(marks)])
    first = run(settings, moods, folder=folder)
    assert len(list(folder.iterdir())) == len(list(marks.iterdir())) == 3
    same = sweep(moods, settings, folder=folder)
    assert len(list(marks.iterdir())) == 3
    assert capsys.readouterr().out == "3 of 3 runs were finished before.\n"
    pandas.testing.assert_frame_equal(same.table, first.table)

    lost = next(file for file in folder.iterdir() if '"nan"' in file.read_text())
    lost.unlink()
    third = sweep(moods, settings, folder=folder, workers=1)
    assert len(list(marks.iterdir())) == 4
    printed = capsys.readouterr()
    assert printed.out.startswith("2 of 3 runs were finished before.\nrun 1 of 1, ")
    assert printed.err == ""
    pandas.testing.assert_frame_equal(third.table, first.table)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"format": 1', '"format": 0'),
        lambda text: text.replace('"base": 3', '"base": 4'),
        lambda text: text.replace('"rows"', '"lines"'),
        lambda text: "\0",
    ],
)
def test_a_damaged_file_is_told_and_its_run_repeated(damage, finished, tmp_path):
    name, text = finished
    file = tmp_path / name
    file.write_text(damage(text))
    with pytest.warns(UserWarning, match=rf"{name} is damaged \(.*\); its run is repeated"):
        found = run([{"base": 3}], folder=tmp_path)
    assert found.table["square"].tolist() == [9]
    assert file.read_text() == text


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The name and the text of the file of one finished run."""
    folder = tmp_path_factory.mktemp("finished")
    run([{"base": 3}], folder=folder)
    (file,) = folder.iterdir()
    assert json.loads(file.read_text())["setting"] == {"base": 3}
    return file.name, file.read_text()


def test_experiments_may_share_a_folder(tmp_path):
    def square(base):  # the name of another experiment, but not its place
        return {"square": -base}

    one = run([{"base": 2}], folder=tmp_path)
    other = run([{"base": 2}], square, folder=tmp_path)
    assert one.table["square"].tolist() == [4] and other.table["square"].tolist() == [-2]
    assert len(list(tmp_path.iterdir())) == 2


def test_functions_of_a_notebook_travel_and_rows_keep_the_order_of_settings():
    delay = {0: 0.6, 1: 0.3, 2: 0.0}

    def experiment(number, **rest):
        time.sleep(delay[number])
        return {"double": numpy.float32(2 * number), "rest": len(rest)}

    found = run([{"number": numpy.int64(0), "x": 1}, {"number": 1}, {"number": 2}], experiment)
    assert found.table["number"].tolist() == [0, 1, 2]
    assert found.table["double"].tolist() == [0.0, 2.0, 4.0]
    assert found.table["rest"].tolist() == [1, 0, 0]
    assert repr(found) == "Sweep: 3 rows in .table, 0 runs in .failed"


def test_each_run_has_its_threads():
    found = run([{"n": 1}], threads_of_torch, threads=1)
    assert found.table["threads"].tolist() == [1]
    assert run([{"base": 1}], threads=2).table["threads"].tolist() == ["2"]


SCRIPT = """
import time
from pathlib import Path
from course_lib.sweep import sweep

def experiment(number):
    Path(f"started-{number}").touch()
    time.sleep(60 * number)
    return {"value": number}

sweep(experiment, [{"number": 0}, {"number": 1}], folder="runs", workers=1)
"""


def test_ctrl_c_keeps_what_is_done(tmp_path):
    # A script as learners write it: no guard around its last line.
    (tmp_path / "script.py").write_text(SCRIPT)
    script = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while not (tmp_path / "started-1").exists():
        assert time.monotonic() < end and script.poll() is None
        time.sleep(0.05)
    os.killpg(script.pid, signal.SIGINT)  # as a terminal does: to the workers too
    out, errors = script.communicate(timeout=30)
    assert script.returncode != 0 and "KeyboardInterrupt" in errors
    assert errors.count("Traceback") == 1, "workers are silent"
    assert out.startswith("run 1 of 2, ")
    (file,) = (tmp_path / "runs").iterdir()
    assert json.loads(file.read_text())["rows"] == [{"value": 0}]


# The run-time check of types, which is on in the tests, may see it first.
ONE_DICT = r"settings is one dict; give a list|Expected type: collections.abc.Iterable"


@pytest.mark.parametrize(
    ("settings", "options", "error", "message"),
    [
        ([{"base": 1}], {"engine": "cloud"}, ValueError, "choose one of: local, ray"),
        ([{"base": 1}], {"threads": 0}, ValueError, "threads is 0; take at least 1"),
        ([], {}, ValueError, "settings is empty"),
        ({"base": 1}, {}, TypeError, ONE_DICT),
        ([{"base": 1}, {"base": {1}}], {}, ValueError, "Setting 1 has under 'base' a set"),
        ([{"base": {2: 3}}], {}, ValueError, "under 'base' a dict with the key 2"),
        ([{"base": 1}, {"base": 2}, {"base": 1}], {}, ValueError, "Settings 0 and 2 are the same"),
        ([{"base": numpy.int64(1)}, {"base": 1}], {}, ValueError, "Settings 0 and 1 are the same"),
        ([{"base": 1}, {"bass": 1}], {}, TypeError, "Setting 1 does not fit the experiment"),
        ([{"base": 1, "error": 1}], {}, ValueError, "key 'error', the column of failures"),
    ],
)
def test_bad_inputs_are_refused_before_the_first_run(settings, options, error, message):
    with pytest.raises(error, match=message):
        sweep(square, settings, **options)


def test_bad_experiments_and_folders_are_refused_before_the_first_run(tmp_path):
    lock = threading.Lock()
    with pytest.raises(TypeError, match="cannot be sent to another process: .*lock"):
        run([{"n": 1}], lambda n: {"lock": lock})
    with pytest.raises(ValueError, match="Define it with `def`"):
        run([{"n": 1}], lambda n: {"x": n}, folder=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        run([{"base": 1}], folder=tmp_path / "file")


def test_without_ray_the_error_names_the_extra(monkeypatch):
    true_import = builtins.__import__

    def no_ray(name, *rest, **more):
        if name.split(".")[0] == "ray":
            raise ImportError("no ray")
        return true_import(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", no_ray)
    with pytest.raises(ImportError, match=r'pip install "small-memory\[cluster\]"'):
        run([{"base": 1}], engine="ray")


def test_sweep_is_light_to_import():
    code = (
        "import course_lib.sweep, sys; "
        "print({'torch', 'pandas', 'joblib', 'ray', 'numpy'} & set(sys.modules))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "set()"
