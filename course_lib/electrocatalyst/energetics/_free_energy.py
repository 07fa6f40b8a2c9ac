"""From energies to free energies: the computational hydrogen electrode.

Paper: Norskov and others 2004 (DOI 10.1021/jp047349j). A proton and an electron together cost
half an H2 molecule, less the potential: mu(H+) + mu(e-) = G(H2)/2 - e U, with U = 0 V against the
reversible hydrogen electrode. Zero-point energy and entropy enter as one constant per adsorbate.
"""

import numpy as np
from jaxtyping import Int

from course_lib.electrocatalyst.energetics._checks import Energy, as_given, finite


# dG - dE of each adsorbate, eV. *H: Norskov and others 2005 (DOI 10.1149/1.1856988). The others:
# as used with OC20 and OC22 (arXiv 2206.08917), against H2O and H2.
CORRECTIONS = {"H": 0.24, "OH": 0.26, "O": -0.03, "OOH": 0.22}


def delta_g(energy: Energy, adsorbate: str, *, reference: str = "oc20") -> Energy:
    """Free energy of adsorption (eV, same shape): the energy plus the adsorbate's correction.

    energy: adsorption energy (eV) against H2O and H2. adsorbate: "H", "OH", "O" or "OOH".
    Errors: ValueError for another adsorbate or reference, or energies that are not finite.
    """
    if adsorbate not in CORRECTIONS:
        raise ValueError(f"No correction for {adsorbate!r}: there is {', '.join(CORRECTIONS)}.")
    if reference != "oc20":
        raise ValueError(
            f"These energies are against {reference!r}; the corrections hold against H2O and H2. "
            "Use `convert` to the reference 'oc20' first."
        )
    return as_given(finite("The adsorption energy", energy) + CORRECTIONS[adsorbate])


def at_potential(
    free_energy: Energy, electrons: int | Int[np.ndarray, "..."], potential: float
) -> Energy:
    """Free energy (eV, same shape) of a reaction that releases electrons at a potential U (V).

    electrons: how many the reaction sets free; negative when it takes them up. Each changes the
    free energy by -e U. Errors: ValueError for values that are not finite.
    """
    released = electrons * finite("The potential", potential)
    return as_given(finite("The free energy", free_energy) - released)
