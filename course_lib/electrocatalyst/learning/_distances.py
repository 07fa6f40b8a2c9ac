"""The scores of relaxed structures: how far from the reference, and how large the forces left.

Paper: "The Open Catalyst 2020 (OC20) Dataset and Community Challenges" (arXiv 2010.09990), ADwT and
AFbT of the task "initial structure to relaxed structure". There AFbT asks density-functional
theory for the forces; here it asks whatever calculator made the labels, and that is a weaker test.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from course_lib.electrocatalyst.graphs import fixed_atoms


DISTANCES = 0.01 + 0.001 * np.arange(490)  # angstrom: 0.01, 0.011, ... 0.499
# eV/angstrom: 0.01, 0.011, ... 0.4. This range is our choice: the published evaluator has no AFbT.
FORCES = 0.01 + 0.001 * np.arange(391)


def displacement(
    predicted: Float[np.ndarray, "atoms 3"],
    target: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Any = True,
    free: Bool[np.ndarray, "atoms"] | None = None,
) -> float:
    """Return the mean distance between atoms and their targets, angstrom, to the nearest image.

    The rows of `cell` are lattice vectors; `pbc` is one truth value or three. The nearest image is
    exact for skewed cells too: ASE reduces the cell first (Minkowski). `free` chooses the atoms, by
    default all. ValueError for other shapes, no atom, NaN.
    """
    from ase.geometry import find_mic

    if predicted.shape != target.shape:
        raise ValueError(f"{len(predicted)} positions cannot be compared with {len(target)}.")
    difference = predicted - target
    if free is not None:
        difference = difference[free]
    if len(difference) == 0:
        raise ValueError("There is no atom to compare; free atoms are those that are not fixed.")
    if not np.isfinite(difference).all():
        raise ValueError("The positions hold NaN or infinity; the relaxation went astray.")
    return float(find_mic(difference, cell, pbc)[1].mean())


def share_below(
    values: Float[np.ndarray, "systems"], thresholds: Float[np.ndarray, "thresholds"]
) -> Float[np.ndarray, "thresholds"]:
    """Return the share of systems whose value is below each threshold (strictly), in [0, 1].

    A curve over `DISTANCES` or `FORCES`. NaN (no structure was found) is never below.
    """
    if len(values) == 0:
        raise ValueError("There is no system to score.")
    return (values[:, None] < thresholds).mean(axis=0)


def adwt(displacements: Float[np.ndarray, "systems"]) -> float:
    """Return ADwT: the share of displacements within a threshold, averaged over `DISTANCES`."""
    return float(share_below(displacements, DISTANCES).mean())


def afbt(largest_forces: Float[np.ndarray, "systems"]) -> float:
    """Return AFbT: the share of largest forces below a threshold, averaged over `FORCES`.

    Give what `largest_force` finds with the calculator that stands in for the reference.
    """
    return float(share_below(largest_forces, FORCES).mean())


def largest_force(atoms: Any, calculator: Any) -> float:
    """Return the largest force on a free atom of `ase.Atoms`, eV/angstrom, by `calculator`.

    Free are the atoms that no `FixAtoms` holds. ValueError when all are held.
    """
    forces = calculator.get_property("forces", atoms.copy())
    free = ~fixed_atoms(atoms)
    if not free.any():
        raise ValueError("All atoms are fixed; no force is left to look at.")
    return float(np.linalg.norm(forces[free], axis=1).max())
