"""GELU with a coded derivative, as fused kernels: one read of x, one write of y and its codes.

The kernels run on a GPU, or without one in Triton's interpreter. Codes and their packing are those
of the plain path, `_activation`: byte i holds element i of each stretch of `packed_size` elements.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.lean import packed_size
from course_lib.s2a._grids import Levels
from course_lib.s2a._triton_rows import put_codes


_BLOCK = 1024  # bytes of codes that one program makes


def gelu_forward(
    x: Float[Tensor, "*shape"], tanh: bool, levels: Levels
) -> tuple[Float[Tensor, "*shape"], UInt8[Tensor, " packed"]]:
    """Return GELU(x), contiguous, and the packed codes of its derivative, 2, 4 or 8 bits each."""
    x = x.contiguous()
    y, n = torch.empty_like(x), x.numel()
    packed = torch.empty(packed_size(n, levels.bits), dtype=torch.uint8, device=x.device)
    if n:
        zero, per_one = float(levels.zero), float(levels.per_one)
        grid = (triton.cdiv(len(packed), _BLOCK),)
        with torch.cuda.device_of(x):
            _forward[grid](x, y, packed, n, len(packed), zero, per_one, levels.bits, tanh, _BLOCK)
    return y, packed


def derivative_backward(
    grad: Float[Tensor, "*shape"], packed: UInt8[Tensor, " packed"], levels: Levels
) -> Float[Tensor, "*shape"]:
    """Return grad * (code - zero) / per_one, contiguous, in the dtype of `grad`; for any `kind`."""
    grad = grad.contiguous()
    for_x, n = torch.empty_like(grad), grad.numel()
    if n:
        zero, per_one = float(levels.zero), float(levels.per_one)
        grid = (triton.cdiv(len(packed), _BLOCK),)
        with torch.cuda.device_of(grad):
            _backward[grid](grad, packed, for_x, n, len(packed), zero, per_one, levels.bits, _BLOCK)
    return for_x


@triton.jit
@no_type_check
def _forward(
    x_ptr,
    y_ptr,
    packed_ptr,
    n,
    size,
    zero,
    per_one,
    BITS: tl.constexpr,
    TANH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    byte = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # 64 bits
    packed = tl.zeros([BLOCK], tl.int32)
    for place in tl.static_range(8 // BITS):
        element = byte + place * tl.cast(size, tl.int64)
        inside = (byte < size) & (element < n)
        x = tl.load(x_ptr + element, mask=inside, other=0.0).to(tl.float32)
        if TANH:
            # GELU(x) = x s(2 u), with u = sqrt(2 / pi) (x + 0.044715 x^3) and s the sigmoid
            square = x * x
            u = 0.7978845608028654 * (x + 0.044715 * (square * x))
            share = 1.0 / (1.0 + tl.exp(-2.0 * u))
            slope = 0.7978845608028654 * (1.0 + 3.0 * 0.044715 * square)
            derivative = share + 2.0 * x * (share * (1.0 - share)) * slope
        else:
            # GELU(x) = x Phi(x); GELU'(x) = Phi(x) + x phi(x)
            share = 0.5 * (1.0 + tl.erf(x * 0.7071067811865476))
            derivative = share + x * (0.3989422804014327 * tl.exp(-0.5 * x * x))
        tl.store(y_ptr + element, (x * share).to(y_ptr.dtype.element_ty), mask=inside)
        # Equation: q = round((f'(x) - m) / step)
        packed = put_codes(packed, per_one * derivative + zero, inside, place, BITS)
    tl.store(packed_ptr + byte, packed.to(tl.uint8), mask=byte < size)


@triton.jit
@no_type_check
def _backward(
    grad_ptr,
    packed_ptr,
    for_x_ptr,
    n,
    size,
    zero,
    per_one,
    BITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    byte = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # 64 bits
    packed = tl.load(packed_ptr + byte, mask=byte < size, other=0).to(tl.int32)
    for place in tl.static_range(8 // BITS):
        element = byte + place * tl.cast(size, tl.int64)
        inside = (byte < size) & (element < n)
        grad = tl.load(grad_ptr + element, mask=inside, other=0.0).to(tl.float32)
        code = (packed >> BITS * place) & ((1 << BITS) - 1)
        # Equation: dL/dx = g * (m + q * step)
        for_x = grad * tl.div_rn(code.to(tl.float32) - zero, per_one)
        tl.store(for_x_ptr + element, for_x.to(for_x_ptr.dtype.element_ty), mask=inside)
