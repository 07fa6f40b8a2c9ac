"""Convert a pretrained network to MobileTL: freeze the trunk, replace norms and masks on top."""

import copy
from collections import OrderedDict
from typing import Literal, cast

from timm.layers.norm_act import BatchNormAct2d
from timm.models._efficientnet_blocks import ConvBnAct
from torch import nn

from course_lib.lean import ShiftNorm
from course_lib.mobiletl._blocks import Part, inner_norms, parts
from course_lib.mobiletl._cut import CutNetwork
from course_lib.mobiletl._mask_act import Mask, MaskAct, activation_kind


def apply(
    model: nn.Module,
    *,
    blocks: int,
    mask: Mask = "exact",
    head: Literal["ordinary", "converted"] = "ordinary",
) -> CutNetwork:
    """Return a copy of `model` whose top `blocks` blocks and head are trained with MobileTL.

    In each block the inner norms become `ShiftNorm`, their activations `MaskAct`; convolutions,
    squeeze-and-excitation and the last norm stay and are trained. `head="converted"` does the
    same to the norm and the activation after the last block. Bytes kept: see `saved_bytes`.
    Raises ValueError for a network, number of blocks, activation or mask that does not fit.
    Source: Chiang et al., AAAI 2023.
    """
    if head not in ("ordinary", "converted"):
        raise ValueError(f'head is "ordinary" or "converted", not {head!r}.')
    trunk, top = cut(copy.deepcopy(model), blocks)
    converted = [
        _convert(part, mask) if part.role == "block" or head == "converted" else part
        for part in top
    ]
    for part in converted:
        part.module.requires_grad_(True)
    return CutNetwork(trunk, converted)


def cut(model: nn.Module, blocks: int) -> tuple[list[Part], list[Part]]:
    """Split the parts of `model` before its top `blocks` blocks; ValueError if there are fewer."""
    steps = parts(model)
    where = [i for i, part in enumerate(steps) if part.role == "block"]
    if isinstance(blocks, bool) or not isinstance(blocks, int) or not 1 <= blocks <= len(where):
        raise ValueError(
            f"blocks={blocks!r}: this network has {len(where)} blocks, so choose 1 to {len(where)}."
        )
    return steps[: where[-blocks]], steps[where[-blocks] :]


def convert_block(block: nn.Module, mask: Mask = "exact") -> nn.Module:
    """Replace, in place, the block's inner norms and activations; return the block.

    A depthwise-separable block has one inner norm, an inverted residual block has two.
    Raises ValueError for a block without any, or whose norm or activation cannot be replaced.
    """
    names = inner_norms(block)
    if not names:
        raise ValueError(
            f"This {type(block).__name__} has no norm followed by an activation to replace."
        )
    for name in names:
        setattr(block, name, convert_norm(getattr(block, name), mask))
    return block


def convert_norm(norm: nn.Module, mask: Mask = "exact") -> nn.Sequential:
    """Turn timm's norm with activation into ShiftNorm, then MaskAct in the memory of its output."""
    shift = ShiftNorm.from_norm(norm)
    if not isinstance(norm, BatchNormAct2d):
        raise ValueError("This BatchNorm has no activation. Use timm's BatchNormAct2d.")
    kind = activation_kind(cast(nn.Module, norm.act))
    return nn.Sequential(OrderedDict(norm=shift, act=MaskAct(kind, mask, inplace=True)))


def _convert(part: Part, mask: Mask) -> Part:
    module = part.module
    if part.role == "block" or isinstance(module, ConvBnAct):
        module = convert_block(module, mask)
    elif isinstance(module, BatchNormAct2d):
        module = convert_norm(module, mask)
    elif part.name == "act2":
        module = MaskAct(activation_kind(module), mask)
    return Part(part.name, module, part.role)
