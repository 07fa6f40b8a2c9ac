"""Surfaces: slabs and adsorbates, potentials that relax them, and the course's data set."""

try:
    import ase  # noqa: F401
except ImportError as error:
    raise ImportError(
        'course_lib.electrocatalyst.surfaces needs ASE: pip install "small-memory[chem]"'
    ) from error

from course_lib.electrocatalyst.surfaces._anomalies import anomalies
from course_lib.electrocatalyst.surfaces._energy import (
    adsorption_energy,
    atom_energies,
    gas_energies,
    reference_energies,
)
from course_lib.electrocatalyst.surfaces._lattice import fit_lattice_constant, lattice_constant
from course_lib.electrocatalyst.surfaces._place import ADSORBATES, place, sites
from course_lib.electrocatalyst.surfaces._potential import ELEMENTS, potential
from course_lib.electrocatalyst.surfaces._relax import Relaxation, relax
from course_lib.electrocatalyst.surfaces._sample import Frame, Sample
from course_lib.electrocatalyst.surfaces._shipped import read_frames, read_samples
from course_lib.electrocatalyst.surfaces._slab import METALS, slab


__all__ = [
    "ADSORBATES",
    "ELEMENTS",
    "METALS",
    "Frame",
    "Relaxation",
    "Sample",
    "adsorption_energy",
    "anomalies",
    "atom_energies",
    "fit_lattice_constant",
    "gas_energies",
    "lattice_constant",
    "place",
    "potential",
    "read_frames",
    "read_samples",
    "reference_energies",
    "relax",
    "sites",
    "slab",
]
