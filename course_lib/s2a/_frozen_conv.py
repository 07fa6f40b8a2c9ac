"""A convolution with a frozen weight that keeps no activation.

PyTorch's linear layer drops its input if its weight is frozen; its convolution keeps it all the
same. The gradients of the input and of the bias need no input:

    dL/dx = transposed convolution of g with the weight        dL/dbias = sum of g
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input


class FrozenConv2dFunction(torch.autograd.Function):
    """F.conv2d whose backward keeps the weight alone."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, how: dict[str, Any]
    ) -> Tensor:
        """Convolve; remember the shape of x."""
        ctx.save_for_backward(weight)
        ctx.shape, ctx.how = x.shape, how
        return F.conv2d(x, weight, bias, **how)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Equations: dL/dx = transposed convolution of g, dL/dbias = sum of g."""
        (weight,) = ctx.saved_tensors
        for_x = for_bias = None
        if ctx.needs_input_grad[0]:
            for_x = conv2d_input(ctx.shape, weight, grad, **ctx.how)
        if ctx.needs_input_grad[2]:
            for_bias = grad.sum((0, 2, 3))
        return for_x, None, for_bias, None


class FrozenConv2d(nn.Module):
    """An nn.Conv2d, or timm's Conv2dSame, whose weight is frozen; the bias may be trained.

    Kept for backward: nothing but the weight.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        """Take over the parameters; ValueError for other convolutions, or a trained weight."""
        super().__init__()
        if type(conv) not in (nn.Conv2d, Conv2dSame) or conv.padding_mode != "zeros":
            raise ValueError(f"FrozenConv2d takes a Conv2d that pads with zeros, not {conv}.")
        if conv.weight.requires_grad:
            raise ValueError("Freeze the convolution first: conv.weight.requires_grad_(False).")
        self.weight, self.bias = conv.weight, conv.bias
        self.how = {
            "stride": conv.stride,
            "padding": conv.padding,
            "dilation": conv.dilation,
            "groups": conv.groups,
        }
        self.same = isinstance(conv, Conv2dSame)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch out height2 width2"]:
        """Convolve with the frozen weight."""
        if self.same:  # as in TensorFlow: what is missing, half on each side
            how = self.how
            x = pad_same(x, list(self.weight.shape[-2:]), how["stride"], how["dilation"])
        return FrozenConv2dFunction.apply(x, self.weight, self.bias, self.how)

    def extra_repr(self) -> str:
        """Sizes."""
        out, channels, *kernel = self.weight.shape
        return f"{channels * self.how['groups']}, {out}, kernel_size={tuple(kernel)}"
