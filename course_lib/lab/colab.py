"""The first cell of each notebook: on Colab it installs the course, elsewhere it does nothing."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from course_lib._paths import repo_root


__all__ = ["cell"]


def cell(project: Mapping[str, Any] | None = None, lab: str = "") -> str:
    """Return the code of the first cell, at most 4 lines, from the data of pyproject.toml.

    `project` is the parsed file; None reads that of the checkout. Installed is our own package,
    from `[project.urls]` or, while that is not set, from an uploaded wheel, and what Colab lacks
    (`[tool.small-memory.colab]`; `more` is for the one `lab` named there), without dependencies:
    Colab's torch and numpy stay.
    """
    if project is None:
        project = _of_checkout()
    colab = project["tool"]["small-memory"]["colab"]
    lacks = [*colab["lacks"], *colab.get("more", {}).get(lab, ())]
    floors = {_name(text): text for text in project["project"]["dependencies"]}
    for text in lacks:
        if _name(text) in ("torch", "numpy"):
            raise ValueError(f"{text} must not be in what Colab lacks: Colab brings its own.")
    wanted = [_source(project["project"]), *(floors.get(_name(text), text) for text in lacks)]
    return "\n".join(
        (
            "import sys",
            'if "google.colab" in sys.modules:',
            "    %pip install -q --no-deps " + " ".join(f'"{one}"' for one in wanted),
        )
    )


def _source(project: Mapping[str, Any]) -> str:
    address = project.get("urls", {}).get("Repository")
    if address:
        return f"small-memory @ git+{address}"
    return f"small_memory-{project['version']}-py3-none-any.whl"


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def _of_checkout() -> Mapping[str, Any]:
    root = repo_root()
    if root is None:
        raise FileNotFoundError("The first cell is made from pyproject.toml: work in a checkout.")
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
