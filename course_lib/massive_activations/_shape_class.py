"""The two shapes of emergence: an early peak, or a logarithmic increase to the last step.

Paper: arXiv 2508.03616 names the two shapes by eye; the rule that decides is the course's own.
"""

from typing import Literal, NamedTuple

import numpy as np

from course_lib.massive_activations._law import Number
from course_lib.massive_activations._score import Fit


Shape = Literal["early peak", "log increase"]
FALL = 0.95  # a curve that ends below this share of its maximum has peaked


class Landmarks(NamedTuple):
    """What a fitted curve says whatever its parameters are: its maximum and its end."""

    peak_step: float
    peak_value: float
    end_value: float


def landmarks(fit: Fit, end: Number) -> Landmarks:
    """The maximum of the fitted curve on steps 0 to `end`, and its value at `end`.

    The maximum may lie at either end of the window. Its step is found to 1e-6 of the window.
    Errors: ValueError for a window that ends at step 0 or before.
    """
    if not end > 0:
        raise ValueError(f"The window ends at step {end:g}: give the last step of training.")
    grid = np.union1d(np.linspace(0, end, 1000), np.geomspace(end * 1e-6, end, 1000))
    while True:
        best = int(np.argmax(fit.curve(grid)))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        if high - low <= 1e-6 * end:
            break
        grid = np.linspace(low, high, 101)
    values = fit.curve(np.array([grid[best], end]))
    return Landmarks(float(grid[best]), float(values[0]), float(values[1]))


def shape_class(fit: Fit, end: Number) -> Shape:
    """ "early peak" if the maximum lies inside 0..end and the end is below 95 % of it.

    Otherwise "log increase". Made for curves with positive values, such as the ratio.
    Errors: ValueError for a window that ends at step 0 or before.
    """
    peak = landmarks(fit, end)
    inside = 0 < peak.peak_step < end
    fallen = peak.end_value < FALL * peak.peak_value
    return "early peak" if inside and fallen else "log increase"
