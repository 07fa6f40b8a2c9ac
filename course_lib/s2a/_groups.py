"""Codes of a tensor whose range is not known: each row brings its own smallest and largest value.

This is what activation coding does (ActNN, GACT; groups of 256), and what S2A does for a
normalized input and for q, k, v. A row costs 8 bytes on top of its codes: its lowest value and
its step, in float32.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.lean import pack_codes, unpack_codes
from course_lib.s2a._rounding import Rounding, round_codes, working


GROUP = 256  # elements that share a range in activation coding
Coded = tuple[UInt8[Tensor, " packed"], Float[Tensor, "*rows 2"]]


def encode_rows(x: Float[Tensor, "*rows n"], bits: int, rounding: Rounding = "nearest") -> Coded:
    """Code each row between its minimum and maximum; returns packed codes, and (low, step)."""
    codes, ranges = _row_codes(x, bits, rounding)
    return pack_codes(codes, bits), ranges


def decode_rows(coded: Coded, bits: int, shape: Sequence[int]) -> Float[Tensor, "*rows n"]:
    """Give back low + code * step for a tensor of `shape`, in the dtype of the steps."""
    packed, ranges = coded
    return _values(unpack_codes(packed, bits, shape), ranges)


def encode_groups(x: Float[Tensor, "*shape"], bits: int, rounding: Rounding = "nearest") -> Coded:
    """Code x in groups of 256 elements, in their order; the last one may be shorter."""
    flat = x.reshape(-1)
    missing = -len(flat) % GROUP
    if missing:  # the last element again: it does not widen the range
        flat = torch.cat([flat, flat[-1:].expand(missing)])
    codes, ranges = _row_codes(flat.view(-1, GROUP), bits, rounding)
    return pack_codes(codes.view(-1)[: x.numel()], bits), ranges


def decode_groups(coded: Coded, bits: int, shape: Sequence[int]) -> Float[Tensor, "*shape"]:
    """Give back what `encode_groups` coded."""
    packed, ranges = coded
    elements = math.prod(shape)
    codes = F.pad(unpack_codes(packed, bits, (elements,)), (0, -elements % GROUP))
    return _values(codes.view(-1, GROUP), ranges).view(-1)[:elements].view(shape)


def _row_codes(
    x: Float[Tensor, "*rows n"], bits: int, rounding: Rounding
) -> tuple[UInt8[Tensor, "*rows n"], Float[Tensor, "*rows 2"]]:
    x = working(x)
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    step = (high - low) / ((1 << bits) - 1)
    # A constant row has step 0: its codes are 0, and it comes back as `low`.
    per_step = step.clamp_min(torch.finfo(x.dtype).tiny).reciprocal()
    codes = round_codes((x - low).mul_(per_step), bits, rounding)
    return codes, torch.cat([low, step], dim=-1)


def _values(
    codes: UInt8[Tensor, "*rows n"], ranges: Float[Tensor, "*rows 2"]
) -> Float[Tensor, "*rows n"]:
    low, step = ranges.split(1, dim=-1)  # (*rows, 2) -> (*rows, 1) each
    return codes.to(ranges.dtype).mul_(step).add_(low)
