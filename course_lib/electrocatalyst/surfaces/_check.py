"""What no potential can make sense of is refused before it is asked."""

import numpy as np
from ase import Atoms


CLOSEST = 0.3  # angstrom; no two nuclei of a solid or a molecule come as near


def refuse_broken(atoms: Atoms) -> None:
    """Raise ValueError for no atoms, positions that are no numbers, a flat cell, overlapping atoms.

    Two atoms overlap when they, or periodic images of them, are closer than 0.3 angstrom.
    """
    positions, pbc = atoms.get_positions(), atoms.get_pbc()
    if len(atoms) == 0:
        raise ValueError("There are no atoms.")
    if not np.isfinite(positions).all():
        first = int(np.flatnonzero(~np.isfinite(positions).all(axis=1))[0])
        raise ValueError(
            f"The position of atom {first} ({atoms.symbols[first]}) is not a number: "
            f"{positions[first]}. Start from a structure with finite positions."
        )
    if pbc.any() and abs(atoms.cell.volume) < 1e-6:
        raise ValueError(
            "The structure is periodic, but its cell has no volume: give a cell, or set pbc=False."
        )
    if (pair := _overlap(positions, atoms.cell.complete().array, pbc)) is not None:
        one, other, distance = pair
        raise ValueError(
            f"Atoms {one} ({atoms.symbols[one]}) and {other} ({atoms.symbols[other]}) overlap: "
            f"{distance:.3f} angstrom apart. Move one, or enlarge the cell."
        )


def _overlap(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray
) -> tuple[int, int, float] | None:
    """Return the first pair that overlaps, with its distance in angstrom.

    Overlapping atoms differ by nearly a lattice vector, so rounding finds the image that matters.
    """
    parts = (positions[:, None] - positions[None]) @ np.linalg.inv(cell)  # (atoms, atoms, 3)
    parts -= np.round(parts) * pbc
    distances = np.linalg.norm(parts @ cell, axis=-1)
    one, other = np.nonzero(np.triu(distances < CLOSEST, 1))
    if not len(one):
        return None
    return int(one[0]), int(other[0]), float(distances[one[0], other[0]])
