"""An activation whose derivative is a packed 0/1 mask: one bit kept per element.

Paper: Chiang et al., "MobileTL", AAAI 2023. Forward is exact, y = f(a). Backward is
dL/da = dL/dy * mask. There are two masks:

- "sign", the paper's: 1 where a >= 0. For h-swish and SiLU it is the 0/1 step nearest to the true
  derivative, which crosses 1/2 at a = 0. It is an approximation.
- "exact", not in the paper: 1 where 0 < a < 6 for ReLU6, 1 where a > 0 for ReLU. It costs one bit
  as well, and has no error. h-swish and SiLU do not have it.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from course_lib.lean import pack_bits, unpack_bits


Mask = Literal["sign", "exact"]
_FORWARD = {"relu": F.relu, "relu6": F.relu6, "hardswish": F.hardswish, "silu": F.silu}
_MODULES = {nn.ReLU: "relu", nn.ReLU6: "relu6", nn.Hardswish: "hardswish", nn.SiLU: "silu"}


def activation_kind(module: nn.Module) -> str:
    """Name of an activation module: "relu", "relu6", "hardswish" or "silu"; else ValueError."""
    for cls, kind in _MODULES.items():
        if type(module) is cls:
            return kind
    raise ValueError(
        f"MobileTL has no mask for the activation {type(module).__name__}; "
        f"it knows {', '.join(cls.__name__ for cls in _MODULES)}."
    )


def check_mask(kind: str, mask: str) -> None:
    """Raise ValueError if `kind` is unknown, or has no derivative mask of that name."""
    if kind not in _FORWARD:
        raise ValueError(f"Unknown activation {kind!r}; choose one of {', '.join(_FORWARD)}.")
    if mask not in ("sign", "exact"):
        raise ValueError(f'Unknown mask {mask!r}; choose "sign" (the paper) or "exact".')
    if mask == "exact" and kind in ("hardswish", "silu"):
        raise ValueError(
            f'mask="exact" does not exist for {kind}: its derivative is not 0 or 1, '
            'so one bit cannot hold it. Use mask="sign".'
        )


def derivative_mask(x: Float[Tensor, "*shape"], kind: str, mask: Mask) -> Bool[Tensor, "*shape"]:
    """Where backward lets the gradient through. NaN gives 0.

    The comparisons write floats, then one cast: on a CPU this is twice as fast as writing bools.
    """
    if mask == "exact" and kind == "relu6":
        step = F.threshold(x, 0, 6).lt_(6)  # a <= 0 becomes 6; what is below 6 is 0 < a < 6
    elif mask == "exact":
        step = torch.gt(x, 0, out=torch.empty_like(x))  # a > 0
    else:
        step = torch.ge(x, 0, out=torch.empty_like(x))  # a >= 0
    return step.to(torch.bool)


class MaskActFunction(torch.autograd.Function):
    """Exact forward, masked backward. Keeps the packed mask: ceil(n / 8) bytes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: str, mask: Mask, inplace: bool) -> Tensor:
        """Save the mask of x, then compute the activation, in the memory of x if `inplace`."""
        ctx.save_for_backward(pack_bits(derivative_mask(x, kind, mask)))
        if inplace:
            ctx.mark_dirty(x)
        return _FORWARD[kind](x, inplace=inplace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """Equation: dL/da = dL/dy * mask."""
        (packed,) = ctx.saved_tensors
        # A product with 0/1 bytes is faster on a CPU than torch.where with bools.
        kept = unpack_bits(packed, grad.shape).view(torch.uint8)
        return grad * kept, None, None, None


def mask_act(
    x: Shaped[Tensor, "*shape"], kind: str, mask: Mask = "exact", *, inplace: bool = False
) -> Float[Tensor, "*shape"]:
    """Apply the activation `kind` exactly; its backward multiplies by a packed 0/1 mask.

    Kept for backward: ceil(n / 8) bytes. `inplace` overwrites x, which nobody else may need.
    Raises ValueError for integers, an unknown activation, or a mask that it does not have.
    """
    check_mask(kind, mask)
    if not x.is_floating_point():
        raise ValueError(
            f"MaskAct takes a floating tensor, not {x.dtype}. Convert it with .float()."
        )
    if torch.is_grad_enabled() and x.requires_grad:
        return MaskActFunction.apply(x, kind, mask, inplace)
    return _FORWARD[kind](x, inplace=inplace)


class MaskAct(nn.Module):
    """`mask_act` as a module. kind: "relu", "relu6", "hardswish" or "silu"."""

    def __init__(self, kind: str, mask: Mask = "exact", *, inplace: bool = False) -> None:
        """Store the arguments; ValueError if the activation has no such mask."""
        super().__init__()
        check_mask(kind, mask)
        self.kind, self.inplace = kind, inplace
        self.mask: Mask = mask

    def forward(self, x: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """See `mask_act`."""
        return mask_act(x, self.kind, self.mask, inplace=self.inplace)

    def extra_repr(self) -> str:
        """Activation and mask."""
        return f"{self.kind}, mask={self.mask}"
