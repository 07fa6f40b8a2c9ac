"""The course's own virtual environment, made and repaired with the standard library alone.

`ensure` runs before anything else is installed, so this file imports nothing from outside Python.
Every step can be repeated: an interrupted set-up continues, a finished one costs a file comparison.
"""

import hashlib
import importlib.metadata
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from course_lib._files import write_text


PYTHONS = ((3, 11), (3, 14))  # from, below: as `requires-python` in pyproject.toml
SILENCE = 15.0  # seconds without a line from pip after which we say that it still works


class SetupError(RuntimeError):
    """The environment could not be made; the message says what to do."""


def ensure(root: Path) -> Path:
    """Return the Python of a ready environment, after making or repairing it if needed.

    The environment is the running one when `small-memory` was installed there (conda, Binder,
    JupyterHub), else the folder named by `COURSE_VENV`, else `.venv` in the checkout.
    """
    if _inside_foreign_environment(root):
        return Path(sys.executable)
    folder = venv_folder(root)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, wanted = folder / "course-ready", _fingerprint(root)
    if "COURSE_VENV" in os.environ and stamp.is_file():
        return python  # a shared environment belongs to who made it; we do not change it
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return python
    _make_venv(folder, python)
    print("Setting up the course (once; an interrupted set-up continues where it stopped).")
    _pip(python, "1/3 pip", "--upgrade", "pip>=25.2")
    _pip(python, "2/3 packages", "-r", str(root / "requirements.lock"))
    _pip(python, "3/3 course_lib", "--no-deps", "-e", str(root))
    write_text(stamp, wanted)
    return python


def venv_folder(root: Path) -> Path:
    """Return the folder of the course's environment; it need not exist yet."""
    return Path(os.environ.get("COURSE_VENV") or root / ".venv").expanduser().absolute()


def _inside_foreign_environment(root: Path) -> bool:
    """Tell whether this Python already has the course, outside the environment we look after."""
    if Path(sys.prefix).resolve() == venv_folder(root).resolve():
        return False
    try:
        importlib.metadata.distribution("small-memory")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _fingerprint(root: Path) -> str:
    parts = [f"{sys.version_info.major}.{sys.version_info.minor}", str(root)]
    for name in ("pyproject.toml", "requirements.lock"):
        parts.append(hashlib.sha256((root / name).read_bytes()).hexdigest())
    return "\n".join(parts)


def _make_venv(folder: Path, python: Path) -> None:
    if not PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]:
        raise SetupError(
            f"This is Python {sys.version.split()[0]}; the course needs 3.11, 3.12 or 3.13. "
            "Install one of them and run, for example: make lab PYTHON=python3.12"
        )
    if python.exists() and _works(python, "-m", "pip", "--version"):
        return
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
            raise SetupError(
                f"{folder} exists and is not a virtual environment. "
                "Move it away, or name another folder in COURSE_VENV."
            )
        shutil.rmtree(folder)  # half-made by an interrupted set-up
    print(f"Making a virtual environment in {folder}", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], check=False)
    if made.returncode:
        raise SetupError(
            "Python could not make a virtual environment (see above). "
            "On Debian and Ubuntu: sudo apt install python3-venv. Then run the same command again."
        )


def _works(*command: str | Path) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _pip(python: Path, title: str, *arguments: str) -> None:
    """Run `pip install` and show what it does, with a sign of life at least every 15 seconds."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1"}
    command = [str(python), "-m", "pip", "install", "--no-input", *arguments]
    if not title.startswith("1/"):  # the pip of an old venv does not know this one
        command += ["--progress-bar", "raw"]
    start = time.monotonic()
    print(f"{title} …", flush=True)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_pump, args=(process, lines), daemon=True)
    reader.start()
    log: list[str] = []
    try:
        while (line := _next(lines, start)) is not None:
            log.append(line)
            _narrate(line)
    except BaseException:
        process.terminate()
        raise
    if process.wait():
        tail = "\n".join(entry for entry in log[-25:] if not entry.startswith("Progress "))
        raise SetupError(
            f"{tail}\nThe step '{title}' stopped. Check the internet connection and the free disk "
            "space (8 GB), then run the same command again: it continues where it stopped."
        )
    print(f"{title}: done in {time.monotonic() - start:.0f} s", flush=True)


def _pump(process: subprocess.Popen, lines: "queue.Queue[str | None]") -> None:
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            lines.put(line.rstrip())
    lines.put(None)


def _next(lines: "queue.Queue[str | None]", start: float) -> str | None:
    while True:
        try:
            return lines.get(timeout=SILENCE)
        except queue.Empty:
            print(f"    still working, {time.monotonic() - start:.0f} s", flush=True)


def _narrate(line: str) -> None:
    """Print what a reader wants to know of one line of pip's output."""
    words = line.split()
    if line.startswith("Progress ") and len(words) == 4:
        done, whole = int(words[1]), int(words[3])
        if sys.stdout.isatty() and whole:
            end = "\n" if done == whole else ""
            print(f"\r    {done / 2**20:7.1f} of {whole / 2**20:.1f} MiB", end=end, flush=True)
    elif words[:1] == ["Downloading"] and len(words) > 1:
        print(f"    fetching {words[1].rsplit('/', 1)[-1]} {' '.join(words[2:])}", flush=True)
    elif line.startswith("Installing collected packages"):
        print("    unpacking (one to four minutes)", flush=True)
