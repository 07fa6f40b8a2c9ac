"""Find the parts of timm's MobileNetV2, MobileNetV3 and EfficientNet-Lite, in forward order."""

from dataclasses import dataclass

from timm.models import EfficientNet, MobileNetV3
from timm.models._efficientnet_blocks import (
    ConvBnAct,
    DepthwiseSeparableConv,
    InvertedResidual,
    SqueezeExcite,
)
from torch import nn


@dataclass(frozen=True)
class Part:
    """One step of a network: its name in the original, the module, and its role."""

    name: str
    module: nn.Module
    role: str  # "stem", "block" or "head"


def inverted_residuals(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Name and module of every inverted residual block, first to last.

    Raises ValueError for a network that is not of the three families.
    """
    return [
        (part.name, part.module)
        for part in parts(model)
        if part.role == "block" and isinstance(part.module, InvertedResidual)
    ]


def parts(model: nn.Module) -> list[Part]:
    """Cut a timm network into steps that give the same output when run one after the other.

    A depthwise-separable first block counts as a block. A last block that is one convolution, as
    in MobileNetV3, belongs to the head. Raises ValueError for other networks.
    """
    if not isinstance(model, (EfficientNet, MobileNetV3)):
        raise ValueError(
            f"{type(model).__name__} is not a network of blocks that MobileTL knows. "
            "Use timm's mobilenetv2_*, mobilenetv3_* or *efficientnet_lite*."
        )
    found = [Part(name, getattr(model, name), "stem") for name in ("conv_stem", "bn1")]
    for i, stage in enumerate(model.blocks.children()):
        for j, block in enumerate(stage.children()):
            found.append(Part(f"blocks_{i}_{j}", block, _role(block)))
    names = ["conv_head", "bn2", "global_pool"]
    if isinstance(model, MobileNetV3):
        names = ["global_pool", "conv_head", "norm_head", "act2", "flatten"]
    found += [Part(name, getattr(model, name), "head") for name in names]
    if model.drop_rate > 0:
        found.append(Part("dropout", nn.Dropout(model.drop_rate), "head"))
    return [*found, Part("classifier", model.classifier, "head")]


def _role(block: nn.Module) -> str:
    if isinstance(block, ConvBnAct) and not block.has_skip:
        return "head"
    plain = isinstance(block, InvertedResidual) and block.conv_s2d is None
    if not (plain or isinstance(block, DepthwiseSeparableConv)):
        raise ValueError(
            f"MobileTL does not know blocks of type {type(block).__name__}. "
            "It converts inverted residual and depthwise-separable blocks."
        )
    return "block"


def inner_norms(block: nn.Module) -> tuple[str, ...]:
    """Names of the block's norms that an activation follows: all but a block's last norm."""
    names = ("bn1", "bn2") if isinstance(block, InvertedResidual) else ("bn1",)
    return tuple(name for name in names if not isinstance(getattr(block, name), nn.Identity))


def squeeze_width(block: nn.Module) -> int:
    """Hidden channels of the block's squeeze-and-excitation, 0 without one.

    Raises ValueError for another kind of attention.
    """
    se = getattr(block, "se", None)
    if se is None or isinstance(se, nn.Identity):
        return 0
    if not isinstance(se, SqueezeExcite):
        raise ValueError(
            f"The block has an attention of type {type(se).__name__}, not SqueezeExcite."
        )
    return se.conv_reduce.out_channels
