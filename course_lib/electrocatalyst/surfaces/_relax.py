"""Move the atoms until the forces are small, and keep every step."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS
from jaxtyping import Float

from course_lib.electrocatalyst.surfaces._anomalies import anomalies
from course_lib.electrocatalyst.surfaces._check import refuse_broken
from course_lib.electrocatalyst.surfaces._potential import potential as named


@dataclass(frozen=True, repr=False)
class Relaxation:
    """A relaxation, step by step; step 0 is the initial structure.

    `energies` in eV, `positions` in angstrom, `forces` in eV/angstrom. The forces are those of
    the potential, also on fixed atoms. `converged`: the largest force on a free atom fell below
    `fmax`. `anomalies`: see `anomalies`; empty for a structure without an adsorbate.
    """

    initial: Atoms
    relaxed: Atoms
    energies: Float[np.ndarray, " steps"]
    forces: Float[np.ndarray, "steps atoms 3"]
    positions: Float[np.ndarray, "steps atoms 3"]
    converged: bool
    anomalies: tuple[str, ...]

    @property
    def energy(self) -> float:
        """The energy of the last step in eV."""
        return float(self.energies[-1])

    @property
    def frames(self) -> list[Atoms]:
        """One structure per step, each with its energy and its forces."""
        found = []
        for energy, forces, positions in zip(
            self.energies, self.forces, self.positions, strict=True
        ):
            frame = self.initial.copy()
            frame.positions[:] = positions
            frame.calc = SinglePointCalculator(frame, energy=float(energy), forces=forces)
            found.append(frame)
        return found

    def __repr__(self) -> str:
        ended = "converged" if self.converged else "not converged"
        flags = f", {', '.join(self.anomalies)}" if self.anomalies else ""
        return (
            f"Relaxation: {self.initial.get_chemical_formula()}, {len(self.energies) - 1} steps, "
            f"{self.energies[0]:.3f} to {self.energy:.3f} eV, {ended}{flags}"
        )


def relax(
    atoms: Atoms, potential: str | Calculator, fmax: float = 0.05, steps: int = 200
) -> Relaxation:
    """Relax a copy of `atoms` with ASE's BFGS; constraints hold.

    `potential`: a name for `potential`, or any ASE calculator. `fmax` in eV/angstrom, for the
    largest force on a free atom; at most `steps` steps. Raises ValueError for a broken structure
    or an unknown element, before the potential is called.
    """
    refuse_broken(atoms)
    moving = atoms.copy()
    moving.calc = named(potential) if isinstance(potential, str) else potential
    energies, forces, positions = [], [], []

    def record() -> None:
        energies.append(float(moving.get_potential_energy()))
        forces.append(np.array(moving.get_forces(apply_constraint=False), dtype=float))
        positions.append(moving.get_positions())

    optimizer = BFGS(moving, logfile=None)
    optimizer.attach(record)
    converged = bool(optimizer.run(fmax=fmax, steps=steps))
    initial, relaxed = atoms.copy(), atoms.copy()
    relaxed.positions[:] = positions[-1]
    return Relaxation(
        initial=initial,
        relaxed=relaxed,
        energies=np.array(energies),
        forces=np.stack(forces),
        positions=np.stack(positions),
        converged=converged,
        anomalies=anomalies(relaxed, initial) if (atoms.get_tags() == 2).any() else (),
    )
