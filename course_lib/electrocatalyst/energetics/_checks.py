"""What every function here asks of its numbers: they are finite, and there are enough of them."""

import numpy as np
from jaxtyping import Float, Real


Energies = int | float | Real[np.ndarray, "..."]  # one energy or an array of them, eV


def finite(name: str, values: Energies) -> Float[np.ndarray, "..."]:
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
