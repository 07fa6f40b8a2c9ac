"""The paper's fit of the law, kept as the baseline: five parameters at once, from one start.

Paper: arXiv 2508.03616, its fitting section: normalize, `scipy.optimize.curve_fit` with the Trust
Region Reflective method, the analytic Jacobian and one bound (λ > 0); then scale back. The paper
names no scaling; t/T_end for the steps and min-max for the values keep log x defined at the start.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Real

from course_lib.massive_activations._forms import Eq14, jacobian14, law14, to_eq14
from course_lib.massive_activations._law import Eq9, jacobian, law
from course_lib.massive_activations._score import Fit, checked_series, scored


EVALUATIONS = 20_000


class FitFailed(RuntimeError):
    """The solver did not converge, or left the region where the law exists."""


def fit_curve(
    t: Real[np.ndarray, " steps"],
    y: Real[np.ndarray, " values"],
    *,
    form: str = "best",
    evaluations: int = EVALUATIONS,
) -> Fit:
    """Fit the law to values y at training steps t by the paper's recipe.

    form: "eq9" or "eq14" alone, or "best": both and the better R2, as in the paper.
    evaluations: how often the solver may compute the curve before it gives up.
    Errors: FitFailed when no form converges; ValueError for another form, and as in `fit_varpro`.
    """
    forms = {"eq9": (_fit_eq9,), "eq14": (_fit_eq14,), "best": (_fit_eq9, _fit_eq14)}
    if form not in forms:
        raise ValueError(f"form is {form!r}: take one of {', '.join(map(repr, forms))}.")
    t, y = checked_series(t, y)
    fits, reasons = [], []
    for fit in forms[form]:
        try:
            fits.append(fit(t, y, evaluations))
        except FitFailed as reason:
            reasons.append(str(reason))
    if not fits:
        raise FitFailed(" ".join(reasons))
    return max(fits, key=lambda fit: fit.r2)


def _fit_eq9(
    t: Float[np.ndarray, " steps"], y: Float[np.ndarray, " steps"], evaluations: int
) -> Fit:
    end, low, high = t[-1], y.min(), y.max()
    found = Eq9(*_solve("Eq. 9", law, jacobian, t, y, _start(t / end), "lam", evaluations))
    # γ <- γ/T_end, A <- A s_y, K <- K s_y + y_min; λ and t0 stay.
    back = found._replace(
        A=found.A * (high - low), gamma=found.gamma / end, K=found.K * (high - low) + low
    )
    return _finite("Eq. 9", back, law, t, y)


def _fit_eq14(
    t: Float[np.ndarray, " steps"], y: Float[np.ndarray, " steps"], evaluations: int
) -> Fit:
    end, low, high = t[-1], y.min(), y.max()
    start = to_eq14(_start(t / end))
    found = Eq14(*_solve("Eq. 14", law14, jacobian14, t, y, start, "beta", evaluations))
    A1 = found.A1 * (high - low)
    A2 = found.A2 * (high - low) - A1 * float(np.log(end))  # log(t/T + τ0) = log(t + T τ0) - log T
    back = Eq14(A1, A2, found.beta / end, found.tau0 * end, found.K * (high - low) + low)
    return _finite("Eq. 14", back, law14, t, y)


def _finite(
    name: str,
    parameters: Eq9 | Eq14,
    curve: Callable,
    t: Float[np.ndarray, " steps"],
    y: Float[np.ndarray, " steps"],
) -> Fit:
    """The Fit of these parameters, refused where they leave the range of floating point."""
    values = parameters._asdict()
    with np.errstate(all="ignore"):
        fit = scored("law", values, partial(curve, **values), t, y)
    if not np.isfinite([fit.r2, *parameters]).all():
        raise FitFailed(f"{name}: the parameters left the range of floating point: {parameters}.")
    return fit


def _start(u: Float[np.ndarray, " steps"]) -> Eq9:
    """The paper's start for values between 0 and 1: A = 1, K = A/2, λ = 1/std, γ = 1/range."""
    return Eq9(1.0, 1 / float(u.std()), 1 / float(np.ptp(u)), 1.0, 0.5)


def _solve(
    name: str,
    curve: Callable,
    slopes: Callable,
    t: Float[np.ndarray, " steps"],
    y: Float[np.ndarray, " steps"],
    start: Eq9 | Eq14,
    positive: str,
    evaluations: int,
) -> list[float]:
    """The parameters that `curve_fit` finds for t/T_end and min-max y; one of them is positive."""
    from scipy.optimize import OptimizeWarning, curve_fit  # takes half a second to import

    def anywhere(u: Float[np.ndarray, " steps"], *trial: float) -> Float[np.ndarray, " steps"]:
        try:
            return curve(u, *trial)
        except ValueError:  # log of x <= 0: not a number, so that the solver takes a shorter step
            return np.full_like(u, np.nan)

    lowest: Any = np.full(5, -np.inf)
    lowest[start._fields.index(positive)] = 0
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", OptimizeWarning)  # the covariance is not used
            found, _ = curve_fit(
                anywhere,
                t / t[-1],
                (y - y.min()) / np.ptp(y),
                p0=start,
                bounds=(lowest, np.inf),
                method="trf",
                jac=slopes,  # type: ignore[arg-type]
                max_nfev=evaluations,
            )
    except (RuntimeError, ValueError, np.linalg.LinAlgError) as reason:
        raise FitFailed(f"{name}: {reason}") from reason
    return [float(value) for value in found]
