"""The second form of the law, linear in three of its five parameters, and the maps between both.

Paper: arXiv 2508.03616, Eq. 14. The inverse map is derived here.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from course_lib.massive_activations._law import Eq9, Number, Times, Values, inner_time


class Eq14(NamedTuple):
    """The five parameters of the law in its second form; `law14(t, *parameters)`.

    A1, A2, K enter linearly. beta: decay per step, β = λγ. tau0: offset in steps, τ0 = t0/γ.
    """

    A1: float
    A2: float
    beta: float
    tau0: float
    K: float


def law14(t: Times, A1: Number, A2: Number, beta: Number, tau0: Number, K: Number) -> Values:
    """f(t) = exp(-β t) (A1 log(t + τ0) + A2) + K, with t in training steps (Eq. 14).

    Shapes: t (*steps), or a number; the result has the shape of t.
    Errors: ValueError when t + τ0 is not positive somewhere.
    """
    x = inner_time(t, 1.0, tau0)
    return np.asarray(np.exp(-beta * np.asarray(t)) * (A1 * np.log(x) + A2) + K)


def jacobian14(
    t: Times, A1: Number, A2: Number, beta: Number, tau0: Number, K: Number
) -> Float[np.ndarray, "*steps 5"]:
    """Derivatives of Eq. 14 by A1, A2, β, τ0 and K, in this order.

    Shapes: t (*steps) -> (*steps, 5). Errors: ValueError when t + τ0 is not positive somewhere.
    """
    x, steps = inner_time(t, 1.0, tau0), np.asarray(t)
    decay, log = np.exp(-beta * steps), np.log(x)
    inside = A1 * log + A2
    columns = (decay * log, decay, -steps * decay * inside, decay * A1 / x, np.ones_like(x))
    return np.stack(columns, axis=-1)


def to_eq14(parameters: Eq9) -> Eq14:
    """From the first form to the second: β = λγ, τ0 = t0/γ, A1 = A exp(-λ t0), A2 = A1 log γ.

    Errors: ValueError for γ <= 0, whose logarithm does not exist.
    """
    A, lam, gamma, t0, K = parameters
    if not gamma > 0:
        raise ValueError(f"gamma is {gamma:g}: the second form holds log gamma. Take gamma > 0.")
    A1 = A * math.exp(-lam * t0)
    return Eq14(A1, A1 * math.log(gamma), lam * gamma, t0 / gamma, K)


def to_eq9(parameters: Eq14) -> Eq9:
    """From the second form to the first: γ = exp(A2/A1), λ = β/γ, t0 = γ τ0, A = A1 exp(β τ0).

    Errors: ValueError when one of the five is not a finite number. This happens to good fits:
    for A1 -> 0 the curve is a pure exponential, and γ leaves the range of floating point.
    """
    A1, A2, beta, tau0, K = parameters
    try:
        gamma = math.exp(A2 / A1)
        found = Eq9(A1 * math.exp(beta * tau0), beta / gamma, gamma, gamma * tau0, K)
    except (OverflowError, ZeroDivisionError):
        found = None
    if found is None or not all(map(math.isfinite, found)):
        raise ValueError(
            f"A1 = {A1:g}, A2 = {A2:g}, beta * tau0 = {beta * tau0:g}: the first form's parameters "
            "leave the range of floating point. Keep Eq. 14's, and report peak and end value."
        )
    return found
