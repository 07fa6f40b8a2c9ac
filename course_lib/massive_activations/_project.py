"""Variable projection: solve the linear parameters exactly, and search only for the others.

For fixed nonlinear parameters the best linear ones are a least-squares solution, so the search
happens in one or two dimensions instead of five (Golub and Pereyra, 1973). Everything here works
on many problems at once: a grid of parameters, several starts, several targets.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


Inner = Float[np.ndarray, "*grid 1"] | float  # a nonlinear parameter, broadcasts against u
Columns = tuple[Float[np.ndarray, "*grid steps"], ...]
ROUNDS = 40  # of the refinement; along a flat valley it would creep on for ever
DIFFERENCE = 1e-6  # in log θ, for slopes by differences
SETTLED = 1e-9  # a round that lowers no sum of squares by more than this share is the last


@dataclass(frozen=True)
class Separable:
    """A curve y = Σ c_j φ_j(u; θ), plus a constant where `constant` says so.

    basis(u, *θ) -> the columns φ_j, where each θ broadcasts against u in front of its last axis.
    grids: for each θ, the values to try. bounds: for each θ, (lowest, highest); all positive.
    """

    basis: Callable[..., Columns]
    grids: tuple[Float[np.ndarray, " _"], ...]
    bounds: tuple[tuple[float, float], ...]
    constant: bool = True


def search(
    model: Separable,
    u: Float[np.ndarray, " steps"],
    targets: Float[np.ndarray, "targets steps"],
    starts: int = 5,
) -> Float[np.ndarray, "targets theta"]:
    """The nonlinear parameters θ that fit each target best: a grid, then its best `starts` refined.

    All targets share the grid, which costs most; so 25 targets take little longer than one.
    """
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*model.grids, indexing="ij")], axis=-1)
    units = _units(model, u, np.log(grid))
    # The sum of squares that the columns explain: the best of the grid explains most.
    gains = np.square(np.einsum("gcs,ks->kgc", units, targets)).sum(-1)
    best = np.argpartition(-gains, starts - 1, axis=-1)[:, :starts]  # (targets, starts)
    theta, costs = _refine(model, u, targets[:, None], np.log(grid)[best])
    return np.exp(theta[np.arange(len(targets)), costs.argmin(-1)])


def coefficients(
    columns: Columns, y: Float[np.ndarray, " steps"], constant: bool = True
) -> list[float]:
    """The linear parameters c_j, the constant last, by least squares on scaled columns."""
    table = np.stack([*columns, *([np.ones_like(y)] if constant else [])], axis=-1)
    scale = np.maximum(np.sqrt(np.square(table).sum(0)), np.finfo(np.float64).tiny)
    return (np.linalg.lstsq(table / scale, y, rcond=None)[0] / scale).tolist()


def _refine(
    model: Separable,
    u: Float[np.ndarray, " steps"],
    targets: Float[np.ndarray, "*#lanes steps"],
    theta: Float[np.ndarray, "*lanes theta"],
) -> tuple[Float[np.ndarray, "*lanes theta"], Float[np.ndarray, "*lanes"]]:
    """Levenberg-Marquardt on log θ in all lanes at once; returns log θ and the sums of squares."""
    low, high = np.log(np.asarray(model.bounds)).T
    theta = np.clip(theta, low, high)
    damping = np.full((*theta.shape[:-1], 1), 1e-2)
    residual, slopes = _linearized(model, u, targets, theta)
    cost = np.square(residual).sum(-1)
    for _ in range(ROUNDS):
        # (J'J + μ diag J'J) δ = -J'r
        curvature = slopes @ slopes.swapaxes(-1, -2)
        force = (slopes @ residual[..., None])[..., 0]
        diagonal = np.einsum("...ii->...i", curvature)
        extra = damping * diagonal + 1e-12 * (diagonal.sum(-1, keepdims=True) + 1e-30)
        step = np.linalg.solve(curvature + extra[..., None] * np.eye(len(low)), -force[..., None])
        trial = np.clip(theta + np.clip(step[..., 0], -2, 2), low, high)
        new_residual, new_slopes = _linearized(model, u, targets, trial)
        new_cost = np.square(new_residual).sum(-1)
        better = (new_cost < cost)[..., None]
        settled = np.all(cost - new_cost <= SETTLED * cost)
        theta, residual = np.where(better, trial, theta), np.where(better, new_residual, residual)
        slopes = np.where(better[..., None], new_slopes, slopes)
        cost = np.minimum(cost, new_cost)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-9, 1e9)
        if settled and np.all(better | (damping > 1)):
            break
    return theta, cost


def _linearized(
    model: Separable,
    u: Float[np.ndarray, " steps"],
    targets: Float[np.ndarray, "*#lanes steps"],
    theta: Float[np.ndarray, "*lanes theta"],
) -> tuple[Float[np.ndarray, "*lanes steps"], Float[np.ndarray, "*lanes theta steps"]]:
    """What the best linear parameters leave of the targets, and its slopes by each log θ."""
    shifts = np.vstack([np.zeros(theta.shape[-1]), DIFFERENCE * np.eye(theta.shape[-1])])
    units = _units(model, u, theta[..., None, :] + shifts)  # (*lanes, 1 + theta, columns, steps)
    weights = units @ targets[..., None, :, None]
    left = targets[..., None, :] - (weights * units).sum(-2)
    return left[..., 0, :], (left[..., 1:, :] - left[..., :1, :]) / DIFFERENCE


def _units(
    model: Separable, u: Float[np.ndarray, " steps"], theta: Float[np.ndarray, "*grid theta"]
) -> Float[np.ndarray, "*grid columns steps"]:
    """Orthonormal columns with the span of the basis at exp(theta) (modified Gram-Schmidt).

    Where the model has a constant, they are orthogonal to it too. A column that adds nothing to
    those before it comes back as zeros.
    """
    done: list[np.ndarray] = []
    for column in model.basis(u, *np.exp(theta).transpose(-1, *range(theta.ndim - 1))[..., None]):
        size = np.sqrt(np.square(column).sum(-1, keepdims=True))
        rest = column - column.mean(-1, keepdims=True) if model.constant else column
        for _, unit in itertools.product(range(2), done):  # twice is enough (Kahan)
            rest = rest - (rest * unit).sum(-1, keepdims=True) * unit
        left = np.sqrt(np.square(rest).sum(-1, keepdims=True))
        new = left > 1e-13 * size
        done.append(np.where(new, rest, 0) / np.where(new, left, 1))
    return np.stack(done, axis=-2)
