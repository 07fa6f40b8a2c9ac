import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from lab_home import home  # noqa: F401

from course_lib.lab import progress


def points(id):
    return progress.load()["exercises"][id]["points"]


def earn(id, count):
    progress.record("exercises", id, {"points": count, "out_of": 3})


def test_where_the_file_lies(monkeypatch, tmp_path):
    assert progress.path() == tmp_path / "progress.json"
    monkeypatch.delenv("COURSE_PROGRESS")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "repo_root", lambda: tmp_path / "checkout")
    assert progress.path() == tmp_path / "checkout" / "progress.json"
    monkeypatch.setattr(progress, "repo_root", lambda: None)
    assert progress.path() == tmp_path / "progress.json"


def test_reading_writes_nothing(home):  # noqa: F811
    assert not any(progress.load().values())
    assert list(home.iterdir()) == []


def test_points_never_fall():
    earn("10.a", 2)
    earn("10.a", 1)
    assert points("10.a") == 2
    earn("10.a", 3)
    assert points("10.a") == 3


def test_an_empty_prediction_does_not_replace_a_guess_but_a_new_guess_does():
    for guess in (40, None, 50):
        progress.record("predictions", "10.p", {"guess": guess})
    assert progress.load()["predictions"]["10.p"]["guess"] == 50
    progress.record("predictions", "10.p", {"guess": None})
    assert progress.load()["predictions"]["10.p"]["guess"] == 50


def test_a_wrong_quiz_answer_does_not_replace_the_right_one():
    progress.record("quiz", "10.q", {"right": True})
    progress.record("quiz", "10.q", {"right": False})
    assert progress.load()["quiz"]["10.q"]["right"] is True


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"version": 1, "exercises": 3}', '{"version": 1, "quiz": {"a": {}}}', "\0"],
)
def test_a_broken_file_is_moved_aside_and_named(home, capsys, text):  # noqa: F811
    file = home / "progress.json"
    for number in (1, 2):
        file.write_text(text)
        earn("10.a", 1)
        aside = home / f"progress.broken-{number}.json"
        assert aside.read_text() == text
        assert f"moved to {aside.name}" in capsys.readouterr().out
    assert points("10.a") == 1


def test_bytes_that_are_no_text_are_moved_aside(home):  # noqa: F811
    (home / "progress.json").write_bytes(b"\xff\xfe\x00broken")
    assert not any(progress.load().values())
    assert (home / "progress.broken-1.json").read_bytes() == b"\xff\xfe\x00broken"


def test_a_file_of_a_later_course_is_left_as_it_is(home):  # noqa: F811
    text = '{"version": 99}'
    (home / "progress.json").write_text(text)
    with pytest.raises(progress.ProgressError, match="Update the course"):
        earn("10.a", 1)
    assert (home / "progress.json").read_text() == text


def test_move_between_machines(home, monkeypatch, capsys):  # noqa: F811
    earn("10.a", 3)
    earn("10.b", 1)
    progress.record("reflections", "10.r", {"text": "old"})
    carried = progress.export(home / "carried.json")
    monkeypatch.setenv("COURSE_PROGRESS", str(home / "other.json"))
    earn("10.a", 1)
    earn("10.c", 2)
    progress.record("reflections", "10.r", {"text": "new"})
    before = carried.read_text()
    progress.merge(carried)
    assert [points(f"10.{name}") for name in "abc"] == [3, 1, 2]
    assert progress.load()["reflections"]["10.r"]["text"] == "new"
    assert carried.read_text() == before
    assert "3 points before, 6 now" in capsys.readouterr().out
    whole = progress.load()
    progress.merge(carried)
    assert progress.load() == whole


def test_merge_refuses_what_is_no_progress(home):  # noqa: F811
    with pytest.raises(progress.ProgressError, match="There is no file"):
        progress.merge(home / "none.json")
    (home / "other.json").write_text("hello")
    with pytest.raises(progress.ProgressError, match=r"other.json is not a progress file"):
        progress.merge(home / "other.json")
    assert (home / "other.json").read_text() == "hello"


def test_many_writers_lose_nothing():
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: earn(f"10.x{i}", 1), range(40)))
    assert len(progress.load()["exercises"]) == 40


def test_two_processes_lose_nothing():
    code = (
        "import sys; from course_lib.lab import progress\n"
        "for i in range(30):\n"
        "    progress.record('quiz', f'10.{sys.argv[1]}{i}', {'right': True})"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "ab"]
    assert [run.wait(timeout=60) for run in runs] == [0, 0]
    assert len(progress.load()["quiz"]) == 60


def test_no_half_written_files_remain(home):  # noqa: F811
    earn("10.a", 1)
    assert [file.name for file in home.iterdir()] == ["progress.json"]
    assert json.loads((home / "progress.json").read_text())["version"] == 1


def test_a_file_that_cannot_be_written_is_named_and_the_lab_goes_on(home, monkeypatch, capsys):  # noqa: F811
    (home / "plain").write_text("a file where a folder should be")
    monkeypatch.setenv("COURSE_PROGRESS", str(home / "plain" / "progress.json"))
    earn("10.a", 1)
    assert "COURSE_PROGRESS" in capsys.readouterr().out
