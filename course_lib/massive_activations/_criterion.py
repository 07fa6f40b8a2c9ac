"""When an activation counts as massive.

Source: Sun, Chen, Kolter, Liu, arXiv 2402.17762, Eq. 2. The paper of this lab, arXiv 2508.03616,
drops the first condition, because small models never reach it, and follows the ratio alone.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float


LARGE = 100.0  # |a| must be above it
TIMES_MEDIAN = 1000.0  # |a| / median |h| must reach it


Numbers = float | Sequence[float] | Float[np.ndarray, "*shape"] | pd.Series


def is_massive(value: Numbers, median: Numbers) -> Bool[np.ndarray, "*shape"] | bool:
    """Return whether |value| > 100 and |value| >= 1000 x median, for numbers or whole columns.

    `median` is that of |h| over the whole hidden state. Raises ValueError for a median that is not
    positive.
    """
    size, typical = np.abs(np.asarray(value, float)), np.asarray(median, float)
    if not (typical > 0).all():
        raise ValueError("The median of |h| must be positive; an all-zero hidden state has none.")
    massive = (size > LARGE) & (size / typical >= TIMES_MEDIAN)
    return massive if massive.ndim else bool(massive)
