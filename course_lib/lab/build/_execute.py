"""Execute a notebook in a fresh kernel and tidy what it printed."""

import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode


_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_WIDGET = "application/vnd.jupyter.widget-view+json"
PATIENCE = 600  # seconds for one cell before it counts as hanging
_PAUSE = 0.05  # seconds between two looks at the processes


class CellError(RuntimeError):
    """A cell of a notebook failed; the message holds its number and the traceback."""


@dataclass
class Watch:
    """What the child processes of this one took, while watched."""

    seconds: float = 0.0
    peak: int = 0  # bytes resident, all new children together


@contextmanager
def watch_children() -> Iterator[Watch]:
    """Measure wall time and peak resident bytes of the processes started inside the block."""
    import psutil

    here = psutil.Process()
    before = set(here.children(recursive=True))
    watch, over = Watch(), threading.Event()

    def look() -> None:
        while not over.wait(_PAUSE):
            resident = 0
            for child in set(here.children(recursive=True)) - before:
                try:
                    resident += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            watch.peak = max(watch.peak, resident)

    thread = threading.Thread(target=look, daemon=True)
    start = time.perf_counter()
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
        watch.seconds = time.perf_counter() - start


def lab_environment(folder: Path) -> dict[str, str]:
    """Return the environment of an unattended run; what the lab writes goes to `folder`."""
    kept = {key: value for key, value in os.environ.items() if key != "COURSE_SCALE"}
    return kept | {
        "COURSE_STATIC": "1",
        "COURSE_PROGRESS": str(folder / "progress.json"),
        "COURSE_BUILD": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def execute(notebook: NotebookNode, root: Path, *, folder: Path) -> Watch:
    """Run all cells in a fresh kernel in `notebooks/` and keep their tidied outputs.

    What the lab writes (progress, claims) goes to `folder`. Raises `CellError` with the cell's
    number when one fails or takes longer than 10 minutes.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    name = notebook.metadata["small_memory"]["lab"]
    reached = 0

    def note(cell: NotebookNode, cell_index: int) -> None:
        nonlocal reached
        reached = cell_index + 1

    client = NotebookClient(
        notebook,
        timeout=PATIENCE,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        on_cell_start=note,
        extra_arguments=["--log-level=ERROR"],
    )
    with watch_children() as watch:
        try:
            client.execute(cwd=str(root / "notebooks"), env=lab_environment(folder))
        except (CellExecutionError, CellTimeoutError) as error:
            trace = _ANSI.sub("", str(error))
            raise CellError(f"{name}: cell {reached} failed.\n{trace}") from None
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            cell.outputs = [_tidy(output, root) for output in cell.outputs if _still(output)]
    return watch


def _still(output: NotebookNode) -> bool:
    """Tell whether an output can stand on paper; progress bars of a live notebook cannot."""
    return _WIDGET not in output.get("data", {})


def _tidy(output: NotebookNode, root: Path) -> NotebookNode:
    """Write paths of this machine as a reader would: `.` is the repository, `~` the home."""
    if output.output_type == "stream":
        output.text = _shorten(_ANSI.sub("", output.text), root)
    for kind, value in output.get("data", {}).items():
        if kind.startswith("text/") and isinstance(value, str):
            output.data[kind] = _shorten(value, root)
    return output


def _shorten(text: str, root: Path) -> str:
    places = [
        (str(root), "."),
        (sys.prefix, "./.venv"),
        (tempfile.gettempdir(), "(temp)"),
        (str(Path.home()), "~"),
    ]
    for place, short in places:
        text = re.sub(re.escape(place) + r"(?=[/\\\s\"')]|$)", short, text)
    return text
