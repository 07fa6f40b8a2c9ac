"""Where the law peaks, and how high: the Lambert W function.

Paper: arXiv 2508.03616, Eqs. 12-13. The peak value and the sign condition are derived from them.
"""

import math

from course_lib.massive_activations._law import Number


def peak_time(A: Number, lam: Number, gamma: Number, t0: Number, K: Number) -> float:
    """The training step where f' = 0: t = (exp(W(1/λ)) - t0) / γ (Eq. 13).

    There is one such step. It is a maximum for A > 0 and a minimum for A < 0; it can lie before
    step 0 or beyond the last step.
    Errors: ValueError for λ <= 0, where the law has no peak, and for γ = 0.
    """
    if gamma == 0:
        raise ValueError("gamma is 0: the curve is constant and has no peak. Take gamma > 0.")
    return float((peak_inner_time(lam) - t0) / gamma)


def peak_value(A: Number, lam: Number, gamma: Number, t0: Number, K: Number) -> float:
    """The value at the peak: f = K + A W exp(-1/W), with W = W(1/λ).

    Errors: ValueError for λ <= 0.
    """
    w = _lambert(lam)
    return float(K + A * w * math.exp(-1 / w))


def peak_inner_time(lam: Number) -> float:
    """The inner time x of the peak: exp(W(1/λ)), the solution of λ x log x = 1 (Eq. 12).

    Errors: ValueError for λ <= 0.
    """
    return math.exp(_lambert(lam))


def _lambert(lam: Number) -> float:
    """W(1/λ), principal branch."""
    from scipy.special import lambertw  # takes a third of a second to import

    if not (lam > 0 and math.isfinite(lam)):
        raise ValueError(
            f"lam is {lam:g}: the law has a peak only for lam > 0. "
            "With lam = 0 it is a logarithm and rises for ever."
        )
    return float(lambertw(1 / lam).real)
