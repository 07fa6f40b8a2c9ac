"""What every function here asks of its numbers: one or many, and all of them finite."""

from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Real


# One energy (eV), or an array of them; functions give back what they got.
Energy = TypeVar("Energy", float, Real[np.ndarray, "..."])


def finite(name: str, values: float | Real[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Values as float64; ValueError that calls them `name` when one is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has a value that is not finite: leave such systems out first.")
    return array


def positive(name: str, value: float) -> float:
    """The value itself; ValueError that calls it `name` unless it is finite and above 0."""
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value:g}: it must be a finite number above 0.")
    return float(value)


def as_given(values: Any) -> Any:
    """An array without axes as the number it holds; every other array as it is."""
    return values[()]
