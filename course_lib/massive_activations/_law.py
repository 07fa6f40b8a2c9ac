"""The law of emergence: one curve with five parameters for each block of a model.

Paper: Gallego-Feliciano et al., "Hidden Dynamics of Massive Activations in Transformer Training"
(arXiv 2508.03616), Eqs. 9 and 11. The Jacobian is not in the paper; its solver needs it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real


Number = float | int | np.number
Times = Real[np.ndarray, "*steps"] | Number
Values = Float[np.ndarray, "*steps"]


class Eq9(NamedTuple):
    """The five parameters of the law in the paper's first form; `law(t, *parameters)`.

    A: amplitude. lam: decay, λ. gamma: time scale per step, γ. t0: offset. K: baseline.
    """

    A: float
    lam: float
    gamma: float
    t0: float
    K: float


def law(t: Times, A: Number, lam: Number, gamma: Number, t0: Number, K: Number) -> Values:
    """f(t) = A exp(-λ x) log x + K, with x = γ t + t0 and t in training steps (Eq. 9).

    Shapes: t (*steps), or a number; the result has the shape of t.
    Errors: ValueError when x is not positive somewhere, for log x does not exist there.
    """
    x = inner_time(t, gamma, t0)
    return np.asarray(A * np.exp(-lam * x) * np.log(x) + K)


def derivative(t: Times, A: Number, lam: Number, gamma: Number, t0: Number, K: Number) -> Values:
    """f'(t) = A γ exp(-λ x) (1/x - λ log x), per training step (Eq. 11).

    Shapes: t (*steps) -> (*steps). Errors: ValueError when x is not positive somewhere.
    """
    x = inner_time(t, gamma, t0)
    return np.asarray(A * gamma * np.exp(-lam * x) * (1 / x - lam * np.log(x)))


def jacobian(
    t: Times, A: Number, lam: Number, gamma: Number, t0: Number, K: Number
) -> Float[np.ndarray, "*steps 5"]:
    """Derivatives of the law by A, λ, γ, t0 and K, in this order.

    Shapes: t (*steps) -> (*steps, 5). Errors: ValueError when x is not positive somewhere.
    """
    x = inner_time(t, gamma, t0)
    decay, log = np.exp(-lam * x), np.log(x)
    # D = A E (1/x - λ log x), the derivative by x
    by_x = A * decay * (1 / x - lam * log)
    columns = (decay * log, -A * x * decay * log, by_x * np.asarray(t), by_x, np.ones_like(x))
    return np.stack(columns, axis=-1)


def inner_time(t: Times, gamma: Number, t0: Number) -> Values:
    """x = γ t + t0, the time inside the law, checked to be positive.

    Errors: ValueError when x <= 0 somewhere; the message names the step and what to change.
    """
    steps = np.asarray(t, dtype=np.float64)
    x = np.asarray(gamma * steps + t0)
    if not np.all(x > 0):
        at = np.nanargmin(x) if not np.all(np.isnan(x)) else 0
        raise ValueError(
            f"x = gamma * t + t0 is {x.flat[at]:g} at step {steps.flat[at]:g}, and log x needs "
            f"x > 0. Raise t0 (now {t0:g}), or start the window later."
        )
    return x
