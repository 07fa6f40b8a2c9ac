"""Rivals of the law: a logarithm and the step responses of first- and second-order systems.

Paper: arXiv 2508.03616, Eqs. 15-18. Two things differ: each step response gets a free offset, for
the ratio does not start at zero; and all are fitted by variable projection, as the law is.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Real

from course_lib.massive_activations._fit_varpro import fit_varpro
from course_lib.massive_activations._law import Number, Times, Values
from course_lib.massive_activations._project import Columns, Separable, coefficients, search
from course_lib.massive_activations._score import Fit, checked_series, scored


if TYPE_CHECKING:
    import pandas


TAU = 50.0  # steps; the fixed offset of the two-parameter logarithm
FREE = {
    "law": 5,
    "logarithm": 2,
    "first order": 3,
    "underdamped": 4,
    "critically damped": 3,
    "overdamped": 4,
}


def logarithm(t: Times, a: Number, b: Number) -> Values:
    """f(t) = a + b log(t + 50), with t in training steps."""
    return np.asarray(a + b * np.log(np.asarray(t) + TAU))


def first_order(t: Times, gain: Number, tau: Number, offset: Number) -> Values:
    """f(t) = offset + gain (1 - exp(-t/τ)), with t and τ in training steps (Eq. 15)."""
    return np.asarray(offset - gain * np.expm1(-np.asarray(t) / tau))


def second_order(t: Times, gain: Number, omega: Number, zeta: Number, offset: Number) -> Values:
    """A damped oscillator's answer to a step: offset + gain s(t) (Eqs. 16-18).

    omega: natural frequency ω, radians per step. zeta: damping ζ; below 1 the curve overshoots
    and swings, at 1 it is critically damped, above 1 it creeps.
    """
    return np.asarray(offset + gain * _response(np.asarray(t), omega, zeta))


def fit_family(t: Real[np.ndarray, " steps"], y: Real[np.ndarray, " values"], family: str) -> Fit:
    """Fit one family, a key of `FAMILIES`, to values y at training steps t.

    Errors: ValueError for an unknown family, and as in `fit_varpro`.
    """
    if family not in FAMILIES:
        raise ValueError(f"family is {family!r}: take one of {', '.join(map(repr, FAMILIES))}.")
    return FAMILIES[family](t, y)


def compare_families(
    t: Real[np.ndarray, " steps"], y: Real[np.ndarray, " values"]
) -> "pandas.DataFrame":
    """Fit all families; one row each, best AIC first.

    Columns: family, free (number of free parameters), r2, aic, behind (AIC minus the best one).
    A family that is less than 2 behind explains the points as well as the best one.
    """
    import pandas

    fits = [fit_family(t, y, family) for family in FAMILIES]
    table = pandas.DataFrame(
        {
            "family": [fit.family for fit in fits],
            "free": [FREE[fit.family] for fit in fits],
            "r2": [fit.r2 for fit in fits],
            "aic": [fit.aic for fit in fits],
        }
    )
    table["behind"] = table["aic"] - table["aic"].min()
    return table.sort_values("aic", ignore_index=True)


def _response(u: Real[np.ndarray, " *steps"], omega: Any, zeta: Any) -> Any:
    """s(u) = 1 - (p exp(q u) - q exp(p u))/(p - q), with the roots p, q = ω(-ζ ± √(ζ² - 1))."""
    if np.all(zeta == 1):  # both roots are -ω: the limit
        return 1 - (1 + omega * u) * np.exp(-omega * u)
    root = np.emath.sqrt(np.square(zeta) - 1)
    p, q = omega * (root - zeta), omega * (-root - zeta)
    return (1 - (p * np.exp(q * u) - q * np.exp(p * u)) / (p - q)).real


def _one(column: Callable) -> Callable[..., Columns]:
    return lambda u, *theta: (column(u, *theta),)


def _fit_logarithm(t: Real[np.ndarray, " steps"], y: Real[np.ndarray, " values"]) -> Fit:
    t, y = checked_series(t, y)
    b, a = coefficients((np.log(t + TAU),), y)
    parameters = {"a": a, "b": b}
    return scored("logarithm", parameters, partial(logarithm, **parameters), t, y)


def _fit_step(
    t: Real[np.ndarray, " steps"],
    y: Real[np.ndarray, " values"],
    *,
    family: str,
    curve: Callable,
    model: Separable,
    names: tuple[str, ...],
    fixed: dict[str, float],
) -> Fit:
    """Fit offset + gain s(t): search for the parameters inside s, whose first one is a scale."""
    t, y = checked_series(t, y)
    u, z = t / t[-1], (y - y.mean()) / y.std()
    theta = search(model, u, z[None])[0]
    gain, offset = coefficients(model.basis(u, *theta), z)
    scale = float(theta[0] * t[-1] if names == ("tau",) else theta[0] / t[-1])
    parameters = {
        "gain": float(gain * y.std()),
        **dict(zip(names, (scale, *map(float, theta[1:])), strict=True)),
        **fixed,
        "offset": float(offset * y.std() + y.mean()),
    }
    return scored(family, parameters, partial(curve, **parameters), t, y, fitted=FREE[family])


_RATES, _RATE = np.logspace(-1, 4, 60), (1e-3, 1e6)  # per window
_TIMES, _TIME = 1 / _RATES, (1e-6, 1e3)
_first = partial(
    _fit_step,
    curve=first_order,
    model=Separable(_one(lambda u, tau: -np.expm1(-u / tau)), (_TIMES,), (_TIME,)),
    names=("tau",),
    fixed={},
)
_critical = partial(
    _fit_step,
    curve=second_order,
    model=Separable(_one(lambda u, omega: _response(u, omega, 1.0)), (_RATES,), (_RATE,)),
    names=("omega",),
    fixed={"zeta": 1.0},
)


def _damped(dampings: Float[np.ndarray, " values"], bounds: tuple[float, float]) -> Callable:
    model = Separable(_one(_response), (_RATES, dampings), (_RATE, bounds))
    return partial(_fit_step, curve=second_order, model=model, names=("omega", "zeta"), fixed={})


FAMILIES: dict[str, Callable[..., Fit]] = {
    "law": fit_varpro,
    "logarithm": _fit_logarithm,
    "first order": partial(_first, family="first order"),
    "underdamped": partial(
        _damped(np.linspace(0.05, 0.95, 19), (1e-3, 1 - 1e-3)), family="underdamped"
    ),
    "critically damped": partial(_critical, family="critically damped"),
    "overdamped": partial(
        _damped(np.logspace(0.02, 1.5, 20), (1 + 1e-3, 1e2)), family="overdamped"
    ),
}
