"""One question asked in many places: is this a finite number?"""

import math
from typing import Any


def finite(value: Any, name: str, fix: str) -> float:
    """Return `value` as a float; raise ValueError with the fix when it is no finite number.

    Tensors and arrays with one element count as numbers; True and False do not.
    """
    if hasattr(value, "item") and getattr(value, "size", None) is not None:
        value = _single(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, which is not a finite number. {fix}.")
    return float(value)


def _single(value: Any) -> Any:
    """Return the one element of a tensor, array or NumPy scalar; others come back as they are."""
    count = value.numel() if hasattr(value, "numel") else value.size
    return value.item() if count == 1 else value
