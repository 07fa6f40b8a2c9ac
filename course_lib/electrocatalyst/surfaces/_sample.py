"""What the course's data set consists of."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float


@dataclass(frozen=True, repr=False)
class Sample:
    """One adsorbate on one slab, before and after relaxation.

    `atoms`: the initial structure, with tags and constraint. `relaxed_positions` in angstrom.
    `energy`: the adsorption energy in eV. `system`: the clean slab; samples that share it are not
    independent of each other, so a split keeps them together. `anomalies`: see `anomalies`.
    """

    id: str
    atoms: Atoms
    relaxed_positions: Float[np.ndarray, "atoms 3"]
    energy: float
    metals: tuple[str, ...]
    facet: str
    site: str
    adsorbate: str
    anomalies: tuple[str, ...]
    system: str

    @property
    def relaxed(self) -> Atoms:
        """The relaxed structure, with tags and constraint."""
        atoms = self.atoms.copy()
        atoms.positions[:] = self.relaxed_positions
        return atoms

    def __repr__(self) -> str:
        flags = f", {', '.join(self.anomalies)}" if self.anomalies else ""
        return (
            f"Sample {self.id}: {self.adsorbate} at {self.site} of {'-'.join(self.metals)}"
            f"({self.facet}), {self.energy:.3f} eV{flags}"
        )


@dataclass(frozen=True, repr=False)
class Frame:
    """One step of a relaxation, to learn energy and forces from.

    `atoms`: the structure of this step, with tags and constraint. `energy` in eV: of this step,
    minus the relaxed clean slab and the references, so the last step has the sample's energy.
    `forces` in eV/angstrom, of the potential, also on fixed atoms. `sample`: id of its sample;
    `system`: the clean slab, by which one splits.
    """

    sample: str
    system: str
    step: int
    atoms: Atoms
    energy: float
    forces: Float[np.ndarray, "atoms 3"]

    @property
    def positions(self) -> Float[np.ndarray, "atoms 3"]:
        """The positions of this step in angstrom."""
        return self.atoms.positions

    def __repr__(self) -> str:
        return f"Frame: step {self.step} of {self.sample}, {self.energy:.3f} eV"
