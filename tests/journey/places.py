"""What the journeys stand on: a fresh clone, an environment that borrows packages, a server."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from house import ROOT


ADDRESS = re.compile(
    r"http://127\.0\.0\.1:(\d+)/lab/tree/notebooks/00_start_here\.ipynb\?token=\w+"
)
BASE_PYTHON = getattr(sys, "_base_executable", sys.executable)


def clone(folder: Path) -> Path:
    """Clone what the repository holds at HEAD, as a newcomer does."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    return folder


def borrow(folder: Path, *first: Path) -> Path:
    """Make a virtual environment that finds `first`, then the packages of the running one.

    It has its own site-packages in front, so that what is installed there wins. Returns its Python.
    """
    subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    theirs = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    lines = [*map(str, first), *theirs]
    (Path(own) / "borrowed.pth").write_text("\n".join(lines) + "\n")
    return python


def quiet_jupyter(folder: Path) -> dict[str, str]:
    """Settings of Jupyter in a folder of their own; notebooks show all cells at once."""
    tracker = folder / "settings" / "@jupyterlab" / "notebook-extension"
    tracker.mkdir(parents=True)
    (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    return {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "IPYTHONDIR": str(folder / "ipython"),
    }


@dataclass(frozen=True)
class Server:
    """A running `make lab`."""

    address: str
    seconds: float  # from the command to the printed address
    printed: str
    process: subprocess.Popen

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(ADDRESS.search(self.address)[1])

    def stop(self) -> tuple[int, str]:
        """Press Ctrl-C; return the exit status, and what was printed since the address."""
        os.killpg(self.process.pid, signal.SIGINT)
        said = _read(self.process, time.monotonic() + 20, until=None)
        return _stop(self.process), said


@contextmanager
def served(root: Path, environment: dict[str, str], patience: float = 240) -> Iterator[Server]:
    """Run `make lab` in a checkout until its address appears; stop it at the end."""
    make = [["make", "lab", f"PYTHON={BASE_PYTHON}"]] if shutil.which("make") else []
    command, *_ = [*make, [BASE_PYTHON, "-m", "course_lib", "lab"]]
    gone = ("DISPLAY", "WAYLAND_DISPLAY", "VIRTUAL_ENV", "COURSE_STATIC", "MAKEFLAGS", "MAKELEVEL")
    gone += ("GOMP_SPINCOUNT",)
    kept = {key: value for key, value in os.environ.items() if key not in gone}
    start = time.monotonic()
    process = subprocess.Popen(
        command, cwd=root, env=kept | environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        printed = _read(process, start + patience, until=ADDRESS)
        found = ADDRESS.search(printed)
        assert found, f"`{' '.join(map(str, command))}` printed no address:\n{printed}"
        yield Server(found[0], time.monotonic() - start, printed, process)
    finally:
        _stop(process)


def _read(process: subprocess.Popen, deadline: float, until: re.Pattern | None) -> str:
    """Read what is printed until a pattern appears, the output ends, or the time is over."""
    printed, pipe = "", process.stdout.fileno()
    while time.monotonic() < deadline and not (until and until.search(printed)):
        if select.select([pipe], [], [], 0.2)[0]:
            data = os.read(pipe, 65_536)
            printed += data.decode("utf-8", "replace")
            if not data:
                break
    return printed


def _stop(process: subprocess.Popen) -> int:
    """Interrupt the process and its children as Ctrl-C does; after 20 seconds insist."""
    for sign, patience in ((signal.SIGINT, 20), (signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        if process.poll() is None:
            os.killpg(process.pid, sign)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
    process.stdout.close()
    return process.returncode


def pip_install(python: Path, packages: Sequence[str]) -> str | None:
    """Install packages without dependencies; return None, or pip's last line when it failed."""
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-input"]
    command += ["--no-deps", "--ignore-installed", "--disable-pip-version-check", *packages]
    made = subprocess.run(command, capture_output=True, text=True)
    return None if made.returncode == 0 else made.stderr.strip().splitlines()[-1]
