"""Four steps between water and oxygen: the ladder, its limiting step, its overpotential.

Paper: Norskov and others 2004 (DOI 10.1021/jp047349j). Oxygen evolution (OER) climbs
2 H2O -> *OH -> *O -> *OOH -> O2; each step releases one proton and one electron. Oxygen
reduction (ORR) is the way back. The whole way costs 4 x 1.23 = 4.92 eV, whatever the surface.
"""

import numpy as np
from jaxtyping import Float, Int

from course_lib.electrocatalyst.energetics._checks import Energies, finite


WATER_SPLITTING = 4.92  # eV: 2 H2O -> O2 + 2 H2, from experiment
EQUILIBRIUM = WATER_SPLITTING / 4  # V
STEPS = ("H2O -> *OH", "*OH -> *O", "*O -> *OOH", "*OOH -> O2")  # as OER


def levels(
    g_oh: Energies, g_o: Energies, g_ooh: Energies, *, potential: float = 0.0
) -> Float[np.ndarray, "*systems 5"]:
    """Free energies (eV) of the five states of OER at a potential (V), the first is 0.

    g_oh, g_o, g_ooh: free energies (eV) of *OH, *O, *OOH against water, at 0 V; same shape.
    Errors: ValueError for values that are not finite or shapes that do not fit.
    """
    states = (np.zeros(()), g_oh, g_o, g_ooh, np.full((), WATER_SPLITTING))
    at_zero = np.stack(
        np.broadcast_arrays(*(finite("A free energy", state) for state in states)), axis=-1
    )
    return at_zero - finite("The potential", potential) * np.arange(5)


def steps(g_oh: Energies, g_o: Energies, g_ooh: Energies) -> Float[np.ndarray, "*systems 4"]:
    """Free energies (eV) of the four steps of OER at 0 V; their sum is 4.92 eV.

    dG1 = G_OH, dG2 = G_O - G_OH, dG3 = G_OOH - G_O, dG4 = 4.92 - G_OOH. Errors: as in `levels`.
    """
    return np.diff(levels(g_oh, g_o, g_ooh), axis=-1)


def overpotential(
    ladder: Float[np.ndarray, "*systems 4"], reaction: str = "oer"
) -> Float[np.ndarray, "*systems"] | float:
    """Volts beyond (OER) or short of (ORR) 1.23 V at which no step goes uphill; never negative.

    ladder: the four steps (eV) from `steps`. eta_OER = max dG - 1.23, eta_ORR = 1.23 - min dG.
    Errors: ValueError for another reaction, or steps that do not sum to 4.92 eV.
    """
    ladder = _checked(ladder)
    if _is_oer(reaction):
        return (ladder.max(axis=-1) - EQUILIBRIUM)[()]
    return (EQUILIBRIUM - ladder.min(axis=-1))[()]


def limiting_step(
    ladder: Float[np.ndarray, "*systems 4"], reaction: str = "oer"
) -> Int[np.ndarray, "*systems"] | int:
    """Which of the four steps decides the overpotential, 0 to 3 as in `STEPS`; ties: the first.

    ladder, errors: as in `overpotential`. For ORR the step of that number runs backward.
    """
    ladder = _checked(ladder)
    found = ladder.argmax(axis=-1) if _is_oer(reaction) else ladder.argmin(axis=-1)
    return int(found) if np.ndim(found) == 0 else found


def _is_oer(reaction: str) -> bool:
    if reaction not in ("oer", "orr"):
        raise ValueError(f"The reaction is {reaction!r}: take 'oer' or 'orr'.")
    return reaction == "oer"


def _checked(ladder: Float[np.ndarray, "*systems 4"]) -> Float[np.ndarray, "*systems 4"]:
    ladder = finite("A step", ladder)
    if not np.allclose(ladder.sum(axis=-1), WATER_SPLITTING, rtol=0, atol=1e-6):
        raise ValueError("The four steps do not sum to 4.92 eV: make them with `steps`.")
    return ladder
