"""LayerNorm with a coded normalized input, as fused kernels: one read of x, one write of y.

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


Kept = tuple[
    Float[Tensor, "*tokens 1"], UInt8[Tensor, " packed"], Float[Tensor, "*tokens 2"]
]  # 1/sigma, codes of x_hat, (low, step)


def layer_norm_forward(
    x: Float[Tensor, "*tokens features"],
    weight: Float[Tensor, " features"] | None,
    bias: Float[Tensor, " features"] | None,
    eps: float,
    bits: int,
) -> tuple[Float[Tensor, "*tokens features"], Kept]:
    """Return y, contiguous, and 1/sigma, packed codes of 2, 4 or 8 bits, (low, step) of x_hat."""
    x = x.contiguous()
    n = x.shape[-1]
    rows = x.numel() // max(n, 1)
    y = torch.empty_like(x, dtype=output_dtype(x))
    packed = torch.empty(packed_size(x.numel(), bits), dtype=torch.uint8, device=x.device)
    rstd = torch.empty((*x.shape[:-1], 1), dtype=torch.float32, device=x.device)
    ranges = torch.empty((*x.shape[:-1], 2), dtype=torch.float32, device=x.device)
    if len(packed):
        given = {"WEIGHT": weight is not None, "BIAS": bias is not None}
        how = constants(bits, n) | given | {"PAIRED": paired(rows, bits)}
        weight = x if weight is None else weight.contiguous()  # x: a pointer that is not read
        bias = x if bias is None else bias.contiguous()
        with torch.cuda.device_of(x):
            _forward[(triton.cdiv(len(packed), n),)](
                x, weight, bias, y, rstd, packed, ranges, rows, n, len(packed), eps, **how
            )
    return y, (rstd, packed, ranges)


def layer_norm_backward(
    grad: Float[Tensor, "*tokens features"],
    weight: Float[Tensor, " features"] | None,
    kept: Kept,
    bits: int,
) -> Float[Tensor, "*tokens features"]:
    """Return dL/dx, contiguous, in the dtype of `grad`, from what the forward kernel kept."""
    grad = grad.contiguous()
    rstd, packed, ranges = kept
    for_x = torch.empty_like(grad)
    if len(packed):
        n = grad.shape[-1]
        how = constants(bits, n) | {"WEIGHT": weight is not None}
        weight = grad if weight is None else weight.contiguous()  # grad: a pointer, not read
        with torch.cuda.device_of(grad):
            _backward[(rstd.numel(),)](
                grad, weight, rstd, packed, ranges, for_x, n, len(packed), **how
            )
    return for_x


@triton.jit
@no_type_check
def _statistics(x, inside, n, eps, TOP: tl.constexpr):
    """Mean, 1/sigma, and the smallest value and the step of x_hat of one row."""
    mean = tl.sum(tl.where(inside, x, 0.0), 0) / n
    centered = tl.where(inside, x - mean, 0.0)
    rstd = tl.div_rn(1.0, tl.sqrt_rn(tl.sum(centered * centered, 0) / n + eps))
    low = tl.min(tl.where(inside, centered * rstd, float("inf")), 0)
    high = tl.max(tl.where(inside, centered * rstd, float("-inf")), 0)
    return mean, rstd, low, tl.div_rn(high - low, TOP + 0.0)


@triton.jit
@no_type_check
def _store_statistics(rstd_ptr, ranges_ptr, row, rows, rstd, low, step):
    tl.store(rstd_ptr + row, rstd, mask=row < rows)
    tl.store(ranges_ptr + 2 * row, low, mask=row < rows)
    tl.store(ranges_ptr + 2 * row + 1, step, mask=row < rows)


@triton.jit
@no_type_check
def _forward(
    x_ptr,
    weight_ptr,
    bias_ptr,
    y_ptr,
    rstd_ptr,
    packed_ptr,
    ranges_ptr,
    rows,
    n,
    size,
    eps,
    BITS: tl.constexpr,
    WEIGHT: tl.constexpr,
    BIAS: tl.constexpr,
    PAIRED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    top: tl.constexpr = (1 << BITS) - 1
    column = tl.arange(0, BLOCK)
    packed = tl.zeros([BLOCK], tl.int32)
    for place in tl.static_range(8 // BITS):
        row, element, inside, x = load_stretch(x_ptr, place, rows, n, size, column)
        feature = element - row * n
        if PAIRED:
            mean, rstd, low, step = _statistics(x, column < n, n, eps, top)
            _store_statistics(rstd_ptr, ranges_ptr, row, rows, rstd, low, step)
        else:
            here = load_row(x_ptr, row, rows, n, column)
            next_ = load_row(x_ptr, row + 1, rows, n, column)
            mean, rstd, low, step = _statistics(here, column < n, n, eps, top)
            mean_next, rstd_next, low_next, step_next = _statistics(next_, column < n, n, eps, top)
            _store_statistics(rstd_ptr, ranges_ptr, row, rows, rstd, low, step)
            _store_statistics(rstd_ptr, ranges_ptr, row + 1, rows, rstd_next, low_next, step_next)
            is_here = feature < n
            feature = tl.where(is_here, feature, feature - n)
            mean = tl.where(is_here, mean, mean_next)
            rstd = tl.where(is_here, rstd, rstd_next)
            low = tl.where(is_here, low, low_next)
            step = tl.where(is_here, step, step_next)
        # Equation: y = gamma * x_hat + beta, x_hat = (x - mu) / sigma
        x_hat = (x - mean) * rstd
        y = x_hat
        if WEIGHT:
            y *= tl.load(weight_ptr + feature, mask=inside, other=0.0).to(tl.float32)
        if BIAS:
            y += tl.load(bias_ptr + feature, mask=inside, other=0.0).to(tl.float32)
        tl.store(y_ptr + element, y.to(y_ptr.dtype.element_ty), mask=inside)
        # Equation: q = round((x_hat - low) / step); a constant row has step 0 and codes 0.
        per_step = tl.div_rn(1.0, tl.maximum(step, 1.1754943508222875e-38))
        packed = put_codes(packed, (x_hat - low) * per_step, inside, place, BITS)
    store_stretch(packed_ptr, packed, n, size, column)


@triton.jit
@no_type_check
def _backward(
    grad_ptr,
    weight_ptr,
    rstd_ptr,
    packed_ptr,
    ranges_ptr,
    for_x_ptr,
    n,
    size,
    BITS: tl.constexpr,
    WEIGHT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < n
    element = row * n + column
    grad = tl.load(grad_ptr + element, mask=inside, other=0.0).to(tl.float32)
    if WEIGHT:
        grad *= tl.load(weight_ptr + column, mask=inside, other=0.0).to(tl.float32)
    low, step = tl.load(ranges_ptr + 2 * row), tl.load(ranges_ptr + 2 * row + 1)
    x_hat = load_codes(packed_ptr, element, inside, size, BITS) * step + low
    # Equation: dL/dx = (gamma g - mean(gamma g) - x_hat * mean(gamma g x_hat)) / sigma
    along = tl.sum(grad * x_hat, 0) / n
    for_x = (grad - tl.sum(grad, 0) / n - x_hat * along) * tl.load(rstd_ptr + row)
    tl.store(for_x_ptr + element, for_x.to(for_x_ptr.dtype.element_ty), mask=inside)
