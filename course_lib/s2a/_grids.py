"""The 2 ** bits levels of a coded derivative, at equal distances.

Course definition (the paper says "4 bit, by derivative" and no more). Level q is
(q - zero) / per_one, with one of two grids:

- "minmax": from m to M in equal steps; the worst error is half a step.
- "zero": 0 and 1 are levels, so a saturated unit leaks no gradient. The step is 1 / n for a whole
  n: the largest n whose error at the clipped ends is at most a tenth above half a step. For GELU
  in 4 bits this is 1/12, with levels -2/12 ... 13/12.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import torch

from course_lib.s2a._derivatives import derivative_range


Grid = Literal["minmax", "zero"]
_CLIPPED = 1.1  # error at the ends, in half steps


@dataclass(frozen=True)
class Levels:
    """Level q is (q - zero) / per_one, for q = 0 ... 2 ** bits - 1."""

    bits: int
    zero: float
    per_one: float

    @property
    def low(self) -> float:
        """The lowest level."""
        return -self.zero / self.per_one

    @property
    def high(self) -> float:
        """The highest level."""
        return ((1 << self.bits) - 1 - self.zero) / self.per_one


def check_grid(grid: str) -> None:
    """Raise ValueError unless `grid` is "minmax" or "zero"."""
    if grid not in ("minmax", "zero"):
        raise ValueError(f'Unknown grid {grid!r}; choose "minmax" or "zero".')


@torch.compiler.assume_constant_result
def levels(kind: str, bits: int, grid: Grid) -> Levels:
    """Return the levels for the derivative of `kind`.

    Sigmoid and tanh saturate at 0 alone, where their range begins: for them both grids are one.
    """
    return _levels(kind, bits, grid)


@functools.cache
def _levels(kind: str, bits: int, grid: Grid) -> Levels:
    check_grid(grid)
    m, M = derivative_range(kind)
    top = (1 << bits) - 1
    if grid == "minmax" or m == 0:
        return Levels(bits, -m * top / (M - m), top / (M - m))
    return next(
        found
        for per_one in range(top, 0, -1)
        if _outside(found := _best(bits, per_one, m, M), m, M) <= _CLIPPED / (2 * per_one)
    )


def _outside(levels: Levels, m: float, M: float) -> float:
    """How far the range [m, M] reaches over the ends of the levels; below 0: not at all."""
    return round(max(levels.low - m, M - levels.high), 6)


def _best(bits: int, per_one: int, m: float, M: float) -> Levels:
    """Of the levels with this step, those that cover [m, M] best; if equal, the lower ones."""
    spare = (1 << bits) - 1 - per_one  # levels below 0 or above 1
    choices = [Levels(bits, float(below), float(per_one)) for below in range(spare, -1, -1)]
    return min(choices, key=lambda choice: _outside(choice, m, M))
