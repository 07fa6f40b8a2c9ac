"""One run, in the process that does the work."""

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from course_lib.sweep._plain import plain_items


Setting = dict[str, Any]
Rows = list[dict[str, Any]]
THREAD_NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
DIED = "The process of this run died. Often the memory was too small: try fewer workers."


@dataclass(frozen=True)
class Outcome:
    """What became of a run: its rows, or the line that says why there are none."""

    rows: Rows | None = None
    error: str = ""


def run(
    experiment: Callable[..., Any], setting: Setting, taken: frozenset[str], threads: int
) -> Outcome:
    """Call `experiment(**setting)`; an error becomes the outcome of this run.

    What it prints is not shown: the runs would speak all at once.
    `taken` are the names of settings, which no result may bear. `threads` is for torch: through
    the environment where the experiment is still to import it, else by its own switch.
    """
    for name in THREAD_NAMES:
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    try:
        with open(os.devnull, "w") as sink, redirect_stdout(sink), redirect_stderr(sink):
            return Outcome(rows=_rows(experiment(**setting), taken))
    except (Exception, SystemExit) as error:
        return Outcome(error=last_line(error))


def last_line(error: BaseException) -> str:
    """Return the last line of the traceback of `error`: its kind and its message, in one line."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return " ".join(text.split())


def last_line_sent(error: BaseException) -> str:
    """Return the last line of the traceback that another process sent as the text of `error`."""
    return str(error.__cause__ or error).strip('\n" ').splitlines()[-1]


def _rows(result: Any, taken: frozenset[str]) -> Rows:
    rows = [result] if isinstance(result, dict) else result
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TypeError(
            f"The experiment returned {_kind(result)}; "
            "return a dict, one row, or a list of dicts, several rows."
        )
    rows = [plain_items(row, "The result") for row in rows]
    for row in rows:
        if double := sorted(taken & row.keys()):
            raise ValueError(
                f"The result has the key '{double[0]}', which is also the name of a setting. "
                "Settings stand in the table anyway: leave it out, or give it another name."
            )
    return rows


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
