"""Read a lab's source: header, cells, parts, and the regions that only the solutions show."""

import re
from dataclasses import dataclass
from pathlib import Path


HOLE = "...  # your code here"
TAGS = frozenset({"solution", "learner", "stderr", "cover"})
LEVELS = ("beginner", "intermediate", "advanced")

_BEGIN, _END = "### BEGIN SOLUTION", "### END SOLUTION"
_ALMOST_A_MARK = re.compile(r"^\s*#+\s*(BEGIN|END)\s+SOLUTIONS?\s*$", re.IGNORECASE)
_CELL_LINE = re.compile(r"^# %%")


class SourceError(ValueError):
    """A lab's source breaks a rule; the message names file, line and mend."""


@dataclass(frozen=True)
class Header:
    """What a lab asks of its reader and of the machine."""

    minutes: int  # a learner's time
    seconds: int  # budget of an untouched run on two cores
    memory: str  # peak resident memory, for example "2 GiB"
    level: str  # one of LEVELS


@dataclass(frozen=True)
class Cell:
    """One cell of the source, solutions included."""

    kind: str  # "markdown" or "code"
    source: str
    line: int  # of its `# %%` in the source file
    tags: frozenset[str] = frozenset()
    part: int | None = None  # this cell opens that part of the lab


@dataclass(frozen=True)
class Lab:
    """A source, read and checked."""

    path: Path
    title: str
    header: Header
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """Its file name without the suffix, for example `10_mobiletl`."""
        return self.path.stem

    @property
    def number(self) -> str:
        """The two digits in front, for example `10`."""
        return self.name[:2]


def read(path: Path) -> Lab:
    """Read the source of one lab; raise `SourceError` where it breaks a rule."""
    import jupytext

    text = path.read_text(encoding="utf-8")
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem):
        raise SourceError(f"{path.name}: name a lab NN_name.py, two digits and lower case.")
    _check_marks(text, path)
    notebook = jupytext.reads(text, fmt="py:percent")
    header = _header(notebook.metadata.get("lab"), path)
    lines = [n for n, line in enumerate(text.splitlines(), 1) if _CELL_LINE.match(line)]
    if len(lines) != len(notebook.cells):
        raise SourceError(f"{path.name}: text outside of cells; start each cell with `# %%`.")
    cells = tuple(_cell(cell, line, path) for cell, line in zip(notebook.cells, lines, strict=True))
    return Lab(path, _title(cells, path), header, cells)


def split_solution(source: str) -> tuple[str, str]:
    """Return the code as a learner gets it, with holes, and as the solutions show it."""
    learner, solution = [], []
    inside = False
    for line in source.splitlines():
        mark = line.strip()
        if mark == _BEGIN:
            learner.append(line[: len(line) - len(line.lstrip())] + HOLE)
            inside = True
        elif mark == _END:
            inside = False
        else:
            solution.append(line)
            if not inside:
                learner.append(line)
    return "\n".join(learner), "\n".join(solution)


def solution_lines(source: str) -> list[str]:
    """Return the lines of code that only the solutions may show, stripped."""
    hidden, inside = [], False
    for line in source.splitlines():
        mark = line.strip()
        if mark in (_BEGIN, _END):
            inside = mark == _BEGIN
        elif inside and mark:
            hidden.append(mark)
    return hidden


def _check_marks(text: str, path: Path) -> None:
    """Every BEGIN has its END in the same cell, both alone on their lines."""
    opened = None
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path.name}, line {number}"
        mark = line.strip()
        if mark == _BEGIN:
            if opened:
                raise SourceError(f"{where}: a solution begins inside that of line {opened}.")
            opened = number
        elif mark == _END:
            if not opened:
                raise SourceError(f"{where}: `{_END}` without `{_BEGIN}` above it.")
            opened = None
        elif _ALMOST_A_MARK.match(line):
            raise SourceError(f"{where}: write the mark as `{_BEGIN}` or `{_END}`.")
        elif opened and _CELL_LINE.match(line):
            raise SourceError(f"{where}: a new cell inside the solution of line {opened}.")
    if opened:
        raise SourceError(f"{path.name}, line {opened}: `{_BEGIN}` without `{_END}` below it.")


def _header(fields: dict | None, path: Path) -> Header:
    wanted = tuple(Header.__dataclass_fields__)
    if not fields or set(fields) != set(wanted):
        raise SourceError(
            f"{path.name}: the header holds {sorted(fields or ())}; "
            f"under `# jupyter:` and `# lab:` it needs exactly {', '.join(wanted)}."
        )
    if fields["level"] not in LEVELS:
        raise SourceError(f"{path.name}: level {fields['level']!r} is none of {', '.join(LEVELS)}.")
    for name in ("minutes", "seconds"):
        if not isinstance(fields[name], int) or fields[name] <= 0:
            raise SourceError(f"{path.name}: {name} is a whole number above 0.")
    if not re.fullmatch(r"\d+(\.\d+)? [MG]iB", str(fields["memory"])):
        raise SourceError(f"{path.name}: memory is a number and a unit, for example `2 GiB`.")
    return Header(**fields)


def _cell(cell, line: int, path: Path) -> Cell:
    where = f"{path.name}, line {line}"
    if cell.cell_type not in ("markdown", "code"):
        raise SourceError(f"{where}: a cell is markdown or code, not {cell.cell_type}.")
    tags = frozenset(cell.metadata.get("tags", ()))
    if unknown := tags - TAGS:
        known = ", ".join(sorted(TAGS))
        raise SourceError(f"{where}: unknown tag {min(unknown)!r}; use one of {known}.")
    part = cell.metadata.get("part")
    if part is not None and part not in range(1, 15):
        raise SourceError(f"{where}: part={part!r}; the parts of a lab are 1 to 14.")
    if not cell.source.strip():
        raise SourceError(f"{where}: an empty cell; fill it or remove it.")
    return Cell(cell.cell_type, cell.source, line, tags, part)


def _title(cells: tuple[Cell, ...], path: Path) -> str:
    first = cells[0].source.splitlines()[0] if cells else ""
    if not cells or cells[0].kind != "markdown" or not re.match(r"# \S", first):
        raise SourceError(f"{path.name}: the first cell is markdown and starts with `# Title`.")
    return first[2:].strip()
