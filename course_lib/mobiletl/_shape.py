"""The numbers of one block that its memory depends on."""

from dataclasses import dataclass
from typing import Any

from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from torch import nn

from course_lib.mobiletl._blocks import squeeze_width
from course_lib.mobiletl._mask_act import MaskAct, activation_kind, check_mask


@dataclass(frozen=True)
class BlockShape:
    """Sizes of a block: expand to `expanded` channels, depthwise, project to `out_channels`.

    `same_padding` is TensorFlow's: with stride 2 the map is copied into a larger one first. With
    `expands=False` the first convolution is missing: a depthwise-separable block.
    Raises ValueError for a size below 1 or an unknown activation.
    """

    batch: int
    channels: int
    expanded: int
    height: int  # pixels, of the input
    width: int
    out_channels: int
    stride: int = 1
    kernel: int = 3
    activation: str = "relu6"  # or "relu", "hardswish", "silu"
    squeeze: int = 0  # hidden channels of squeeze-and-excitation; 0 is none
    same_padding: bool = False
    expands: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes that no block has."""
        check_mask(self.activation, "sign")
        sizes = {n: v for n, v in vars(self).items() if type(v) is int and n != "squeeze"}
        wrong = [f"{name}={value}" for name, value in sizes.items() if value < 1]
        if wrong or self.squeeze < 0:
            raise ValueError(f"A block's sizes are at least 1: {', '.join(wrong) or self.squeeze}.")

    @property
    def pixels(self) -> int:
        """P, pixels of the input map."""
        return self.height * self.width

    @property
    def out_pixels(self) -> int:
        """P', pixels after the depthwise convolution."""
        return _ceil(self.height, self.stride) * _ceil(self.width, self.stride)

    @property
    def padded_pixels(self) -> int:
        """Pixels of the map that the depthwise convolution keeps: P, or more with a padded copy."""
        if not self.copies_padding:
            return self.pixels
        return self._padded(self.height) * self._padded(self.width)

    @property
    def copies_padding(self) -> bool:
        """Whether a padded copy is the depthwise convolution's input."""
        return self.same_padding and self.stride > 1

    def _padded(self, side: int) -> int:
        return max((_ceil(side, self.stride) - 1) * self.stride + self.kernel, side)


def block_shape(block: nn.Module, input_shape: tuple[int, int, int, int]) -> BlockShape:
    """Read the shape of timm's block, converted or not; input_shape is (batch, C, H, W).

    Raises ValueError for another kind of block, or channels that are not the block's.
    """
    if not isinstance(block, (InvertedResidual, DepthwiseSeparableConv)):
        raise ValueError(f"{type(block).__name__} is not an inverted residual block of timm.")
    expands = isinstance(block, InvertedResidual)
    first: Any = block.conv_pw if expands else block.conv_dw
    last: Any = block.conv_pwl if expands else block.conv_pw
    depthwise: Any = block.conv_dw
    batch, channels, height, width = input_shape
    if channels != first.in_channels:
        raise ValueError(f"The block takes {first.in_channels} channels, not {channels}.")
    return BlockShape(
        batch=batch,
        channels=channels,
        expanded=depthwise.out_channels,
        height=height,
        width=width,
        out_channels=last.out_channels,
        stride=depthwise.stride[0],
        kernel=depthwise.kernel_size[0],
        activation=_activation(block),
        squeeze=squeeze_width(block),
        # timm's Conv2dSame pads by itself, so its own padding is 0.
        same_padding=depthwise.kernel_size[0] > 1 and depthwise.padding[0] == 0,
        expands=expands,
    )


def _activation(block: nn.Module) -> str:
    norm: Any = block.bn1
    act = norm.act
    return act.kind if isinstance(act, MaskAct) else activation_kind(act)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
