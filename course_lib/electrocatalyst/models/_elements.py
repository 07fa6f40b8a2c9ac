"""Elements as bits: their place in the periodic table, and the ranges their properties fall in.

Paper: CGCNN (Xie and Grossman, arXiv 1710.10324), the atom features of its supplement: nine
properties, 92 bits. The published vectors are not copied. These are of the same kind, made from the
element data of pymatgen and the covalent radii of ASE; single bits differ where the sources do.
"""

import math
from functools import cache
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


ELEMENTS = 100  # rows: atomic numbers 0 to 99; no element has number 0, and its row is empty
BLOCKS = "spdf"
# property: (bits, lower end, upper end); whole numbers have a bit each, the others ten ranges
PROPERTIES = {
    "group": (18, 1, 19),
    "period": (8, 1, 9),
    "electronegativity": (10, 0.5, 4.0),  # Pauling
    "covalent radius": (10, 25, 250),  # picometers
    "valence electrons": (12, 1, 13),
    "first ionization energy": (10, 1.3, 3.3),  # ln eV
    "electron affinity": (10, -3.0, 3.7),  # eV
    "block": (4, 0, 4),
    "atomic volume": (10, 1.5, 4.3),  # ln cm^3/mol
}


@cache
def element_bits() -> Float[Tensor, "elements bits"]:
    """Return a row of 92 zeros and ones per atomic number from 0 to 99; do not write into it.

    A value outside its range counts in the first or last bin; an unknown one sets no bit.
    Raises ImportError without the extra `chem`.
    """
    bits = torch.zeros(ELEMENTS, sum(count for count, _, _ in PROPERTIES.values()))
    for number in range(1, ELEMENTS):
        values, first = _values(number), 0
        for name, (count, low, high) in PROPERTIES.items():
            if values[name] is not None:
                place = math.floor(count * (values[name] - low) / (high - low))
                bits[number, first + min(max(place, 0), count - 1)] = 1
            first += count
    return bits


def _values(number: int) -> dict[str, int | float | None]:
    """Return the nine properties of one element, None where no number is known."""
    element = _library("pymatgen.core").Element.from_Z(number)
    radius = float(_library("ase.data").covalent_radii[number])  # angstrom
    ionization = _number(element.data["Ionization energies"][0])
    volume = _number(element.data.get("Molar volume"))
    block = "s" if number == 2 else element.block
    # electrons above the last noble gas, without full d and f shells; lanthanides count three
    valence = 2 if number == 2 else element.group - (10 if block == "p" else 0)
    return {
        "group": element.group,
        "period": element.row,
        "electronegativity": _number(element.data.get("X")),
        "covalent radius": 100 * radius,
        "valence electrons": valence,
        "first ionization energy": math.log(ionization) if ionization else None,
        "electron affinity": _number(element.data.get("Electron affinity")),
        "block": BLOCKS.index(block),
        "atomic volume": math.log(volume) if volume else None,
    }


def _number(value: Any) -> int | float | None:
    """Return the number that an entry of pymatgen's table begins with, None if there is none."""
    if isinstance(value, str):
        value = value.split()[0]
        return float(value) if value.replace(".", "", 1).isdigit() else None
    return None if value is None else float(value)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f'CGCNN\'s element vectors need {name}: pip install "small-memory[chem]"'
        ) from error
