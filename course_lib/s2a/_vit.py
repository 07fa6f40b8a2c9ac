"""What timm's vision transformers have in common: their blocks, their head, a frozen copy."""

import copy
from typing import Any

from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn


HEADS = ("head", "head_dist")  # DeiT's distilled variants have two


def frozen_copy(model: nn.Module) -> Any:
    """Copy a timm ViT or DeiT; only the copy's classifier requires gradients.

    Raises ValueError for another network, another kind of block, or a missing classifier.
    """
    if not isinstance(model, VisionTransformer) or not all(
        type(block) is Block for block in model.blocks
    ):
        raise ValueError(
            f"{type(model).__name__} is not a network of plain transformer blocks. "
            "Use timm's vit_* or deit_* models."
        )
    if model.num_classes < 1:
        raise ValueError(
            "This network has no classifier. Create it with num_classes of at least 1."
        )
    made = copy.deepcopy(model)
    made.requires_grad_(False)
    for name in HEADS:
        if hasattr(made, name):
            getattr(made, name).requires_grad_(True)
    return made


def blocks_of(model: Any) -> list[Any]:
    """The transformer blocks, first to last."""
    return list(model.blocks)


def train_biases(module: nn.Module) -> None:
    """Unfreeze every parameter named bias: of linear layers, of norms, of the patch embedding."""
    for name, parameter in module.named_parameters():
        if name.rsplit(".", 1)[-1] == "bias":
            parameter.requires_grad_(True)


def like(made: nn.Module, model: nn.Module) -> nn.Module:
    """Move what was added to `made` to the device and the dtype of `model`."""
    first = next(model.parameters())
    return made.to(first.device, first.dtype)


def tokens_of(model: Any) -> int:
    """N, the number of tokens that the blocks see: patches, class token and others."""
    return model.patch_embed.num_patches + model.num_prefix_tokens
