"""What this machine has, what it lacks, and what to do about it."""

import importlib.metadata
import os
import re
import shutil
import sys
import tomllib
from dataclasses import dataclass

from course_lib._paths import cache_dir, repo_root
from course_lib.lab import _display, _machine, progress


__all__ = ["Row", "doctor", "main", "rows"]

GIB = 2**30
NEEDED_MEMORY = 4 * GIB  # the budget of a lab
NEEDED_DISK = 1 * GIB
PYTHONS = ((3, 11), (3, 14))  # from, below
# The major version of the JupyterLab extension that each major version of ipywidgets talks to.
WIDGET_PARTNERS = {7: 1, 8: 3}


@dataclass(frozen=True)
class Row:
    """One finding: state is "ok", "note" (works, but) or "problem"."""

    what: str
    found: str
    state: str
    advice: str = ""


def doctor() -> None:
    """Show the findings as a table in the notebook, or print them."""
    _display.table(
        [
            {"what": r.what, "found": r.found, "state": r.state, "what to do": r.advice}
            for r in rows()
        ]
    )


def main() -> int:
    """Print the findings; return 1 if there is a problem, else 0."""
    found = rows()
    for row in found:
        print(f"{row.state:8}{row.what:12}{row.found}")
        if row.advice:
            print(f"{'':8}{'':12}-> {row.advice}")
    return int(any(row.state == "problem" for row in found))


def rows() -> list[Row]:
    """Return all findings; nothing is fetched or changed."""
    return [
        _python(),
        _packages(),
        _widgets(),
        _memory(),
        _cores(),
        _threads(),
        _gpu(),
        _disk(),
        _assets(),
        _progress(),
    ]


def _python() -> Row:
    found = sys.version.split()[0]
    if PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]:
        return Row("Python", found, "ok")
    return Row("Python", found, "problem", "Install Python 3.11, 3.12 or 3.13 and run: make lab")


def _packages() -> Row:
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in requirements()]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = []
    for one in wanted:
        have = _machine.version(one.name)
        if have is None:
            wrong.append(f"{one.name} (missing)")
        elif not one.specifier.contains(have, prereleases=True):
            wrong.append(f"{one.name} {have} (needs {one.specifier})")
    if not wrong:
        return Row("packages", f"all {len(wanted)} fit pyproject.toml", "ok")
    return Row("packages", ", ".join(wrong), "problem", "Run: make lab (it installs what lacks)")


def requirements() -> list[str]:
    """Return the course's requirements, from the checkout's pyproject.toml or from the wheel."""
    root = repo_root()
    if root is not None:
        text = (root / "pyproject.toml").read_text(encoding="utf-8")
        return tomllib.loads(text)["project"]["dependencies"]
    return importlib.metadata.requires("small-memory") or []


def _widgets() -> Row:
    widgets, partner = _machine.version("ipywidgets"), _machine.version("jupyterlab_widgets")
    if widgets is None or partner is None:
        advice = "Sliders appear as fixed figures. Run: make lab"
        return Row("widgets", "ipywidgets or jupyterlab_widgets is missing", "note", advice)
    found = f"ipywidgets {widgets}, jupyterlab_widgets {partner}"
    if WIDGET_PARTNERS.get(_major(widgets)) == _major(partner):
        return Row("widgets", found, "ok")
    return Row("widgets", found, "problem", "The two do not match. Run: make lab")


def _memory() -> Row:
    there = _machine.memory()
    if there is None:
        return Row("memory", "unknown", "note", "Install psutil to see it.")
    found = f"{there[0] / GIB:.1f} GiB, {there[1] / GIB:.1f} GiB free"
    if there[1] >= NEEDED_MEMORY:
        return Row("memory", found, "ok")
    return Row("memory", found, "note", "Labs may need 4 GiB: close programs and other notebooks.")


def _cores() -> Row:
    count = _machine.cores()
    if count >= 2:
        return Row("cores", str(count), "ok")
    return Row("cores", str(count), "note", "Labs are timed for 2 cores; expect twice the minutes.")


def _threads() -> Row:
    import torch

    count, cores = torch.get_num_threads(), _machine.cores()
    found = f"{count} threads of torch, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '-')}"
    if count <= cores:
        return Row("threads", found, "ok")
    return Row("threads", found, "note", f"More threads than cores: set OMP_NUM_THREADS={cores}")


def _gpu() -> Row:
    found = _machine.device()
    if found == "cpu":
        return Row("GPU", "none", "ok", "None is needed at laptop scale.")
    return Row("GPU", found, "ok", "For the paper's scale: COURSE_SCALE=full")


def _disk() -> Row:
    folder = cache_dir()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{free / GIB:.1f} GiB free for the cache"
    if not os.access(folder, os.W_OK):
        return Row("disk", "the cache cannot be written", "problem", "Set COURSE_CACHE elsewhere.")
    if free >= NEEDED_DISK:
        return Row("disk", found, "ok")
    return Row("disk", found, "problem", "Free 1 GiB, or set COURSE_CACHE to another disk.")


def _assets() -> Row:
    from course_lib import assets

    states = {one.name: one.state for one in assets.status() if one.state != "hub"}
    absent = [name for name, state in states.items() if state != "verified"]
    if not absent:
        return Row("assets", f"{len(states)} verified", "ok")
    found = f"{len(absent)} of {len(states)} not here: {', '.join(absent)}"
    return Row("assets", found, "note", "Run: python -m course_lib fetch")


def _progress() -> Row:
    file = progress.path()
    if not file.is_file():
        return Row("progress", "no file yet", "ok", "It appears with your first answer.")
    try:
        points = progress.peek()
    except (ValueError, progress.ProgressError) as problem:
        advice = "It will be moved aside, not deleted. Restore a copy if you have one."
        return Row("progress", f"{file.name} cannot be read: {problem}", "note", advice)
    return Row("progress", f"{points} points in {file.name}", "ok")


def _major(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found.group()) if found else 0
