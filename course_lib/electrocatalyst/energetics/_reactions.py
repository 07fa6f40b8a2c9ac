"""Adsorption energies as OC20 defines them: from CO, H2, H2O and N2 in the gas.

Paper: arXiv 2010.09990 (OC20), and the tutorial of its authors. An adsorbate *CxHyOzNw forms by

    x CO + (x + y/2 - z) H2 + (z - x) H2O + w/2 N2 + *  ->  *CxHyOzNw

so E_ads = E_adslab - E_slab - E_gas. The same E_gas comes from one number for each element:
mu_H = E_H2/2, mu_O = E_H2O - E_H2, mu_C = E_CO - mu_O, mu_N = E_N2/2.
"""

import math
from collections.abc import Mapping

from course_lib.electrocatalyst.energetics._checks import finite


MOLECULES = {
    "CO": {"C": 1, "O": 1},
    "H2": {"H": 2},
    "H2O": {"H": 2, "O": 1},
    "N2": {"N": 2},
}
ELEMENTS = ("C", "H", "O", "N")
Counts = Mapping[str, int | float]  # element -> atoms; that they are whole is checked


def reaction(counts: Counts) -> dict[str, float]:
    """How many of CO, H2, H2O and N2 make one adsorbate; a negative number is a product.

    counts: atoms of each element, such as {"O": 1, "H": 1} for *OH.
    Errors: ValueError for elements other than C, H, O, N, for counts that are negative or no
    whole numbers, and for an adsorbate without atoms. Source: the reaction of the module's head.
    """
    x, y, z, w = (checked_counts(counts)[element] for element in ELEMENTS)
    return {"CO": float(x), "H2": x + y / 2 - z, "H2O": float(z - x), "N2": w / 2}


def references(molecules: Mapping[str, float]) -> dict[str, float]:
    """The reference energy of each element, eV per atom, from energies of the four molecules.

    molecules: total energies (eV) of "CO", "H2", "H2O" and "N2", all by the same method as the
    slabs. Errors: ValueError for a molecule that is missing or whose energy is not finite.
    """
    missing = [name for name in MOLECULES if name not in molecules]
    if missing:
        raise ValueError(
            f"The energy of {', '.join(missing)} is missing: give {', '.join(MOLECULES)}."
        )
    co, h2, h2o, n2 = (float(finite(f"The energy of {m}", molecules[m])) for m in MOLECULES)
    oxygen = h2o - h2
    return {"H": h2 / 2, "O": oxygen, "C": co - oxygen, "N": n2 / 2}


def gas_energy(counts: Counts, references: Mapping[str, float]) -> float:
    """E_gas (eV): the energy of an adsorbate's atoms in the gas molecules of OC20.

    references: eV per atom of each element, from `references`.
    Errors: ValueError as in `reaction`, and for an element that `references` lacks.
    """
    atoms = {element: n for element, n in checked_counts(counts).items() if n}
    missing = [element for element in atoms if element not in references]
    if missing:
        raise ValueError(f"No reference energy for {', '.join(missing)}: see `references`.")
    return sum(
        n * float(finite(f"The reference of {element}", references[element]))
        for element, n in atoms.items()
    )


def adsorption_energy(
    adslab: float, slab: float, counts: Counts, references: Mapping[str, float]
) -> float:
    """E_ads = E_adslab - E_slab - E_gas (eV); negative where the surface binds.

    adslab, slab: total energies (eV) of the slab with and without the adsorbate.
    Errors: ValueError as in `gas_energy`, and for total energies that are not finite.
    """
    total = finite("The total energy", adslab) - finite("The energy of the clean slab", slab)
    return float(total) - gas_energy(counts, references)


def checked_counts(counts: Counts) -> dict[str, int]:
    """The counts of C, H, O, N, zeros included; ValueError for what no reaction can make."""
    strangers = [element for element in counts if element not in ELEMENTS]
    if strangers:
        raise ValueError(
            f"OC20's reference reaction knows C, H, O and N, not {', '.join(strangers)}."
        )
    for element, n in counts.items():
        if not math.isfinite(n) or n < 0 or n != int(n):
            raise ValueError(f"{n} atoms of {element}: count whole atoms, 0 or more.")
    if not any(counts.values()):
        raise ValueError("The adsorbate has no atoms: give counts such as {'O': 1, 'H': 1}.")
    return {element: int(counts.get(element, 0)) for element in ELEMENTS}
