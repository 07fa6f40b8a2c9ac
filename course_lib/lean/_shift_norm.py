"""A normalization that trains only its shift, and keeps no activation for backward.

Paper: Chiang et al., "MobileTL", AAAI 2023. Forward: x_bar = s * x + (beta - s * mu), where
s = gamma / sqrt(var + eps) is a constant. Backward: dL/dbeta = sum of g, dL/dx = s * g. Neither
needs x. The folded s stays apart from the convolution's weight: folding changes what Adam does.

The forward is PyTorch's own batch_norm in evaluation, so that it rounds as the original network
does: a mask taken of its output has the same bits.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class ShiftNormFunction(torch.autograd.Function):
    """Frozen batch norm whose backward keeps the vectors gamma and var, no map."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, mu: Tensor, var: Tensor, beta: Tensor, eps: float
    ) -> Tensor:
        """Equation: x_bar = s * x + (beta - s * mu)."""
        ctx.save_for_backward(gamma, var)
        ctx.eps = eps
        return F.batch_norm(x, mu, var, gamma, beta, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Equations: dL/dx = s * g, dL/dbeta = sum of g over batch and pixels."""
        gamma, var = ctx.saved_tensors
        s = gamma * torch.rsqrt(var + ctx.eps)
        for_x = grad * s.to(grad.dtype).view(-1, 1, 1) if ctx.needs_input_grad[0] else None
        for_beta = grad.sum(0, dtype=gamma.dtype).sum((1, 2)) if ctx.needs_input_grad[4] else None
        return for_x, None, None, None, for_beta, None


def shift_norm(
    x: Shaped[Tensor, "*input"],
    gamma: Float[Tensor, " channels"],
    mu: Float[Tensor, " channels"],
    var: Float[Tensor, " channels"],
    beta: Float[Tensor, " channels"],
    eps: float = 1e-5,
) -> Float[Tensor, "*input"]:
    """Scale by s = gamma / sqrt(var + eps), shift by the trained beta: s * x + (beta - s * mu).

    x is (batch, channels, height, width). Constants: gamma, mu and var. Kept for backward: two
    of these vectors, no map.
    Raises ValueError if x is not a floating tensor of 4 axes, or its channels do not fit.
    """
    if not x.is_floating_point() or x.ndim != 4 or x.shape[1] != gamma.shape[0]:
        raise ValueError(
            f"This ShiftNorm takes floats of shape (batch, {gamma.shape[0]}, height, width), "
            f"not {x.dtype} of shape {tuple(x.shape)}."
        )
    return ShiftNormFunction.apply(x, gamma, mu, var, beta, eps)


class ShiftNorm(nn.Module):
    """`shift_norm` with buffers gamma, mu, var and the parameter beta, each (channels,)."""

    gamma: Tensor
    mu: Tensor
    var: Tensor

    def __init__(
        self,
        gamma: Float[Tensor, " channels"],
        mu: Float[Tensor, " channels"],
        var: Float[Tensor, " channels"],
        beta: Float[Tensor, " channels"],
        eps: float = 1e-5,
    ) -> None:
        """Copy the four vectors."""
        super().__init__()
        for name, vector in {"gamma": gamma, "mu": mu, "var": var}.items():
            self.register_buffer(name, vector.detach().clone())
        self.beta = nn.Parameter(beta.detach().clone())
        self.eps = eps

    @classmethod
    def from_norm(cls, norm: nn.Module) -> "ShiftNorm":
        """Freeze the scale and the running statistics of a BatchNorm, keep its shift trainable.

        Raises ValueError for a norm without running statistics or without scale and shift.
        """
        if not isinstance(norm, nn.BatchNorm2d):
            raise ValueError(
                f"ShiftNorm freezes running statistics, and {type(norm).__name__} has none. "
                "Use a network with BatchNorm2d."
            )
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError(
                "This BatchNorm has no running statistics. "
                "Build and pretrain it with track_running_stats=True."
            )
        if not norm.affine:
            raise ValueError("This BatchNorm has no scale and shift. Build it with affine=True.")
        return cls(norm.weight, norm.running_mean, norm.running_var, norm.bias, norm.eps)

    def forward(self, x: Shaped[Tensor, "*input"]) -> Float[Tensor, "*input"]:
        """See `shift_norm`."""
        return shift_norm(x, self.gamma, self.mu, self.var, self.beta, self.eps)

    def extra_repr(self) -> str:
        """Number of channels."""
        return f"{self.beta.shape[0]}"
