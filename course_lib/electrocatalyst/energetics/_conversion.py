"""One adsorption energy, three references: the most common mistake of the field is to mix them.

* "oc20": H2O - H2 for oxygen, half H2, half N2 (`_reactions`).
* "molecule": half O2 for oxygen; H and N as in "oc20".
* "atom": the free atom, as in the tables of Xu and Kitchin (DOI 10.1021/jp508805h).

Every conversion names both ends. Going from "oc20" to "molecule" adds the formation energy of
water for each oxygen atom; going on to "atom" subtracts the atom's share of the molecule's bond.
"""

from course_lib.electrocatalyst.energetics._checks import Energy, as_given, finite
from course_lib.electrocatalyst.energetics._reactions import Counts, checked_counts


REFERENCES = ("oc20", "molecule", "atom")

# H2 + 1/2 O2 -> H2O, eV for each molecule: standard values at 298 K (CODATA), except the last,
# which the tutorial of OC20 prints. It lies below even the enthalpy of liquid water.
WATER_FORMATION = {
    "gas enthalpy": -2.51,
    "liquid enthalpy": -2.96,
    "gas free energy": -2.37,
    "liquid free energy": -2.46,
    "tutorial": -3.03,
}
# The value used unless another is given: OC20's reference is water as a gas, and an adsorption
# energy is no free energy. The tutorial's value would bind each oxygen 0.52 eV more strongly.
WATER = WATER_FORMATION["gas enthalpy"]

# Half the bond of O2 (enthalpy of formation of the atom, CODATA; also in the tutorial) and half
# the bond of H2 (as PBE has it), eV for each atom.
ATOMIZATION = {"O": 2.58, "H": 2.27}


def convert(
    energy: Energy,
    counts: Counts,
    *,
    source: str,
    target: str,
    water: float = WATER,
) -> Energy:
    """Move adsorption energies (eV, any shape) from one reference to another.

    counts: atoms of the adsorbate, such as {"O": 1}. source, target: "oc20", "molecule", "atom".
    water: formation energy of H2O (eV), one of `WATER_FORMATION` or your own.
    Errors: ValueError for another reference, energies that are not finite, counts as in
    `reaction`, and elements whose step to the free atom has no value here (C and N).
    """
    atoms = {element: n for element, n in checked_counts(counts).items() if n}
    moved = finite("The adsorption energy", energy)
    for name, sign in ((source, -1), (target, 1)):
        if name not in REFERENCES:
            raise ValueError(f"{name!r} is no reference: take {', '.join(map(repr, REFERENCES))}.")
        if source != target:
            moved = moved + sign * sum(n * _shift(e, name, water) for e, n in atoms.items())
    return as_given(moved)


def _shift(element: str, reference: str, water: float) -> float:
    """What an atom adds to an "oc20" energy (eV) when it is counted from `reference`."""
    if reference == "oc20":
        return 0.0
    if element == "C" or (reference == "atom" and element not in ATOMIZATION):
        raise ValueError(f"No value here moves {element} to the reference {reference!r}.")
    shift = float(finite("The formation energy of water", water)) if element == "O" else 0.0
    return shift - ATOMIZATION[element] if reference == "atom" else shift
