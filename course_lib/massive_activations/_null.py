"""What the ratio is before any training: the largest of n Gaussian numbers over their median.

A model's weights start as independent Gaussian numbers, and so, nearly, do the entries of its
hidden states. A probe that finds another ratio at step 0 looks at the wrong tensor.
"""

import math
from statistics import NormalDist


def initial_ratio(n: int) -> float:
    """Return the median of max|h| / median|h| over n independent Gaussian entries.

    n = tokens x width. The largest |h| stays below x with probability (2 Phi(x) - 1)^n; setting
    this to 1/2 gives Phi^-1((1 + 2^(-1/n)) / 2) / Phi^-1(3/4). Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"A hidden state has at least 1 entry, got n={n}.")
    normal = NormalDist()
    above = -math.expm1(-math.log(2) / n) / 2  # 1 - (1 + 2^(-1/n)) / 2, without cancellation
    return -normal.inv_cdf(above) / normal.inv_cdf(0.75)
