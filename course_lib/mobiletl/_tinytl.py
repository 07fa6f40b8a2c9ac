"""The lite residual branch of TinyTL, the method that MobileTL is compared with.

Paper: Cai et al., "TinyTL", NeurIPS 2020. Beside each frozen block runs a small branch at half the
resolution: pool, group convolution, norm, ReLU, 1x1 convolution, norm, upsample. The last norm's
scale starts at 0, so at first the branch adds nothing. In the paper the backbone is pretrained
with its branches; here they start random (the paper's "RandomL").
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


_GROUPS = 2
_CHANNELS_PER_NORM_GROUP = 8


def standardize(
    weight: Float[Tensor, "out in kh kw"], eps: float = 1e-5
) -> Float[Tensor, "out in kh kw"]:
    """Give each output channel's weights mean 0 and standard deviation 1."""
    centered = weight - weight.mean(dim=(1, 2, 3), keepdim=True)
    return centered / (centered.flatten(1).std(dim=1).view(-1, 1, 1, 1) + eps)


class StandardizedConv2d(nn.Conv2d):
    """A convolution that standardizes its weight in each forward pass."""

    def forward(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        """Convolve with `standardize(weight)`."""
        return self._conv_forward(x, standardize(self.weight), self.bias)


class LiteResidual(nn.Module):
    """The branch beside a block of `channels` -> `out_channels`, stride `stride`.

    `size` is the side of the block's input in pixels. If it pools to one pixel, the pooling is
    global and the kernel 1; else the kernel is the largest odd one that fits, at most 5.
    """

    def __init__(self, channels: int, out_channels: int, stride: int, size: int) -> None:
        """Build the branch; the scale of its last norm is 0."""
        super().__init__()
        pooled = size // 2
        kernel = min(5, pooled - 1 + pooled % 2) if pooled > 1 else 1
        width = max(8, round(channels / 8) * 8)
        self.pool = nn.AvgPool2d(2) if pooled > 1 else nn.AdaptiveAvgPool2d(1)
        self.conv_group = StandardizedConv2d(
            channels, width, kernel, stride, kernel // 2, groups=_GROUPS, bias=False
        )
        self.norm1 = _group_norm(width)
        self.conv_point = StandardizedConv2d(width, out_channels, 1, bias=False)
        self.norm2 = _group_norm(out_channels)
        nn.init.zeros_(self.norm2.weight)

    def forward(
        self, x: Float[Tensor, "batch channels h w"], size: torch.Size
    ) -> Float[Tensor, "batch out_channels h2 w2"]:
        """Compute the branch and upsample it to `size`, (height, width) in pixels."""
        x = F.relu(self.norm1(self.conv_group(self.pool(x))))
        x = self.norm2(self.conv_point(x))
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class WithLiteResidual(nn.Module):
    """A block plus its lite residual: block(x) + lite(x)."""

    def __init__(self, block: nn.Module, lite: LiteResidual) -> None:
        """Store both."""
        super().__init__()
        self.block, self.lite = block, lite

    def forward(
        self, x: Float[Tensor, "batch channels h w"]
    ) -> Float[Tensor, "batch out_channels h2 w2"]:
        """Add the branch to the block's output."""
        y = self.block(x)
        return y + self.lite(x, y.shape[-2:])


def _group_norm(channels: int) -> nn.GroupNorm:
    groups = channels // _CHANNELS_PER_NORM_GROUP
    return nn.GroupNorm(groups if channels % _CHANNELS_PER_NORM_GROUP == 0 else 1, channels)
