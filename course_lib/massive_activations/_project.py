"""Variable projection: solve the linear parameters exactly, and search only for the others.

For fixed nonlinear parameters the best linear ones are a least-squares solution, so the search
happens in one or two dimensions instead of five (Golub and Pereyra, 1973).
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


Columns = tuple[Float[np.ndarray, "*grid steps"], ...]


@dataclass(frozen=True)
class Separable:
    """A curve y = Σ c_j φ_j(u; θ) + constant.

    basis(u, *θ) -> the columns φ_j, where each θ broadcasts against u in front of its last axis.
    grids: for each θ, the values to try. bounds: for each θ, (lowest, highest); both positive.
    """

    basis: Callable[..., Columns]
    grids: tuple[Float[np.ndarray, " values"], ...]
    bounds: tuple[tuple[float, float], ...]


def orthonormal(
    columns: Columns, constant: bool = True
) -> Float[np.ndarray, "*grid columns steps"]:
    """Orthonormal columns with the same span, for a whole grid at once (modified Gram-Schmidt).

    With `constant`, a constant column is in the span too: all are made orthogonal to it first.
    A column that adds nothing to those before it comes back as zeros.
    """
    done: list[np.ndarray] = []
    for column in columns:
        size = np.sqrt(np.square(column).sum(-1, keepdims=True))
        rest = column - column.mean(-1, keepdims=True) if constant else column
        for _, unit in itertools.product(range(2), done):  # twice is enough (Kahan)
            rest = rest - (rest * unit).sum(-1, keepdims=True) * unit
        left = np.sqrt(np.square(rest).sum(-1, keepdims=True))
        new = left > 1e-13 * size
        done.append(np.where(new, rest, 0) / np.where(new, left, 1))
    return np.stack(np.broadcast_arrays(*done), axis=-2)


def explained(
    units: Float[np.ndarray, "*grid columns steps"], y: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, "*grid"]:
    """Sum of squares of y that the columns explain; the best of the grid explains most."""
    return np.square(units @ y).sum(-1)


def search(
    model: Separable, u: Float[np.ndarray, " steps"], y: Float[np.ndarray, " steps"], best: int = 5
) -> Float[np.ndarray, " theta"]:
    """The nonlinear parameters θ of the best fit: a grid, then refinement of its `best` points.

    y should be centered. The refinement works on log θ, within the bounds of the model.
    """
    from scipy.optimize import least_squares  # takes half a second to import

    axes = np.meshgrid(*model.grids, indexing="ij", sparse=True)
    theta = [axis[..., None] for axis in axes]
    gain = explained(orthonormal(model.basis(u, *theta)), y)
    starts = np.argsort(-gain, axis=None)[:best]
    points = np.stack([axis.ravel() for axis in np.broadcast_arrays(*axes)], axis=-1)[starts]

    def residuals(log_theta: Float[np.ndarray, " theta"]) -> Float[np.ndarray, " steps"]:
        units = orthonormal(model.basis(u, *np.exp(log_theta)))
        return y - (units @ y) @ units

    low, high = np.log(np.asarray(model.bounds)).T
    found = [
        least_squares(residuals, np.clip(np.log(point), low, high), bounds=(low, high))
        for point in points
    ]
    return np.exp(min(found, key=lambda result: result.cost).x)


def coefficients(columns: Columns, y: Float[np.ndarray, " steps"]) -> Sequence[float]:
    """The linear parameters c_j, and the constant last, by least squares on scaled columns."""
    table = np.stack([*columns, np.ones_like(y)], axis=-1)
    scale = np.maximum(np.sqrt(np.square(table).sum(0)), np.finfo(np.float64).tiny)
    return (np.linalg.lstsq(table / scale, y, rcond=None)[0] / scale).tolist()
