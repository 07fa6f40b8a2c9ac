"""A normalization that trains only its shift, and keeps no activation for backward.

Paper: Chiang et al., "MobileTL", AAAI 2023. Forward: x_bar = s * x + (beta - s * mu), where
s = gamma / sqrt(var + eps) is a constant. Backward: dL/dbeta = sum of g, dL/dx = s * g. Neither
needs x. The folded s stays apart from the convolution's weight: folding changes what Adam does.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn


def shift_norm(
    x: Shaped[Tensor, "*input"],
    s: Float[Tensor, " channels"],
    mu: Float[Tensor, " channels"],
    beta: Float[Tensor, " channels"],
) -> Float[Tensor, "*input"]:
    """Scale by the constant s, shift by the trained beta: s * x + (beta - s * mu).

    x is (batch, channels, height, width). Kept for backward: the vector s alone, no map.
    Raises ValueError if x is not a floating tensor of 4 axes, or its channels do not fit.
    """
    if not x.is_floating_point() or x.ndim != 4 or x.shape[1] != s.shape[0]:
        raise ValueError(
            f"This ShiftNorm takes floats of shape (batch, {s.shape[0]}, height, width), "
            f"not {x.dtype} of shape {tuple(x.shape)}."
        )
    # x_bar = s * x + (beta - s * mu)
    shift = torch.addcmul(beta, s, mu, value=-1)
    return torch.addcmul(shift.to(x.dtype).view(-1, 1, 1), x, s.to(x.dtype).view(-1, 1, 1))


class ShiftNorm(nn.Module):
    """`shift_norm` with buffers s and mu, and the parameter beta; each of shape (channels,)."""

    s: Tensor
    mu: Tensor

    def __init__(
        self,
        s: Float[Tensor, " channels"],
        mu: Float[Tensor, " channels"],
        beta: Float[Tensor, " channels"],
    ) -> None:
        """Copy the three vectors."""
        super().__init__()
        self.register_buffer("s", s.detach().clone())
        self.register_buffer("mu", mu.detach().clone())
        self.beta = nn.Parameter(beta.detach().clone())

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
        # s = gamma / sqrt(var + eps), in the order in which PyTorch's batch_norm rounds it
        s = (1 / torch.sqrt(norm.running_var + norm.eps)) * norm.weight
        return cls(s, norm.running_mean, norm.bias)

    def forward(self, x: Shaped[Tensor, "*input"]) -> Float[Tensor, "*input"]:
        """See `shift_norm`."""
        return shift_norm(x, self.s, self.mu, self.beta)

    def extra_repr(self) -> str:
        """Number of channels."""
        return f"{self.s.shape[0]}"
