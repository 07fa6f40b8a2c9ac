"""Softmax with a coded output, as fused kernels: one read of the scores, one write of P and codes.

The kernels run on a GPU, or without one in Triton's interpreter.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.lean import packed_size
from course_lib.s2a._triton import output_dtype
from course_lib.s2a._triton_rows import (
    constants,
    load_codes,
    load_row,
    load_stretch,
    paired,
    put_codes,
    store_stretch,
)


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
        how = constants(bits, n) | {"PAIRED": paired(rows, bits)}
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
        with torch.cuda.device_of(grad):
            _backward[(unit.numel(),)](
                grad, packed, unit, for_scores, n, len(packed), **constants(bits, n)
            )
    return for_scores


def decode(
    packed: UInt8[Tensor, " packed"], unit: Float[Tensor, "*rows 1"], bits: int, n: int
) -> Float[Tensor, "*rows n"]:
    """Return the decoded P in float32, for rows of `n` elements."""
    p = torch.empty((*unit.shape[:-1], n), dtype=torch.float32, device=unit.device)
    if len(packed):
        with torch.cuda.device_of(p):
            _decode[(unit.numel(),)](packed, unit, p, n, len(packed), **constants(bits, n))
    return p


@triton.jit
@no_type_check
def _statistics(scores, inside, TOP: tl.constexpr, dtype: tl.constexpr):
    """Largest score, sum of the exponentials, and unit of one row."""
    scores = tl.where(inside, scores, float("-inf"))
    largest = tl.max(scores, 0)
    total = tl.sum(tl.exp(scores - largest), 0)
    # The largest probability is exp(0) / total; as P is kept, so it is rounded.
    return largest, total, tl.div_rn(tl.div_rn(1.0, total).to(dtype).to(tl.float32), TOP + 0.0)


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
    dtype: tl.constexpr = p_ptr.dtype.element_ty
    column = tl.arange(0, BLOCK)
    packed = tl.zeros([BLOCK], tl.int32)
    for place in tl.static_range(8 // BITS):
        row, element, inside, scores = load_stretch(scores_ptr, place, rows, n, size, column)
        if PAIRED:
            largest, total, unit = _statistics(scores, column < n, top, dtype)
            tl.store(unit_ptr + row, unit)
        else:
            here = load_row(scores_ptr, row, rows, n, column)
            next_ = load_row(scores_ptr, row + 1, rows, n, column)
            largest, total, unit = _statistics(here, column < n, top, dtype)
            largest_next, total_next, unit_next = _statistics(next_, column < n, top, dtype)
            tl.store(unit_ptr + row, unit, mask=row < rows)
            tl.store(unit_ptr + row + 1, unit_next, mask=row + 1 < rows)
            is_here = element < (row + 1) * n
            largest = tl.where(is_here, largest, largest_next)
            total = tl.where(is_here, total, total_next)
            unit = tl.where(is_here, unit, unit_next)
        # Equation: P = exp(S - max S) / sum exp(S - max S)
        p = tl.div_rn(tl.exp(scores - largest), total + tl.zeros([BLOCK], tl.float32)).to(dtype)
        tl.store(p_ptr + element, p, mask=inside)
        # Equation: q = round(P / unit), unit = max P / top
        value = tl.div_rn(p.to(tl.float32), unit + tl.zeros([BLOCK], tl.float32))
        packed = put_codes(packed, value, inside, place, BITS)
    store_stretch(packed_ptr, packed, n, size, column)


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
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < n
    element = row * n + column
    grad = tl.load(grad_ptr + element, mask=inside, other=0.0).to(tl.float32)
    p = load_codes(packed_ptr, element, inside, size, BITS) * tl.load(unit_ptr + row)
    # Equation: dL/dS = P * (G - <G, P>)
    for_scores = p * (grad - tl.sum(grad * p, 0))
    tl.store(for_scores_ptr + element, for_scores.to(for_scores_ptr.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def _decode(packed_ptr, unit_ptr, p_ptr, n, size, BITS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < n
    element = row * n + column
    code = load_codes(packed_ptr, element, inside, size, BITS)
    tl.store(p_ptr + element, code * tl.load(unit_ptr + row), mask=inside)
