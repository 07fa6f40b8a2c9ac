"""Neither too strong nor too weak: the volcano of hydrogen evolution, and Sabatier's two legs.

Papers: Norskov and others 2005 (DOI 10.1149/1.1856988) for the exchange current of hydrogen
evolution; barriers follow the Bronsted-Evans-Polanyi relation E_a = a dE + b.
"""

import math

import numpy as np

from course_lib.electrocatalyst.energetics._checks import Energy, as_given, finite, positive


BOLTZMANN = 8.617333262e-5  # eV/K
PLANCK = 4.135667696e-15  # eV s
ROOM = 300.0  # K


def log10_exchange_current(delta_g: Energy, temperature: float = ROOM) -> Energy:
    """log10 of the exchange current of hydrogen evolution, relative to its peak; same shape.

    delta_g: free energy of *H (eV). With x = dG/kT the current goes as 1/(1 + e^-x) for dG < 0
    and as e^-x/(1 + e^-x) for dG > 0: both are 1/(1 + e^|x|). The peak, 0, is at dG = 0.
    Errors: ValueError for energies that are not finite, or a temperature (K) not above 0.
    """
    x = np.abs(finite("The free energy", delta_g)) / (BOLTZMANN * positive("T", temperature))
    return as_given((math.log(2) - np.logaddexp(0, x)) / math.log(10))


def band(factor: float = 10.0, temperature: float = ROOM) -> float:
    """Half width (eV) of the volcano's top: at that |dG| the current is 1/factor of the peak's.

    |dG| = kT ln(2 factor - 1), the inverse of `log10_exchange_current`.
    Errors: ValueError for a factor that is not above 1, or a temperature (K) not above 0.
    """
    if not factor > 1 or math.isinf(factor):
        raise ValueError(f"The factor is {factor:g}: it must be finite and above 1.")
    return BOLTZMANN * positive("T", temperature) * math.log(2 * factor - 1)


def barrier(energy: Energy, slope: float, intercept: float) -> Energy:
    """E_a = slope x dE + intercept (eV, same shape), the BEP relation; no barrier is below 0.

    energy: adsorption energy (eV). Errors: ValueError for values that are not finite.
    """
    line = finite("The slope", slope) * finite("The adsorption energy", energy)
    return as_given(np.maximum(line + finite("The intercept", intercept), 0.0))


def log10_sabatier_rate(
    energy: Energy,
    adsorption: tuple[float, float],
    desorption: tuple[float, float],
    temperature: float = ROOM,
) -> Energy:
    """log10 of the rate (1/s, same shape) of the slower of two steps: Sabatier's volcano.

    adsorption, desorption: (slope, intercept) of their barriers in the adsorption energy (eV);
    the slopes are above and below 0. Each step runs at kT/h e^(-E_a/kT).
    Errors: ValueError for other slopes, values that are not finite, or T (K) not above 0.
    """
    _check_legs(adsorption, desorption)
    kt = BOLTZMANN * positive("T", temperature)
    highest = np.maximum(barrier(energy, *adsorption), barrier(energy, *desorption))
    return as_given(math.log10(kt / PLANCK) - highest / kt / math.log(10))


def sabatier_peak(adsorption: tuple[float, float], desorption: tuple[float, float]) -> float:
    """Adsorption energy (eV) where the two barriers are equal: the top of Sabatier's volcano.

    Legs and errors: as in `log10_sabatier_rate`, and ValueError for legs that cross below 0,
    for then a whole range of energies has no barrier.
    """
    _check_legs(adsorption, desorption)
    (rise, low), (fall, high) = adsorption, desorption
    peak = (high - low) / (rise - fall)
    if rise * peak + low < 0:
        raise ValueError("The barriers cross below 0 eV: no single energy is best.")
    return peak


def _check_legs(adsorption: tuple[float, float], desorption: tuple[float, float]) -> None:
    if not adsorption[0] > 0 > desorption[0]:
        raise ValueError(
            "The barrier of adsorption must rise with the energy and that of desorption fall: "
            f"their slopes are {adsorption[0]:g} and {desorption[0]:g}."
        )
