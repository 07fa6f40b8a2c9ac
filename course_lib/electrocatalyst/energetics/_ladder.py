"""Four steps between water and oxygen: the ladder, its limiting step, its overpotential.

Paper: Norskov and others 2004 (DOI 10.1021/jp047349j). Oxygen evolution (OER) climbs
2 H2O -> *OH -> *O -> *OOH -> O2; each step releases one proton and one electron. Oxygen
reduction (ORR) is the way back. The whole way costs 4 x 1.23 = 4.92 eV, whatever the surface.
All functions take the free energies G_OH, G_O and G_OOH (eV) against water, at 0 V: three numbers
or three arrays of one shape. They raise ValueError for values that are not finite.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from course_lib.electrocatalyst.energetics._checks import Energy, as_given, finite
from course_lib.electrocatalyst.energetics._free_energy import at_potential


WATER_SPLITTING = 4.92  # eV: 2 H2O -> O2 + 2 H2, from experiment
EQUILIBRIUM = WATER_SPLITTING / 4  # V
STEPS = ("H2O -> *OH", "*OH -> *O", "*O -> *OOH", "*OOH -> O2")  # as OER


def levels(
    g_oh: Energy, g_o: Energy, g_ooh: Energy, *, potential: float = 0.0
) -> Float[np.ndarray, "*systems 5"]:
    """Free energies (eV) of the five states of OER at a potential (V); the first is 0."""
    states = (np.zeros(()), g_oh, g_o, g_ooh, np.full((), WATER_SPLITTING))
    at_zero = np.stack(
        np.broadcast_arrays(*(finite("A free energy", state) for state in states)), axis=-1
    )
    return at_potential(at_zero, np.arange(5), potential)


def steps(g_oh: Energy, g_o: Energy, g_ooh: Energy) -> Float[np.ndarray, "*systems 4"]:
    """Free energies (eV) of the four steps of OER at 0 V; their sum is 4.92 eV.

    dG1 = G_OH, dG2 = G_O - G_OH, dG3 = G_OOH - G_O, dG4 = 4.92 - G_OOH.
    """
    return np.diff(levels(g_oh, g_o, g_ooh), axis=-1)


def overpotential(g_oh: Energy, g_o: Energy, g_ooh: Energy, reaction: str = "oer") -> Energy:
    """Volts beyond (OER) or short of (ORR) 1.23 V at which no step goes uphill; never negative.

    reaction: "oer", eta = max dG - 1.23, or "orr", eta = 1.23 - min dG; ValueError for another.
    """
    ladder = steps(g_oh, g_o, g_ooh)
    if _is_oer(reaction):
        return as_given(ladder.max(axis=-1) - EQUILIBRIUM)
    return as_given(EQUILIBRIUM - ladder.min(axis=-1))


def limiting_step(g_oh: Energy, g_o: Energy, g_ooh: Energy, reaction: str = "oer") -> Any:
    """Which step decides the overpotential, 1 to 4 in the order of `STEPS`; of equals the first.

    An int, or an array of them. For "orr" the step of that number runs backward.
    """
    ladder = steps(g_oh, g_o, g_ooh)
    found = ladder.argmax(axis=-1) if _is_oer(reaction) else ladder.argmin(axis=-1)
    return int(found) + 1 if np.ndim(found) == 0 else found + 1


def _is_oer(reaction: str) -> bool:
    if reaction not in ("oer", "orr"):
        raise ValueError(f"The reaction is {reaction!r}: take 'oer' or 'orr'.")
    return reaction == "oer"
