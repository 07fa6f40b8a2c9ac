"""The set-up: made once, repaired when half-made, never harmful to what is not ours."""

import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from course_lib import _environment


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A folder that looks like a checkout, with the pip steps recorded instead of run."""
    monkeypatch.delenv("COURSE_VENV", raising=False)
    monkeypatch.setattr(_environment, "_inside_foreign_environment", lambda root: False)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "requirements.lock").write_text("torch==2.14.1\n")
    return tmp_path


@pytest.fixture
def steps(monkeypatch) -> list[str]:
    done: list[str] = []
    monkeypatch.setattr(_environment, "_pip", lambda python, title, *rest: done.append(title))
    return done


def test_first_call_makes_second_call_is_quick(checkout, steps):
    python = _environment.ensure(checkout)
    assert python.exists()
    assert len(steps) == 3
    assert _environment.ensure(checkout) == python
    assert len(steps) == 3


def test_a_changed_lock_installs_again(checkout, steps):
    _environment.ensure(checkout)
    (checkout / "requirements.lock").write_text("torch==2.14.2\n")
    _environment.ensure(checkout)
    assert len(steps) == 6


def test_an_interrupted_setup_continues(checkout, monkeypatch, steps):
    def interrupted(python, title, *rest):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_environment, "_pip", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _environment.ensure(checkout)
    assert not (checkout / ".venv" / "course-ready").exists()
    _environment.ensure(checkout)
    assert len(steps) == 3
    assert (checkout / ".venv" / "course-ready").exists()


def test_a_half_made_environment_is_made_again(checkout, steps):
    broken = checkout / ".venv"
    broken.mkdir()
    (broken / "pyvenv.cfg").write_text("home = nowhere\n")
    python = _environment.ensure(checkout)
    assert subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0


def test_a_folder_that_is_no_environment_is_left_alone(checkout, monkeypatch, steps):
    mine = checkout / "thesis"
    mine.mkdir()
    (mine / "chapter1.tex").write_text("…")
    monkeypatch.setenv("COURSE_VENV", str(mine))
    with pytest.raises(_environment.SetupError, match="is not a virtual environment"):
        _environment.ensure(checkout)
    assert (mine / "chapter1.tex").read_text() == "…"


def test_an_old_python_is_told_the_range(checkout, monkeypatch):
    monkeypatch.setattr(_environment.sys, "version_info", (3, 10, 4))
    with pytest.raises(_environment.SetupError, match="needs 3.11, 3.12 or 3.13"):
        _environment._make_venv(checkout / ".venv", checkout / ".venv" / "bin" / "python")


def test_a_failed_step_says_how_to_go_on(tmp_path, capsys):
    missing = tmp_path / "no-such-file.txt"
    with pytest.raises(_environment.SetupError, match="it continues where it stopped"):
        _environment._pip(Path(sys.executable), "2/3 packages", "-r", str(missing))


def test_progress_is_told_in_words(capsys):
    for line in (
        "Collecting torch",
        "Downloading https://example.org/files/torch-2.14.1-cp311.whl (188.1 MB)",
        "Installing collected packages: torch",
    ):
        _environment._narrate(line)
    shown = capsys.readouterr().out
    assert "fetching torch-2.14.1-cp311.whl (188.1 MB)" in shown
    assert "unpacking" in shown


def test_a_silent_pip_gives_a_sign_of_life(monkeypatch, capsys):
    monkeypatch.setattr(_environment, "SILENCE", 0.05)
    quiet = [sys.executable, "-c", "import time; time.sleep(0.3); print('end')"]
    process = subprocess.Popen(quiet, stdout=subprocess.PIPE, text=True)
    lines: queue.Queue = queue.Queue()
    reader = threading.Thread(target=_environment._pump, args=(process, lines))
    reader.start()
    assert _environment._next(lines, 0.0) == "end"
    assert "still working" in capsys.readouterr().out
    reader.join()
    process.wait()
