"""What binds *OH well binds *OOH well: straight lines between adsorbates, and what they cost.

*OOH stands 3.2 eV above *OH on metals and on oxides: Man and others 2011, "Universality in Oxygen
Evolution Electrocatalysis on Oxide Surfaces" (DOI 10.1002/cctc.201000397).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Real

from course_lib.electrocatalyst.energetics._checks import finite
from course_lib.electrocatalyst.energetics._ladder import EQUILIBRIUM


OOH_OVER_OH = 3.2  # eV: G_OOH - G_OH, nearly the same on every surface
FEWEST = 3  # points: through two of them every line is perfect


@dataclass(frozen=True)
class Line:
    """y = slope x + intercept through n points.

    r2: share of the variance of y explained. residual: root mean square distance in y.
    pearson: correlation of x and y. Units are those of x and y, eV here.
    """

    slope: float
    intercept: float
    r2: float
    residual: float
    pearson: float
    n: int


def scaling(x: Real[np.ndarray, " systems"], y: Real[np.ndarray, " values"]) -> Line:
    """The least-squares line between two adsorbates' energies (eV) on the same systems.

    Errors: ValueError for different lengths, fewer than 3 systems, values that are not finite,
    and x or y that do not vary, for then neither slope nor correlation exists.
    """
    x, y = finite("x", x), finite("y", y)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"{x.size} and {y.size} energies: give two for each system.")
    if len(x) < FEWEST:
        raise ValueError(f"{len(x)} systems are too few for a line: give at least {FEWEST}.")
    dx, dy = x - x.mean(), y - y.mean()
    xx, yy, xy = float(dx @ dx), float(dy @ dy), float(dx @ dy)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise ValueError("All energies of one adsorbate are equal: no line can be fitted.")
    slope = xy / xx
    rss = float(np.square(dy - slope * dx).sum())
    return Line(
        slope=slope,
        intercept=float(y.mean() - slope * x.mean()),
        r2=1 - rss / yy,
        residual=float(np.sqrt(rss / len(x))),
        pearson=float(np.clip(xy / np.sqrt(xx * yy), -1, 1)),
        n=len(x),
    )


def best_overpotential(gap: float = OOH_OVER_OH) -> float:
    """Smallest overpotential (V) of OER or ORR on a surface whose G_OOH - G_OH is `gap` (eV).

    Steps 2 and 3 share the gap, steps 1 and 4 the rest of 4.92 eV. The best surface halves both:
    the overpotential is |gap/2 - 1.23|, 0.37 V at 3.2 eV and 0 at 2.46 eV.
    Errors: ValueError for a gap that is not finite.
    """
    return abs(float(finite("The gap", gap)) / 2 - EQUILIBRIUM)
