"""More structures with forces: starting points, and points on the way that are shaken.

The Open Catalyst data set (arXiv 2010.09990, the section on off-equilibrium data) adds such rattled
structures to its relaxations: steps of relaxations alone say little about what lies beside the way.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from jaxtyping import Float

from course_lib.electrocatalyst.graphs import fixed_atoms
from course_lib.electrocatalyst.surfaces import Frame, Sample, potential


OFF_THE_WAY = -1  # the step of a frame that no relaxation went through


def rattled(
    samples: Sequence[Sample],
    label: str | Calculator = "emt",
    *,
    spread: float = 0.05,
    seed: int = 0,
) -> list[Frame]:
    """Return two frames per sample: its initial structure, and one on the way to the relaxed one.

    The second lies at a random share of the straight way; its free atoms are moved by a Gaussian of
    `spread` angstrom per axis. `label` computes energy and forces: the potential behind the
    samples, by name or as an ASE calculator. Energies in eV, counted as those of the samples;
    forces in eV/angstrom, also on fixed atoms.
    """
    calculator = potential(label) if isinstance(label, str) else label
    rng = np.random.default_rng(seed)
    found = []
    for sample in samples:
        free = ~fixed_atoms(sample.atoms)
        bottom, _ = _single_point(sample.relaxed, calculator)
        way = rng.uniform() * (sample.relaxed_positions - sample.atoms.positions)
        shaken = sample.atoms.copy()
        shaken.positions[:] += way
        shaken.positions[free] += rng.normal(scale=spread, size=(int(free.sum()), 3))
        for step, atoms in ((0, sample.atoms.copy()), (OFF_THE_WAY, shaken)):
            energy, forces = _single_point(atoms, calculator)
            energy += sample.energy - bottom
            found.append(Frame(sample.id, sample.system, step, atoms, energy, forces))
    return found


def _single_point(
    atoms: Atoms, calculator: Calculator
) -> tuple[float, Float[np.ndarray, "atoms 3"]]:
    still = atoms.copy()
    still.calc = calculator
    return float(still.get_potential_energy()), still.get_forces(apply_constraint=False)
