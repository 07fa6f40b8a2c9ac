"""Samples and frames as extended XYZ, the text that ASE reads too.

A sample is its initial structure: columns species, pos, tags, move_mask (T for a free atom) and
relaxed (the positions after relaxation); its other fields are keys of the comment line. A frame
has forces in the place of relaxed. Reading is for exactly this layout; `ase.io.read` takes two to
three times as long.
"""

import re
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from course_lib.electrocatalyst.surfaces._sample import Frame, Sample


LENGTH, FORCE, ENERGY = 5, 4, 5  # decimals of angstrom, eV/angstrom, eV
NONE = "none"  # ASE cannot read an empty value
FIELD = re.compile(r'(\w+)=(?:"([^"]*)"|(\S+))')


def sample_text(sample: Sample) -> str:
    """Return a sample as extended XYZ."""
    about = {
        "id": sample.id,
        "system": sample.system,
        "metals": " ".join(sample.metals),
        "facet": sample.facet,
        "adsorbate": sample.adsorbate,
        "site": sample.site,
        "adsorption_energy": f"{sample.energy:.{ENERGY}f}",
        "anomalies": ", ".join(sample.anomalies) or NONE,
    }
    return _text(sample.atoms, about, "relaxed", sample.relaxed_positions, LENGTH)


def frame_text(frame: Frame) -> str:
    """Return a frame as extended XYZ."""
    about = {
        "sample": frame.sample,
        "system": frame.system,
        "step": str(frame.step),
        "energy": f"{frame.energy:.{ENERGY}f}",
    }
    return _text(frame.atoms, about, "forces", frame.forces, FORCE)


def parse_samples(text: str) -> list[Sample]:
    """Return the samples that `sample_text` wrote, one after the other."""
    return [
        Sample(
            id=about["id"],
            atoms=atoms,
            relaxed_positions=relaxed,
            energy=float(about["adsorption_energy"]),
            metals=tuple(about["metals"].split()),
            facet=about["facet"],
            site=about["site"],
            adsorbate=about["adsorbate"],
            anomalies=_names(about["anomalies"]),
            system=about["system"],
        )
        for about, atoms, relaxed in _blocks(text, "relaxed")
    ]


def parse_frames(text: str) -> list[Frame]:
    """Return the frames that `frame_text` wrote, one after the other."""
    return [
        Frame(
            sample=about["sample"],
            system=about["system"],
            step=int(about["step"]),
            atoms=atoms,
            energy=float(about["energy"]),
            forces=forces,
        )
        for about, atoms, forces in _blocks(text, "forces")
    ]


def _text(
    atoms: Atoms, about: dict[str, str], column: str, values: np.ndarray, decimals: int
) -> str:
    free = np.ones(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        free[constraint.get_indices()] = False
    lattice = " ".join(_number(value, LENGTH) for value in atoms.cell.array.ravel())
    fields = " ".join(f'{key}="{value}"' for key, value in about.items())
    lines = [
        str(len(atoms)),
        f'Lattice="{lattice}" {_properties(column)} {fields} pbc="T T T"',
    ]
    for symbol, position, tag, moves, value in zip(
        atoms.symbols, atoms.positions, atoms.get_tags(), free, values, strict=True
    ):
        place = " ".join(_number(part, LENGTH) for part in position)
        more = " ".join(_number(part, decimals) for part in value)
        lines.append(f"{symbol} {place} {tag} {'T' if moves else 'F'} {more}")
    return "\n".join(lines) + "\n"


def _names(text: str) -> tuple[str, ...]:
    return () if text == NONE else tuple(text.split(", "))


def _properties(column: str) -> str:
    return f"Properties=species:S:1:pos:R:3:tags:I:1:move_mask:L:1:{column}:R:3"


def _number(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: no -0.00000


def _blocks(text: str, column: str) -> Iterator[tuple[dict[str, str], Atoms, np.ndarray]]:
    """Yield, for each structure, its keys, the structure, and the last three columns."""
    lines = text.splitlines()
    start = 0
    while start < len(lines):
        end = start + 2 + int(lines[start])
        if _properties(column) not in lines[start + 1] or end > len(lines):
            raise ValueError(f"Line {start + 2} does not begin a structure with '{column}'.")
        about = {key: one or other for key, one, other in FIELD.findall(lines[start + 1])}
        rows = [line.split() for line in lines[start + 2 : end]]
        numbers = np.array([row[1:4] + row[6:9] for row in rows], dtype=float)  # (atoms, 6)
        atoms = Atoms(
            symbols=[row[0] for row in rows],
            positions=numbers[:, :3],
            cell=np.array(about["Lattice"].split(), dtype=float).reshape(3, 3),
            pbc=True,
            tags=[int(row[4]) for row in rows],
            constraint=FixAtoms(mask=[row[5] == "F" for row in rows]),
        )
        yield about, atoms, numbers[:, 3:]
        start = end
