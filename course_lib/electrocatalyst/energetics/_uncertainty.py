"""How sure is a ranking? Each energy has an error; count how often a metal stays at the top.

The top of the volcano is |dG| <= width (`band` gives the width that belongs to a current). An
error of 0.3 eV, common for predicted adsorption energies, is wider than that.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Real

from course_lib.electrocatalyst.energetics._checks import Energy, as_given, finite, positive


@dataclass(frozen=True)
class Draws:
    """What happens to a ranking when every energy gets a random error.

    share: how often each metal lies in the top band. best: how often it is closest to the peak.
    count: how many metals the band holds, draw by draw.
    """

    share: Float[np.ndarray, " metals"]
    best: Float[np.ndarray, " metals"]
    count: Int[np.ndarray, " draws"]


def draw_top(
    delta_g: Real[np.ndarray, " metals"],
    sigma: float,
    width: float,
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> Draws:
    """Add normal errors to free energies and see which metals stay at the top (Monte Carlo).

    delta_g: free energies (eV). sigma: standard error of each (eV), independent of the others.
    width: half width of the top band (eV). Errors: ValueError for values that are not finite,
    an empty list, a negative sigma, a width not above 0 or fewer than 1 draw.
    """
    centers = finite("The free energy", delta_g)
    if not len(centers):
        raise ValueError("There is no free energy to rank: give at least one metal.")
    if draws < 1:
        raise ValueError(f"{draws} draws: take at least 1.")
    noise = np.random.default_rng(seed).normal(0.0, _sigma(sigma), (draws, len(centers)))
    distance = np.abs(centers + noise)
    inside = distance <= positive("The width", width)
    first = np.bincount(distance.argmin(axis=1), minlength=len(centers))
    return Draws(inside.mean(axis=0), first / draws, inside.sum(axis=1))


def top_probability(delta_g: Energy, sigma: float, width: float) -> Energy:
    """Probability (same shape) that a free energy with a normal error lies in the top band.

    Phi((w - dG)/s) - Phi((-w - dG)/s): what `draw_top` counts, in closed form for each metal.
    Units and errors: as in `draw_top`.
    """
    center, width = finite("The free energy", delta_g), positive("The width", width)
    if _sigma(sigma) == 0:
        return as_given((np.abs(center) <= width).astype(np.float64))
    erf = np.vectorize(math.erf, otypes=[np.float64])
    scale = sigma * math.sqrt(2)
    return as_given(erf((width - center) / scale) / 2 - erf((-width - center) / scale) / 2)


def _sigma(sigma: float) -> float:
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"The error is {sigma:g} eV: it must be finite and not negative.")
    return sigma
