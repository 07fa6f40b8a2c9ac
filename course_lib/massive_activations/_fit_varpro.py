"""The course's reference fit of the law: Eq. 14 by variable projection.

Eq. 14 is linear in A1, A2 and K once β and τ0 are fixed, so only these two are searched for. The
recipe is the course's own; the paper's recipe (arXiv 2508.03616) is `fit_curve`.
"""

from functools import partial

import numpy as np
from jaxtyping import Float, Real

from course_lib.massive_activations._forms import Eq14, law14
from course_lib.massive_activations._project import (
    Columns,
    Inner,
    Separable,
    coefficients,
    search,
)
from course_lib.massive_activations._score import Fit, checked_series, scored


def columns14(u: Float[np.ndarray, " steps"], beta: Inner, tau0: Inner) -> Columns:
    """Two columns that span those of Eq. 14 beside a constant, without cancellation.

    (1 - exp(-β u))/β spans exp(-β u) and 1, also for β -> 0; and exp(-β u) log(1 + u/τ0) is
    exp(-β u) log(u + τ0) minus a multiple of exp(-β u).
    """
    return -np.expm1(-beta * u) / beta, np.exp(-beta * u) * np.log1p(u / tau0)


# β and τ0 in units of the window's length. The lowest β stands for 0: nothing decays in the window.
LAW = Separable(
    columns14,
    grids=(np.logspace(-2, 2.3, 40), np.logspace(-6, 1.5, 40)),
    bounds=((1e-6, 1e4), (1e-9, 1e3)),
)


def fit_varpro(t: Real[np.ndarray, " steps"], y: Real[np.ndarray, " values"]) -> Fit:
    """Fit the law to values y at training steps t; returns a Fit with the parameters of Eq. 14.

    `fit.eq9` gives those of Eq. 9 where they are finite numbers. Report peak and end value first:
    many parameter sets give almost the same curve (see `profile`).
    Errors: ValueError for fewer than 6 points, steps that do not increase, and values that are
    not finite or all equal.
    """
    t, y = checked_series(t, y)
    end, mean, spread = t[-1], y.mean(), y.std()
    u, z = t / end, (y - mean) / spread
    beta, tau0 = search(LAW, u, z[None])[0]
    slope, A1, K = coefficients(columns14(u, beta, tau0), z)
    # c (1 - e)/β + A1 e log(1 + u/τ0) + K  ->  e (A1 log(u + τ0) + A2) + K'
    A2, K = -slope / beta - A1 * np.log(tau0), K + slope / beta
    # Back from u and z to steps and y.
    A1, A2 = A1 * spread, (A2 - A1 * np.log(end)) * spread
    values = Eq14(A1, A2, beta / end, tau0 * end, K * spread + mean)
    parameters = {name: float(value) for name, value in values._asdict().items()}
    return scored("law", parameters, partial(law14, **parameters), t, y)
