"""Adsorption energies, and what they are measured from.

OC20 (arXiv 2010.09990, section 2): E_ads = E_adslab - E_slab - E_gas, with E_gas from H2, H2O, CO
and N2. A potential without believable molecules, such as EMT, takes single atoms in their place.
"""

from collections.abc import Mapping
from functools import lru_cache

from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator

from course_lib.electrocatalyst.energetics import MOLECULES, references
from course_lib.electrocatalyst.surfaces._potential import potential
from course_lib.electrocatalyst.surfaces._relax import Relaxation, relax


BOX = 12.0  # angstrom, the side of a molecule's empty cell; CHGNet sees 6
FREE = ("C", "H", "N", "O")


def gas_energies(calculator: str | Calculator = "chgnet") -> dict[str, float]:
    """Return the energies in eV of CO, H2, H2O and N2, each relaxed alone in a 12-angstrom box.

    Raises RuntimeError for a molecule that does not come to rest.
    """
    energies = {}
    for name in MOLECULES:
        alone = molecule(name, cell=[BOX] * 3, pbc=True)
        alone.center()
        found = relax(alone, calculator, fmax=0.01)
        if not found.converged:
            raise RuntimeError(f"{name} does not come to rest: {found}.")
        energies[name] = found.energy
    return energies


def atom_energies(calculator: str | Calculator = "emt") -> dict[str, float]:
    """Return the energies in eV of single H, C, N and O atoms."""
    return {name: relax(Atoms(name), calculator, steps=0).energy for name in FREE}


@lru_cache(maxsize=2)
def _reference_energies(name: str) -> Mapping[str, float]:
    if name == "emt":
        return atom_energies(potential("emt"))
    return references(gas_energies(potential(name)))


def reference_energies(name: str) -> dict[str, float]:
    """Return eV per element (H, C, N, O) that adsorption energies by `name` are measured from.

    `chgnet`: OC20's references, from CHGNet's own molecules. `emt`: single atoms, because EMT's
    molecules are not believable. Raises ValueError for another name.
    """
    return dict(_reference_energies(name))


def adsorption_energy(
    relaxed_with: Relaxation,
    relaxed_slab: Relaxation,
    adsorbate: str,
    references: Mapping[str, float],
) -> float:
    """Return E_ads in eV: with the adsorbate, minus the clean slab, minus the references.

    `references`: eV per element, as `reference_energies` gives them for the same potential.
    Raises ValueError if the two structures differ by something else than the adsorbate.
    """
    atoms = Atoms(adsorbate).get_chemical_symbols()
    expected = relaxed_slab.initial.get_chemical_symbols() + atoms
    if relaxed_with.initial.get_chemical_symbols() != expected:
        raise ValueError(
            f"{relaxed_with.initial.get_chemical_formula()} is not "
            f"{relaxed_slab.initial.get_chemical_formula()} with {adsorbate} added."
        )
    if missing := sorted(set(atoms) - set(references)):
        raise ValueError(f"The references lack {', '.join(missing)}.")
    return relaxed_with.energy - relaxed_slab.energy - sum(references[atom] for atom in atoms)
