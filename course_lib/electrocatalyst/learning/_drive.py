"""Relax with a learned potential, then ask another calculator what it thinks of the result."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.calculators.calculator import Calculator
from jaxtyping import Float

from course_lib.electrocatalyst.graphs import fixed_atoms
from course_lib.electrocatalyst.learning._distances import (
    DISTANCES,
    FORCES,
    displacement,
    largest_force,
    share_below,
)
from course_lib.electrocatalyst.surfaces import Sample, potential, relax


@dataclass(frozen=True, repr=False)
class Driven:
    """What came of relaxations with a learned potential, one value per sample.

    `before`, `after`: the judge's largest force on a free atom, eV/angstrom, of the initial and the
    final structure. `start`, `moved`: mean distance of the free atoms from the reference's relaxed
    structure, angstrom, of the same two. `energies`: the model's, of the final structure, eV;
    `errors`: their distance from the labels. A relaxation that broke down has infinite or NaN
    values, and its sample is in `broken`.
    """

    before: Float[np.ndarray, " samples"]
    after: Float[np.ndarray, " samples"]
    start: Float[np.ndarray, " samples"]
    moved: Float[np.ndarray, " samples"]
    energies: Float[np.ndarray, " samples"]
    errors: Float[np.ndarray, " samples"]
    broken: tuple[str, ...]

    @property
    def falls(self) -> float:
        """The share of samples whose largest force fell, in [0, 1]."""
        return float((self.after < self.before).mean())

    def force_curves(self) -> dict[str, Float[np.ndarray, " thresholds"]]:
        """Return the share below each of `FORCES`, "initial" and "relaxed"; the mean is AFbT."""
        values = {"initial": self.before, "relaxed": self.after}
        return {name: share_below(value, FORCES) for name, value in values.items()}

    def distance_curves(self) -> dict[str, Float[np.ndarray, " thresholds"]]:
        """Return the share below each of `DISTANCES`, "initial" and "relaxed"; mean: ADwT."""
        values = {"initial": self.start, "relaxed": self.moved}
        return {name: share_below(value, DISTANCES) for name, value in values.items()}

    def __repr__(self) -> str:
        broken = f", {len(self.broken)} broke down" if self.broken else ""
        return (
            f"Driven: {len(self.before)} relaxations, the force falls in {self.falls:.0%}, "
            f"median {np.median(self.before):.2f} to {np.median(self.after):.2f} eV/Å{broken}"
        )


def drive(
    samples: Sequence[Sample],
    learned: Calculator,
    judge: str | Calculator = "emt",
    *,
    fmax: float = 0.05,
    steps: int = 100,
) -> Driven:
    """Relax each initial structure with `learned` (BFGS), and measure both ends with `judge`.

    `judge` is a name for `potential` or an ASE calculator; take the one that made the labels. It
    stands where the benchmark has density-functional theory. `fmax` in eV/angstrom, by the model's
    own forces, after at most `steps` steps. Raises ValueError for no samples and for elements that
    `learned` refuses.
    """
    if not samples:
        raise ValueError("There are no samples to relax; give at least one.")
    known = potential(judge) if isinstance(judge, str) else judge
    rows, broken = [], []
    for sample in samples:
        free, cell = ~fixed_atoms(sample.atoms), np.asarray(sample.atoms.cell)
        target, initial = sample.relaxed_positions, sample.atoms.positions
        before = largest_force(sample.atoms, known)
        start = displacement(initial, target, cell, sample.atoms.pbc, free)
        learned.get_property("energy", sample.atoms.copy())  # refuses elements it never saw
        try:
            found = relax(sample.atoms, learned, fmax=fmax, steps=steps)
            after = largest_force(found.relaxed, known)
        except ValueError:  # atoms ran into each other, or out of each other's sight
            broken.append(sample.id)
            rows.append((before, np.inf, start, np.nan, np.nan, np.nan))
            continue
        moved = displacement(found.relaxed.positions, target, cell, sample.atoms.pbc, free)
        error = abs(found.energy - sample.energy)
        rows.append((before, after, start, moved, found.energy, error))
    return Driven(*np.array(rows, dtype=float).T, broken=tuple(broken))
