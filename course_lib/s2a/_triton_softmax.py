"""Softmax with a coded output, as fused kernels: one read of the scores, one write of P and codes.

The kernels run on a GPU, or without one in Triton's interpreter. A program makes the bytes of one
stretch of n elements, see `course_lib.lean`: with 4 bits these are the codes of two rows, half the
tensor apart. If the rows do not come in pairs, a stretch lies across two rows, whose largest score
and sum are then found twice.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.lean import packed_size
from course_lib.s2a._triton import output_dtype


def softmax_forward(
    scores: Float[Tensor, "*rows n"], bits: int
) -> tuple[Float[Tensor, "*rows n"], UInt8[Tensor, " packed"], Float[Tensor, "*rows 1"]]:
    """Return P, contiguous, its packed codes, 2, 4 or 8 bits each, and the unit of each row."""
    scores = scores.contiguous()
    n = scores.shape[-1]
    rows = scores.numel() // max(n, 1)
    p = torch.empty_like(scores, dtype=output_dtype(scores))
    packed = torch.empty(packed_size(p.numel(), bits), dtype=torch.uint8, device=p.device)
    unit = torch.empty((*p.shape[:-1], 1), dtype=torch.float32, device=p.device)
    if len(packed):
        how = {
            "BITS": bits,
            "PAIRED": rows % (8 // bits) == 0,
            "BLOCK": triton.next_power_of_2(n),
            "num_warps": warps(n),
        }
        with torch.cuda.device_of(p):
            _forward[(triton.cdiv(len(packed), n),)](
                scores, p, packed, unit, rows, n, len(packed), **how
            )
    return p, packed, unit


def softmax_backward(
    grad: Float[Tensor, "*rows n"],
    packed: UInt8[Tensor, " packed"],
    unit: Float[Tensor, "*rows 1"],
    bits: int,
) -> Float[Tensor, "*rows n"]:
    """Return P * (G - <G, P>) for the decoded P, contiguous, in the dtype of `grad`."""
    grad = grad.contiguous()
    for_scores = torch.empty_like(grad)
    if len(packed):
        n = grad.shape[-1]
        how = {"BITS": bits, "BLOCK": triton.next_power_of_2(n), "num_warps": warps(n)}
        with torch.cuda.device_of(grad):
            _backward[(unit.numel(),)](grad, packed, unit, for_scores, n, len(packed), **how)
    return for_scores


def decode(
    packed: UInt8[Tensor, " packed"], unit: Float[Tensor, "*rows 1"], bits: int, n: int
) -> Float[Tensor, "*rows n"]:
    """Return the decoded P in float32, for rows of `n` elements."""
    p = torch.empty((*unit.shape[:-1], n), dtype=torch.float32, device=unit.device)
    if len(packed):
        how = {"BITS": bits, "BLOCK": triton.next_power_of_2(n), "num_warps": warps(n)}
        with torch.cuda.device_of(p):
            _decode[(unit.numel(),)](packed, unit, p, n, len(packed), **how)
    return p


def warps(n: int) -> int:
    """Warps for a program that holds rows of n elements: 32 lanes each, some elements a lane."""
    return 4 if n <= 2048 else 8 if n <= 8192 else 16


@triton.jit
@no_type_check
def _largest_and_sum(scores, inside):
    scores = tl.where(inside, scores, float("-inf"))
    largest = tl.max(scores, 0)
    return largest, tl.sum(tl.exp(scores - largest), 0)


@triton.jit
@no_type_check
def _forward(
    scores_ptr,
    p_ptr,
    packed_ptr,
    unit_ptr,
    rows,
    n,
    size,
    BITS: tl.constexpr,
    PAIRED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    top: tl.constexpr = (1 << BITS) - 1
    dtype = p_ptr.dtype.element_ty
    first = tl.program_id(0) * n
    column = tl.arange(0, BLOCK)
    packed = tl.zeros([BLOCK], tl.int32)
    for place in tl.static_range(8 // BITS):
        start = first + place * size
        element = start + column
        inside = (column < n) & (first + column < size) & (element < rows * n)
        scores = tl.load(scores_ptr + element, mask=inside, other=0.0).to(tl.float32)
        row = start // n
        if PAIRED:
            largest, total = _largest_and_sum(scores, column < n)
            # The largest probability is exp(0) / total; as P is kept, so it is rounded.
            unit = tl.div_rn(tl.div_rn(1.0, total).to(dtype).to(tl.float32), top + 0.0)
            tl.store(unit_ptr + row, unit)
        else:
            whole = row * n + column
            there = (column < n) & (whole < rows * n)
            here = tl.load(scores_ptr + whole, mask=there, other=0.0).to(tl.float32)
            there = (column < n) & (whole + n < rows * n)
            next_ = tl.load(scores_ptr + whole + n, mask=there, other=0.0).to(tl.float32)
            largest_here, total_here = _largest_and_sum(here, column < n)
            largest_next, total_next = _largest_and_sum(next_, column < n)
            unit_here = tl.div_rn(tl.div_rn(1.0, total_here).to(dtype).to(tl.float32), top + 0.0)
            unit_next = tl.div_rn(tl.div_rn(1.0, total_next).to(dtype).to(tl.float32), top + 0.0)
            tl.store(unit_ptr + row, unit_here, mask=row < rows)
            tl.store(unit_ptr + row + 1, unit_next, mask=row + 1 < rows)
            is_here = element < (row + 1) * n
            largest = tl.where(is_here, largest_here, largest_next)
            total = tl.where(is_here, total_here, total_next)
            unit = tl.where(is_here, unit_here, unit_next)
        # Equation: P = exp(S - max S) / sum exp(S - max S)
        p = tl.div_rn(tl.exp(scores - largest), total + tl.zeros([BLOCK], tl.float32)).to(dtype)
        tl.store(p_ptr + element, p, mask=inside)
        # Equation: q = round(P / unit), unit = max P / top
        value = tl.div_rn(p.to(tl.float32), unit + tl.zeros([BLOCK], tl.float32)) + 0.5
        value = tl.minimum(tl.maximum(value, 0.0), top + 0.5)
        packed |= tl.where(inside, value.to(tl.int32), 0) << BITS * place
    byte = first + column
    tl.store(packed_ptr + byte, packed.to(tl.uint8), mask=(column < n) & (byte < size))


@triton.jit
@no_type_check
def codes_at(packed_ptr, element, inside, size, BITS: tl.constexpr):
    """Codes of the given elements, as float32."""
    place = element * 0
    for other in tl.static_range(1, 8 // BITS):  # not element // size: that is a slow instruction
        place += (element >= other * size).to(tl.int32)
    byte = tl.load(packed_ptr + element - place * size, mask=inside, other=0).to(tl.int32)
    return ((byte >> BITS * place) & ((1 << BITS) - 1)).to(tl.float32)


@triton.jit
@no_type_check
def _backward(
    grad_ptr,
    packed_ptr,
    unit_ptr,
    for_scores_ptr,
    n,
    size,
    BITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    inside = column < n
    element = row * n + column
    grad = tl.load(grad_ptr + element, mask=inside, other=0.0).to(tl.float32)
    p = codes_at(packed_ptr, element, inside, size, BITS) * tl.load(unit_ptr + row)
    # Equation: dL/dS = P * (G - <G, P>)
    for_scores = p * (grad - tl.sum(grad * p, 0))
    tl.store(for_scores_ptr + element, for_scores.to(for_scores_ptr.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def _decode(packed_ptr, unit_ptr, p_ptr, n, size, BITS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    inside = column < n
    element = row * n + column
    code = codes_at(packed_ptr, element, inside, size, BITS)
    tl.store(p_ptr + element, code * tl.load(unit_ptr + row), mask=inside)
