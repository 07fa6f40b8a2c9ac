"""What a fit is, how good it is, and what can be fitted at all."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real

from course_lib.massive_activations._forms import Eq14, to_eq9
from course_lib.massive_activations._law import Eq9


FEWEST = 6  # points: one more than the law has parameters


@dataclass(frozen=True)
class Fit:
    """One curve through one block's measurements.

    family: the name of the curve's formula. parameters: its numbers by name, for time in steps.
    r2: share of the variance explained, at most 1. aic: Akaike's criterion, smaller is better.
    curve: a function of the training step, `fit.curve(t)`, shapes (*steps) -> (*steps).
    """

    family: str
    parameters: dict[str, float]
    r2: float
    aic: float
    curve: Callable

    @property
    def eq9(self) -> Eq9 | None:
        """The law's parameters in its first form; None when they are not finite, or no law."""
        if self.parameters.keys() == set(Eq9._fields):
            return Eq9(**self.parameters)
        if self.parameters.keys() != set(Eq14._fields):
            return None
        try:
            return to_eq9(Eq14(**self.parameters))
        except ValueError:
            return None


def scored(
    family: str,
    parameters: dict[str, float],
    curve: Callable,
    t: Float[np.ndarray, " steps"],
    y: Float[np.ndarray, " steps"],
    fitted: int | None = None,
) -> Fit:
    """Make the Fit of a curve found for (t, y); `fitted` numbers were free (default: all)."""
    found, free = curve(t), len(parameters) if fitted is None else fitted
    return Fit(family, parameters, r_squared(y, found), aic(y, found, free), curve)


def r_squared(y: Real[np.ndarray, " steps"], found: Float[np.ndarray, " steps"]) -> float:
    """1 - RSS/TSS: squared residuals over squared distances from the mean.

    Errors: ValueError when all y are equal, for then nothing is to be explained.
    """
    total = float(np.square(y - y.mean()).sum())
    if total == 0:
        raise ValueError("All values are equal: R2 compares with the variance, which is 0 here.")
    return 1 - float(np.square(y - found).sum()) / total


def aic(
    y: Real[np.ndarray, " steps"], found: Float[np.ndarray, " steps"], parameters: int
) -> float:
    """Akaike's criterion n log(RSS/n) + 2 k, for Gaussian noise of unknown size.

    A perfect fit would give minus infinity; RSS/n is not taken below the rounding of y.
    """
    floor = np.square(np.finfo(np.float64).eps * np.abs(y).max())
    mean = max(float(np.square(y - found).mean()), float(floor))
    return len(y) * math.log(mean) + 2 * parameters


def checked_series(
    t: Real[np.ndarray, " steps"], y: Real[np.ndarray, " values"]
) -> tuple[Float[np.ndarray, " steps"], Float[np.ndarray, " steps"]]:
    """Steps and values as float64, checked to be a curve that can be fitted.

    Errors: ValueError, with the fix, for arrays of different length, fewer than 6 points, steps
    that are negative or do not increase, values that are not finite or all equal.
    """
    t, y = np.asarray(t, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if t.shape != y.shape:
        raise ValueError(f"{len(t)} steps but {len(y)} values: give one value for each step.")
    if len(t) < FEWEST:
        raise ValueError(
            f"{len(t)} points are too few for five parameters: give at least {FEWEST}."
        )
    bad = np.flatnonzero(~np.isfinite(t) | ~np.isfinite(y))
    if len(bad):
        raise ValueError(
            f"Point {bad[0]} (step {t[bad[0]]:g}, value {y[bad[0]]:g}) is not finite: "
            "drop such checkpoints before fitting."
        )
    if t[0] < 0:
        raise ValueError(f"The first step is {t[0]:g}: training starts at step 0.")
    back = np.flatnonzero(np.diff(t) <= 0)
    if len(back):
        raise ValueError(
            f"Step {t[back[0] + 1]:g} follows step {t[back[0]]:g}: "
            "sort the steps and give each one once."
        )
    if np.ptp(y) == 0:
        raise ValueError(f"All values are {y[0]:g}: a constant curve determines no law.")
    return t, y
