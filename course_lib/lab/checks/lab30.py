"""Checks of lab 30: the residual stream, the law's peak and slopes, its fit, twins, a leak."""

from course_lib.lab.checks._lab30_basics import jacobian, outputs, peak
from course_lib.lab.checks._lab30_fits import fit, scores, twins


__all__ = ["fit", "jacobian", "outputs", "peak", "scores", "twins"]
