"""Softmax that keeps codes of its output, with the largest probability of each row.

Course definition; the paper says no more than that such activations are coded. The derivative
depends on the output P alone: q = round(top * P / max P), with top = 2 ** bits - 1. Backward is
dL/dS = P * (G - <G, P>) with the decoded P.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor
from torch.autograd.function import once_differentiable

from course_lib.lean import pack_codes, unpack_codes
from course_lib.s2a import _triton
from course_lib.s2a._rounding import EXACT, check_bits, check_float, round_codes, working


Kept = tuple[UInt8[Tensor, " packed"], Float[Tensor, "*rows 1"]] | tuple[Float[Tensor, "*rows n"]]


def softmax_and_kept(scores: Float[Tensor, "*rows n"], bits: int) -> tuple[Tensor, Kept]:
    """Return P, and what backward needs of it; where fused kernels run, they make both at once."""
    if _triton.available(scores, bits, scores.shape[-1]):
        from course_lib.s2a._triton_softmax import softmax_forward

        p, packed, unit = softmax_forward(scores, bits)
        return p, (packed, unit)
    p = scores.softmax(-1)
    return p, keep_probabilities(p, bits)


def keep_probabilities(p: Float[Tensor, "*rows n"], bits: int) -> Kept:
    """Return what backward needs of P: packed codes and the unit of each row; or P, for 32 bits."""
    if bits == EXACT:
        return (p,)
    # Equation: q = round(P / unit), unit = max P / top
    unit = working(p.amax(-1, keepdim=True)) / ((1 << bits) - 1)
    return pack_codes(round_codes(working(p) / unit, bits, "nearest"), bits), unit


def probabilities(kept: Kept, bits: int, shape: Sequence[int]) -> Float[Tensor, "*rows n"]:
    """Give back P of `shape`: q * unit, in the dtype of the units; or P itself."""
    if len(kept) == 1:
        return kept[0]
    packed, unit = kept
    if _triton.available(unit, bits, shape[-1]):
        from course_lib.s2a._triton_softmax import decode

        return decode(packed, unit, bits, shape[-1])
    return unpack_codes(packed, bits, shape).to(unit.dtype).mul_(unit)


def softmax_backward(
    grad: Float[Tensor, "*rows n"], p: Float[Tensor, "*rows n"]
) -> Float[Tensor, "*rows n"]:
    """Equation: dL/dS = P * (G - <G, P>)."""
    return torch.ops.aten._softmax_backward_data(grad, p, -1, p.dtype)


class CodedSoftmaxFunction(torch.autograd.Function):
    """Softmax over the last axis; keeps what `keep_probabilities` returns."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, bits: int) -> Tensor:
        """Save the code of the output."""
        ctx.bits = bits
        p, kept = softmax_and_kept(scores, bits)
        ctx.save_for_backward(*kept)
        return p

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Equation: dL/dS = P * (G - <G, P>)."""
        if _triton.available(grad, ctx.bits, grad.shape[-1]):
            from course_lib.s2a._triton_softmax import softmax_backward as fused_backward

            packed, unit = ctx.saved_tensors
            return fused_backward(grad, packed, unit, ctx.bits), None
        p = probabilities(ctx.saved_tensors, ctx.bits, grad.shape)
        return softmax_backward(grad.to(p.dtype), p).to(grad.dtype), None


def coded_softmax(scores: Shaped[Tensor, "*rows n"], bits: int = 4) -> Float[Tensor, "*rows n"]:
    """Softmax over the last axis, exact; its backward uses a code of the output.

    Kept for backward: `bits` for each element, in whole bytes, and 4 bytes for each row; 32 bits
    keep the output, as PyTorch does.
    Raises ValueError for integers or another width; in anomaly mode for NaN and infinity.
    """
    check_bits(bits)
    check_float(scores, "coded_softmax")
    if torch.is_grad_enabled() and scores.requires_grad:
        return CodedSoftmaxFunction.apply(scores, bits)
    return scores.softmax(-1)
