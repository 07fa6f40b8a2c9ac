"""What the law's parameters mean, and where they mean nothing: equal curves, distant parameters.

Paper: arXiv 2508.03616 reads K as the steady state and predicts each parameter. This module shows
when the data fix them: once the peak and the decay after it are in the window, and not before.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Real

from course_lib.massive_activations._curves import RandomCurve
from course_lib.massive_activations._fit_varpro import LAW, fit_varpro
from course_lib.massive_activations._forms import Eq14, law14, to_eq9
from course_lib.massive_activations._law import Eq9, Number
from course_lib.massive_activations._peak import peak_time
from course_lib.massive_activations._project import Columns, Inner, Separable, coefficients, search
from course_lib.massive_activations._score import checked_series, r_squared
from course_lib.massive_activations._shape_class import landmarks


if TYPE_CHECKING:
    import pandas


def _columns(u: Float[np.ndarray, " steps"], beta: Inner, tau0: Inner) -> Columns:
    """The two columns of Eq. 14 beside the constant."""
    decay = np.exp(-beta * u)
    return decay, decay * np.log1p(u / tau0)


FIXED_BASELINE = Separable(_columns, LAW.grids, LAW.bounds, constant=False)


def twin(parameters: Eq9, factor: Number) -> Eq9:
    """Other parameters with nearly the same curve: γ and t0 times `factor`, λ divided by it.

    x = γ t + t0 grows by the factor and λ x stays. log x gains log(factor), which K gives back:
    K - A log(factor). The curves differ by A log(factor) (1 - exp(-λ x)), little while λ x << 1.
    Errors: ValueError for a factor that is not positive.
    """
    if not factor > 0:
        raise ValueError(f"factor is {factor:g}: time is scaled by it, take a positive number.")
    A, lam, gamma, t0, K = parameters
    return Eq9(A, lam / factor, gamma * factor, t0 * factor, float(K - A * np.log(factor)))


def profile(
    t: Real[np.ndarray, " steps"],
    y: Real[np.ndarray, " values"],
    baselines: Real[np.ndarray, " baselines"],
) -> "pandas.DataFrame":
    """The best fit of the law for each fixed baseline K; one row for each, in their order.

    Columns: K, r2, the parameters of Eq. 14 (A1, A2, beta, tau0), and those of Eq. 9 (A, lam,
    gamma, t0), which are NaN where they leave the range of floating point. Where r2 hardly
    changes along the rows, the data do not determine K.
    Errors: ValueError for baselines that are not finite, and as in `fit_varpro`.
    """
    import pandas

    t, y = checked_series(t, y)
    if not np.all(np.isfinite(baselines)):
        raise ValueError("A baseline is not finite: give numbers for all of them.")
    u, spread, end = t / t[-1], y.std(), t[-1]
    targets = (y - np.asarray(baselines, dtype=np.float64)[:, None]) / spread
    rows = []
    for K, target, (beta, tau0) in zip(
        baselines, targets, search(FIXED_BASELINE, u, targets, starts=3), strict=True
    ):
        still, A1 = coefficients(_columns(u, beta, tau0), target * spread, constant=False)
        # c e + A1 e log(1 + u/τ0), with u = t/T_end  ->  e (A1 log(t + τ0 T_end) + A2)
        A2 = still - A1 * float(np.log(tau0 * end))
        form = Eq14(A1, A2, float(beta / end), float(tau0 * end), float(K))
        fitted = law14(t, *form)
        rows.append(
            {"K": form.K, "r2": r_squared(y, fitted), **form._asdict(), **_first_form(form)}
        )
    return pandas.DataFrame(rows)


def recovery(curves: Iterable[RandomCurve]) -> "pandas.DataFrame":
    """Fit curves whose parameters are known; one row for each.

    Columns: peak_inside (of the true curve), r2, gamma_decades = |log10 of fitted γ / true γ|,
    K_error = |fitted K / true K - 1|, and peak_error = |fitted / true step of the peak - 1|,
    which is NaN where the true peak lies beyond the window.
    """
    import pandas

    rows = []
    for curve in curves:
        fit = fit_varpro(curve.t, curve.y)
        found, truth = Eq14(**fit.parameters), curve.parameters
        log_gamma = found.A2 / found.A1 if found.A1 else np.inf
        seen = landmarks(fit, curve.t[-1]).peak_step if curve.peak_inside else np.nan
        rows.append(
            {
                "peak_inside": curve.peak_inside,
                "r2": fit.r2,
                "gamma_decades": abs(log_gamma - np.log(truth.gamma)) / np.log(10),
                "K_error": abs(found.K / truth.K - 1),
                "peak_error": abs(seen / peak_time(*truth) - 1),
            }
        )
    return pandas.DataFrame(rows)


def _first_form(form: Eq14) -> dict[str, float]:
    try:
        found = to_eq9(form)
    except ValueError:
        return dict.fromkeys(Eq9._fields[:-1], np.nan)
    return {name: value for name, value in found._asdict().items() if name != "K"}
