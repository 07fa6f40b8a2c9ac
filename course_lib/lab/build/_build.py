"""The verbs of the build: make notebooks, tell what differs, run all labs for their claims."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib._files import write_text
from course_lib._paths import repo_root
from course_lib.lab.build._compose import House, compose, module_hash
from course_lib.lab.build._execute import CellError, execute
from course_lib.lab.build._readme import results, update_readme
from course_lib.lab.build._rules import as_text, complaints
from course_lib.lab.build._source import Lab, SourceError, read


SHOWN = 3  # differing cells of one notebook that are named
_GIB = 2**30


def build(
    names: Sequence[str] | None = None,
    *,
    force: bool = False,
    run: bool = True,
    root: Path | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Write the notebooks of the named labs (default: all) and return the files that changed.

    Executes a notebook when its code, the library modules it imports, or the locked versions
    changed; an edit of prose keeps the outputs. `force` executes all, `run=False` none.
    Raises `SourceError` for a source that breaks a rule, `CellError` for a cell that fails.
    """
    house = House(_root(root))
    labs = _labs(house.root)
    written = []
    for lab in _chosen(labs, names):
        for solutions in (False, True):
            target = _target(house.root, lab, solutions)
            label = target.relative_to(house.root).as_posix()
            fresh = compose(lab, house, labs, solutions=solutions)
            fresh.metadata["small_memory"]["module_hash"] = module_hash(lab, house)
            old = nbformat.read(target, as_version=4) if target.is_file() else None
            kept = not force and old is not None and _keep_outputs(fresh, old)
            if not kept and run:
                say(f"{label}: executing")
                say(f"{label}: {_execute(fresh, lab, house)}")
            text = as_text(fresh)
            if target.is_file() and target.read_text(encoding="utf-8") == text:
                say(f"{label}: up to date")
                continue
            write_text(target, text)
            written.append(target)
            say(f"{label}: written{', outputs kept' if kept else ''}")
    if run and update_readme(house.root, labs):
        say("README.md: map of labs written")
    return written


def differences(names: Sequence[str] | None = None, *, root: Path | None = None) -> list[str]:
    """Compare the cells of the kept notebooks with a fresh build, without executing.

    Returns one sentence per difference, none when all are equal.
    """
    house = House(_root(root))
    labs = _labs(house.root)
    found = []
    for lab in _chosen(labs, names):
        for solutions in (False, True):
            target = _target(house.root, lab, solutions)
            label = target.relative_to(house.root).as_posix()
            if not target.is_file():
                found.append(f"{label}: missing; run `make notebooks`")
                continue
            fresh = compose(lab, house, labs, solutions=solutions)
            found += [f"{label}: {text}" for text in _compare(target, fresh)]
    if names is None:
        sources = {lab.name for lab in labs}
        for file in sorted((house.root / "notebooks").glob("**/[0-9][0-9]_*.ipynb")):
            if file.stem not in sources and ".ipynb_checkpoints" not in file.parts:
                found.append(f"{file.relative_to(house.root).as_posix()}: has no source")
    return found


def run_for_claims(names: Sequence[str] | None = None, *, root: Path | None = None) -> Path:
    """Execute the labs afresh and return the folder into which they wrote their claims."""
    house = House(_root(root))
    labs = _labs(house.root)
    folder = house.root / "build" / "fresh"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for lab in _chosen(labs, names):
        print(f"{lab.name}: executing", flush=True)
        fresh = compose(lab, house, labs, solutions=False)
        watch = execute(fresh, house.root, folder=folder)
        print(f"{lab.name}: {watch.seconds:.0f} s", flush=True)
    return folder


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of the build: `python -m course_lib.lab.build [names]`."""
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.lab.build", description=main.__doc__
    )
    parser.add_argument("names", nargs="*", help="for example 10_mobiletl; default: all")
    parser.add_argument("--force", action="store_true", help="execute also what did not change")
    parser.add_argument("--no-execute", action="store_true", help="write cells, keep no new output")
    parser.add_argument("--check", action="store_true", help="only tell what differs")
    options = parser.parse_args(argv)
    try:
        if options.check:
            found = differences(options.names or None)
            print("\n".join(found) or "The notebooks equal their sources.")
            return 1 if found else 0
        build(options.names or None, force=options.force, run=not options.no_execute)
    except (SourceError, CellError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _root(root: Path | None) -> Path:
    root = root or repo_root()
    if root is None:
        raise SourceError("Notebooks are built in a checkout of the course; clone the repository.")
    return root


def _labs(root: Path) -> list[Lab]:
    return [read(path) for path in sorted((root / "notebooks" / "source").glob("*.py"))]


def _chosen(labs: list[Lab], names: Sequence[str] | None) -> list[Lab]:
    if names is None:
        return labs
    by_name = {key: lab for lab in labs for key in (lab.name, lab.number)}
    for name in names:
        if name not in by_name:
            known = ", ".join(lab.name for lab in labs) or "none"
            raise SourceError(f"No lab {name!r} in notebooks/source; there are: {known}.")
    return [by_name[name] for name in names]


def _target(root: Path, lab: Lab, solutions: bool) -> Path:
    folder = root / "notebooks" / ("solutions" if solutions else ".")
    return folder / f"{lab.name}.ipynb"


def _keep_outputs(fresh: NotebookNode, old: NotebookNode) -> bool:
    """Move the old outputs into `fresh` when the code that made them is the same."""
    mine = [cell for cell in fresh.cells if cell.cell_type == "code"]
    theirs = [cell for cell in old.cells if cell.cell_type == "code"]
    same_code = [cell.source for cell in mine] == [cell.source for cell in theirs]
    same_library = fresh.metadata.small_memory["module_hash"] == old.metadata.get(
        "small_memory", {}
    ).get("module_hash")
    if not (same_code and same_library) or any(c.execution_count is None for c in theirs):
        return False
    if "results" in old.metadata.small_memory:
        fresh.metadata.small_memory["results"] = old.metadata.small_memory["results"]
    for cell, before in zip(mine, theirs, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    return True


def _execute(notebook: NotebookNode, lab: Lab, house: House) -> str:
    """Execute in place, check the rules, return what it took in words."""
    with tempfile.TemporaryDirectory(prefix="small-memory-") as folder:
        watch = execute(notebook, house.root, folder=Path(folder))
        notebook.metadata["small_memory"]["results"] = results(Path(folder), lab.name)
    if found := complaints(notebook):
        raise CellError(f"{lab.name}:\n  " + "\n  ".join(found))
    return (
        f"{watch.seconds:.0f} s of {lab.header.seconds} s, "
        f"peak {watch.peak / _GIB:.2f} GiB of {lab.header.memory}"
    )


def _compare(target: Path, fresh: NotebookNode) -> list[str]:
    kept = nbformat.read(target, as_version=4)
    found = []
    for number, (old, new) in enumerate(zip(kept.cells, fresh.cells, strict=False), 1):
        parts = ("cell_type", "source", "id", "metadata")
        if wrong := [part for part in parts if old[part] != new[part]]:
            found.append(f"cell {number} differs from its source ({', '.join(wrong)})")
    if more := len(found[SHOWN:]):
        found[SHOWN:] = [f"and {more} more cells differ"]
    if len(kept.cells) != len(fresh.cells):
        found.append(f"{len(kept.cells)} cells, the source makes {len(fresh.cells)}")
    mark = kept.metadata.get("small_memory", {}).get("source_hash")
    if not found and mark != fresh.metadata["small_memory"]["source_hash"]:
        found.append("the source changed since the build; run `make notebooks`")
    return found
