"""Relaxations that went elsewhere: by bonds and heights, as OC20 filters them.

OC20 (arXiv 2010.09990, section 2) leaves out adsorbates that desorb or fall apart and surfaces
that change. Here such samples are named, not left out. All lengths are in covalent radii.
"""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import get_distances


BOND = 1.5  # two atoms hold on to each other up to so many times the sum of their covalent radii
MOVED = 0.75  # a slab atom has left its place beyond so many of its covalent radii


def anomalies(relaxed: Atoms, initial: Atoms) -> tuple[str, ...]:
    """Return what went wrong, in this order; empty for an adsorbate that stayed on its surface.

    "desorbed": no adsorbate atom is within 1.5 sums of covalent radii of a slab atom, and each is
    as much higher than the mean of the surface atoms (so no atom in a wide hollow).
    "dissociated": bonds up to 1.5 sums no longer connect the atoms of the adsorbate.
    "surface changed": a slab atom moved farther than 0.75 of its covalent radius.
    "intercalated": an adsorbate atom is lower than the mean height of the surface atoms.
    Raises ValueError for structures of different atoms, or without an adsorbate (tag 2).
    """
    tags = initial.get_tags()
    added = tags == 2
    if not added.any():
        raise ValueError("The structure has no adsorbate: no atom has tag 2.")
    if len(relaxed) != len(initial) or (relaxed.numbers != initial.numbers).any():
        raise ValueError("The two structures do not have the same atoms in the same order.")
    bound = _bound(relaxed)
    moved = _moved(relaxed, initial)
    above = relaxed.positions[added, 2] - relaxed.positions[tags == 1, 2].mean()
    radii = covalent_radii[initial.numbers]
    reach = BOND * (radii[added] + radii[tags == 1].max())
    found = {
        "desorbed": bool((above > reach).all()) and not bound[np.ix_(added, ~added)].any(),
        "dissociated": not _connected(bound[np.ix_(added, added)]),
        "surface changed": bool((moved > MOVED * radii)[~added].any()),
        "intercalated": bool((above < 0).any()),
    }
    return tuple(name for name, is_so in found.items() if is_so)


def _bound(atoms: Atoms) -> np.ndarray:
    """Return which pairs hold on to each other, nearest images: bool, (atoms, atoms)."""
    _, distances = get_distances(atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    radii = covalent_radii[atoms.numbers]
    return distances < BOND * (radii[:, None] + radii)


def _moved(relaxed: Atoms, initial: Atoms) -> np.ndarray:
    """Return how far each atom went, in angstrom, whole cells left out: (atoms,)."""
    steps, cell = relaxed.positions - initial.positions, initial.cell.complete().array
    parts = steps @ np.linalg.inv(cell)
    return np.linalg.norm((parts - np.round(parts) * initial.pbc) @ cell, axis=1)


def _connected(bound: np.ndarray) -> bool:
    """Tell whether one can walk along bonds from the first atom to all others."""
    steps = np.linalg.matrix_power(bound.astype(int) + np.eye(len(bound), dtype=int), len(bound))
    return bool((steps[0] > 0).all())
