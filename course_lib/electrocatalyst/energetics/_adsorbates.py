"""The adsorbates of OC20, from the list that its authors publish.

The package fairchem-data-oc carries the list as a pickle. A pickle can run code when it is read;
so the package is only located, never imported, and the file is read by a restricted unpickler.
Paper: arXiv 2010.09990. The first 82 entries are OC20's; those after them were added later.
"""

import html
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    import ase

PACKAGE = "fairchem-data-oc"
FILE = "fairchem/data/oc/databases/pkls/adsorbates.pkl"
OC20_ADSORBATES = 82


@dataclass(frozen=True)
class Adsorbate:
    """One adsorbate of the list.

    index: its number; below 82 it is OC20's. symbol: such as "*OH". counts: atoms of each
    element. binding: numbers of the atoms that bind to the surface. reaction: the text of its
    reference reaction. atoms: its shape, positions in angstrom.
    """

    index: int
    symbol: str
    counts: dict[str, int]
    binding: tuple[int, ...]
    reaction: str
    atoms: "ase.Atoms"


def adsorbates() -> list[Adsorbate]:
    """All adsorbates of the installed list, in its order: OC20's 82, then later ones.

    Errors: ModuleNotFoundError that names the extra when the package is not installed.
    """
    from course_lib.electrocatalyst._unpickle import load_restricted

    entries: Any = load_restricted(_file().read_bytes(), where="the list of adsorbates")
    return [_adsorbate(index, *entry) for index, entry in sorted(entries.items())]


def _adsorbate(index: int, atoms: "ase.Atoms", symbol: str, binding: Any, text: str) -> Adsorbate:
    counts: dict[str, int] = {}
    for element in atoms.get_chemical_symbols():
        counts[element] = counts.get(element, 0) + 1
    return Adsorbate(index, symbol, counts, tuple(map(int, binding)), _plain(text), atoms)


def _plain(text: str) -> str:
    """The reaction without HTML; the list writes some negative numbers as "- -2"."""
    return html.unescape(re.sub(r"<[^>]+>", "", text)).replace("- -", "- ")


def _file() -> Path:
    """Where the list lies, found without importing the package."""
    try:
        file = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(FILE)))
    except importlib.metadata.PackageNotFoundError:
        file = None
    if file is None or not file.is_file():
        raise ModuleNotFoundError(
            f"OC20's list of adsorbates comes with {PACKAGE}, which is not here: "
            'pip install "small-memory[chem]".'
        )
    return file
