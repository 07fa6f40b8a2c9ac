"""Few-bit derivatives by the input: x falls into one of 2 ** bits intervals, each with a constant.

Idea: Novikov et al., "Few-bit backward", arXiv 2202.00441. Their tables are not used: intervals
and constants are computed here, the best ones for x from N(0, 1). Best means the least expected
squared error of f', found by dynamic programming over a fine grid of borders.
"""

import functools

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from course_lib.s2a._derivatives import activation_of, scaled_derivative


_REACH, _CELLS = 5.0, 1280  # borders lie on [-5, 5], 1/128 apart


@torch.compiler.assume_constant_result
def partition(
    kind: str, bits: int
) -> tuple[Float64[Tensor, " borders"], Float64[Tensor, " levels"]]:
    """Return 2 ** bits - 1 increasing borders, and the constant of each of the 2 ** bits intervals.

    An x equal to a border belongs to the interval below it.
    """
    return _best(kind, bits)


@functools.cache
def _best(kind: str, bits: int) -> tuple[Float64[Tensor, " borders"], Float64[Tensor, " levels"]]:
    count = 1 << bits
    x = ((torch.arange(_CELLS, dtype=torch.float64) + 0.5) / _CELLS * 2 - 1) * _REACH
    source = activation_of(kind).forward(x) if activation_of(kind).from_output else x
    derivative = scaled_derivative(source, kind)
    weight = torch.exp(-x.square() / 2)
    # Sums over the first i cells, i = 0 ... cells: of w, w f', w f'^2.
    mass, first, second = (
        torch.cat([torch.zeros(1, dtype=torch.float64), (weight * power).cumsum(0)])
        for power in (torch.ones_like(x), derivative, derivative.square())
    )
    between = [sums[None, :] - sums[:, None] for sums in (mass, first, second)]  # cells i ... j - 1
    cost = between[2] - between[1].square() / between[0]
    cost.masked_fill_(torch.ones_like(cost).tril().bool(), torch.inf)
    ends = _cheapest_cuts(cost, count)
    edges = torch.tensor(ends)
    constants = first[edges].diff() / mass[edges].diff()
    return (edges[1:-1] / _CELLS * 2 - 1).double() * _REACH, constants


def _cheapest_cuts(cost: Float[Tensor, "from to"], count: int) -> list[int]:
    """Ends of `count` stretches, 0 first, with the least sum of cost[start, end]."""
    best = cost[0]  # with one stretch, up to each end
    starts = []
    for _ in range(count - 1):
        best, start = (best[:, None] + cost).min(dim=0)
        starts.append(start)
    ends = [len(cost) - 1]
    for start in reversed(starts):
        ends.append(int(start[ends[-1]]))
    return [0, *reversed(ends)]
