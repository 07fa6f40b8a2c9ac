"""Turn a lab's source into its two notebooks: for learners, and with the solutions."""

import ast
import hashlib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.lab import colab
from course_lib.lab.build._source import Lab, split_solution


SHOWN_VERSIONS = ("torch", "timm", "ipywidgets")  # one version for every Python in the lock
ATTRIBUTION = (
    "Pictures: [OpenMoji](https://openmoji.org), the open-source emoji and icon project, "
    "license [CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/)."
)


@dataclass(frozen=True)
class House:
    """What the notebooks take from the repository around them."""

    root: Path

    @cached_property
    def versions(self) -> dict[str, str]:
        """Exact versions from requirements.lock, of the packages that the badge row names."""
        pins = (self.root / "requirements.lock").read_text(encoding="utf-8")
        found = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", pins, re.MULTILINE))
        return {name: found[name] for name in SHOWN_VERSIONS if name in found}

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        """The content of pyproject.toml."""
        return tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))

    @property
    def address(self) -> str | None:
        """The public address from `[project.urls]`, or None while it is not set."""
        address = self.pyproject["project"].get("urls", {}).get("Repository")
        return address.rstrip("/") if address else None

    def colab_link(self, notebook: str) -> str | None:
        """Where Colab opens `notebook`, a path in the repository; only for GitHub addresses."""
        at = re.fullmatch(r"https://github\.com/([^/]+/[^/]+?)(\.git)?", self.address or "")
        base = "https://colab.research.google.com/github"
        return f"{base}/{at[1]}/blob/main/{notebook}" if at else None


def compose(lab: Lab, house: House, labs: Sequence[Lab], *, solutions: bool) -> NotebookNode:
    """Return one of the two notebooks of a lab, without outputs."""
    folder = "notebooks/solutions" if solutions else "notebooks"
    opening, *rest = lab.cells
    cells = [
        _markdown(_opening(lab, house, f"{folder}/{lab.name}.ipynb", opening.source, solutions), 1)
    ]
    cells.append(_code(colab.cell(house.pyproject, lab.name), tags=["colab"]))
    other = "learner" if solutions else "solution"
    for cell in rest:
        if other in cell.tags:
            continue
        kept = sorted(cell.tags)
        if cell.kind == "markdown":
            cells.append(_markdown(cell.source, cell.part, kept))
        else:
            cells.append(_code(split_solution(cell.source)[solutions], cell.part, kept))
    cells.append(_markdown(_closing(lab, labs)))
    _name_cells(cells, lab.name)
    notebook = new_notebook(cells=cells)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "small_memory": {"lab": lab.name, "source_hash": _digest(lab.path.read_bytes())},
        }
    )
    return notebook


def module_hash(lab: Lab, house: House) -> str:
    """Digest of the library code that a lab's outputs come from, and of the versions shown.

    Counts each module of `course_lib` that the lab imports by name. `lab` as a whole does not
    count, only its modules that belong to one lab, such as `course_lib.lab.checks.lab10`.
    """
    library = house.root / "course_lib"
    files: set[Path] = set()
    for cell in lab.cells:
        for names in _imported(cell.source) if cell.kind == "code" else ():
            of_lab = names[0] == "lab"
            module = library.joinpath(*(names if of_lab else names[:1]))
            found = [] if of_lab else module.rglob("*.py")
            files |= {*found, *filter(Path.is_file, [module.with_suffix(".py")])}
    digest = hashlib.sha256(repr(sorted(house.versions.items())).encode())
    for file in sorted(files):
        digest.update(file.relative_to(library).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _imported(code: str) -> set[tuple[str, ...]]:
    """Names below `course_lib` that a cell imports: `("lab", "checks", "lab10")`."""
    from IPython.core.inputtransformer2 import TransformerManager

    names = set()
    for node in ast.walk(ast.parse(TransformerManager().transform_cell(code))):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    dotted = (name.split(".") for name in names)
    return {tuple(rest) for first, *rest in dotted if first == "course_lib" and rest}


def _opening(lab: Lab, house: House, path: str, text: str, solutions: bool) -> str:
    """The title cell: which file to edit, the title, the badge row, the author's lines."""
    comment = (
        f"<!-- Built from notebooks/source/{lab.name}.py: edit that file, "
        f"then run `make notebooks`. -->"
    )
    heading, _, body = text.partition("\n")
    head = lab.header
    link = house.colab_link(path)
    versions = ", ".join(f"{name} {version}" for name, version in house.versions.items())
    badges = [f"[Open in Colab]({link})"] if link else []
    badges += [f"{head.minutes} minutes", head.memory, head.level]
    badges += [f"last verified with {versions}"] if versions else []
    if solutions:
        heading += " (solutions)"
    return f"{comment}\n{heading}\n\n{' · '.join(badges)}\n{body}".rstrip()


def _closing(lab: Lab, labs: Sequence[Lab]) -> str:
    later = sorted((one for one in labs if one.name > lab.name), key=lambda one: one.name)
    if later:
        text = f"**Next lab:** [{later[0].number} · {later[0].title}]({later[0].name}.ipynb)"
    else:
        first = min(labs, key=lambda one: one.name)
        text = f"This was the last lab. Back to [{first.title}]({first.name}.ipynb)."
    code = "\n".join(cell.source for cell in lab.cells if cell.kind == "code")
    if re.search(r"""["']openmoji["']""", code):
        text += f"\n\n{ATTRIBUTION}"
    return text


def _markdown(source: str, part: int | None = None, tags: Sequence[str] = ()) -> NotebookNode:
    return new_markdown_cell(source, metadata=_metadata(part, tags))


def _code(source: str, part: int | None = None, tags: Sequence[str] = ()) -> NotebookNode:
    return new_code_cell(source, metadata=_metadata(part, tags))


def _metadata(part: int | None, tags: Sequence[str]) -> dict:
    return ({} if part is None else {"part": part}) | ({"tags": list(tags)} if tags else {})


def _name_cells(cells: list[NotebookNode], lab: str) -> None:
    """Give each cell an id that only a change of its own text changes."""
    seen: dict[str, int] = {}
    for cell in cells:
        seen[cell.source] = seen.get(cell.source, 0) + 1
        cell.id = _digest(f"{lab}\0{cell.source}\0{seen[cell.source]}".encode())[:12]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
