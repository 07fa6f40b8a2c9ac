"""LayerNorm with a frozen scale that keeps its normalized input in a few bits.

Course definition; the paper says no more than that such activations are coded. Kept are x_hat
with the minimum and maximum of each token, and 1/sigma. Backward, with a bar for the mean over
the features: dL/dx = (gamma g - mean(gamma g) - x_hat * mean(gamma g x_hat)) / sigma.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from course_lib.s2a import _triton
from course_lib.s2a._groups import decode_rows, encode_rows
from course_lib.s2a._rounding import EXACT, check_bits, check_float, working


class CodedLayerNormFunction(torch.autograd.Function):
    """LayerNorm over the last axis; keeps a code of x_hat, and 1/sigma."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, bits: int
    ) -> Tensor:
        """Save what dL/dx needs, unless x needs no gradient: the shift's needs nothing."""
        ctx.bits = bits
        features = x.shape[-1:]
        if ctx.needs_input_grad[0] and _triton.available(x, bits, x.shape[-1]):
            from course_lib.s2a._triton_layer_norm import layer_norm_forward

            y, kept = layer_norm_forward(x, weight, bias, eps, bits)
            ctx.save_for_backward(weight, *kept)
            return y
        if ctx.needs_input_grad[0]:
            x_hat, _, rstd = torch.native_layer_norm(working(x), features, None, None, eps)
            kept = (x_hat,) if bits == EXACT else encode_rows(x_hat, bits)
            ctx.save_for_backward(weight, rstd, *kept)
        return F.layer_norm(x, features, weight, bias, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Equations: dL/dx as above, dL/dbias = sum of g over all tokens."""
        for_x = for_bias = None
        if ctx.needs_input_grad[0]:
            for_x = _for_input(grad, ctx.bits, *ctx.saved_tensors)
        if ctx.needs_input_grad[2]:
            for_bias = grad.flatten(0, -2).sum(0)  # (*tokens, features) -> (features,)
        return for_x, None, for_bias, None, None


def _for_input(
    grad: Tensor, bits: int, weight: Tensor | None, rstd: Tensor, *kept: Tensor
) -> Tensor:
    if _triton.available(grad, bits, grad.shape[-1]):
        from course_lib.s2a._triton_layer_norm import layer_norm_backward

        return layer_norm_backward(grad, weight, (rstd, kept[0], kept[1]), bits)
    x_hat = kept[0] if bits == EXACT else decode_rows((kept[0], kept[1]), bits, grad.shape)
    g = grad.to(x_hat.dtype)
    if weight is not None:
        g = g * weight.to(g.dtype)
    along = (g * x_hat).mean(-1, keepdim=True)
    # Equation: (gamma g - mean(gamma g) - x_hat * mean(gamma g x_hat)) / sigma
    for_x = (g - g.mean(-1, keepdim=True)).addcmul_(x_hat, along, value=-1).mul_(rstd)
    return for_x.to(grad.dtype)


def coded_layer_norm(
    x: Shaped[Tensor, "*input"],
    weight: Float[Tensor, " features"] | None,
    bias: Float[Tensor, " features"] | None,
    eps: float = 1e-5,
    bits: int = 4,
) -> Float[Tensor, "*input"]:
    """Normalize each token over its features, scale by the frozen `weight`, shift by `bias`.

    x is (*tokens, features). Forward is exact. Kept for backward: `bits` for each element, in
    whole bytes, and 12 bytes for each token; 32 bits keep 4 bytes for each element and token. If x
    needs no gradient: nothing.
    Raises ValueError if `weight` requires a gradient, which would need x_hat in full, if the
    features do not fit, for integers or another width; in anomaly mode for NaN and infinity.
    """
    check_bits(bits)
    check_float(x, "coded_layer_norm")
    if weight is not None and weight.requires_grad:
        raise ValueError(
            "The scale of a coded LayerNorm is frozen, because its gradient needs the input in "
            "full: call weight.requires_grad_(False) first."
        )
    for name, vector in {"weight": weight, "bias": bias}.items():
        if vector is not None and (x.ndim == 0 or vector.shape != x.shape[-1:]):
            raise ValueError(
                f"x of shape {tuple(x.shape)} does not end in the {vector.numel()} features of "
                f"the {name}."
            )
    trained = x.requires_grad or (bias is not None and bias.requires_grad)
    if torch.is_grad_enabled() and trained:
        return CodedLayerNormFunction.apply(x, weight, bias, eps, bits)
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


class CodedLayerNorm(nn.Module):
    """`coded_layer_norm` with the parameters and names of an nn.LayerNorm."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        weight: nn.Parameter | None,
        bias: nn.Parameter | None,
        eps: float = 1e-5,
        bits: int = 4,
    ) -> None:
        """Keep the given parameters, each (features,), not copies; the weight must be frozen."""
        super().__init__()
        check_bits(bits)
        self.weight, self.bias = weight, bias
        self.eps, self.bits = eps, bits

    @classmethod
    def from_norm(cls, norm: nn.Module, bits: int = 4) -> "CodedLayerNorm":
        """Take over the parameters of an nn.LayerNorm over one axis, whose scale is frozen.

        Raises ValueError for other norms, and if the scale is not frozen.
        """
        if not isinstance(norm, nn.LayerNorm) or len(norm.normalized_shape) != 1:
            raise ValueError(f"S2A codes an nn.LayerNorm over the last axis, not {norm}.")
        if norm.weight is not None and norm.weight.requires_grad:
            raise ValueError("Freeze the scale first: norm.weight.requires_grad_(False).")
        return cls(norm.weight, norm.bias, norm.eps, bits)

    def forward(self, x: Shaped[Tensor, "*tokens features"]) -> Float[Tensor, "*tokens features"]:
        """See `coded_layer_norm`."""
        return coded_layer_norm(x, self.weight, self.bias, self.eps, self.bits)

    def extra_repr(self) -> str:
        """Width of the code."""
        return f"bits={self.bits}"
