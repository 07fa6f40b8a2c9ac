"""S2A on convolutional networks: shift-only norms, frozen convolutions, coded activations.

Trained are the shifts of the norms, the biases of the convolutions, and the classifier. An
activation keeps its code: 1 bit for ReLU and ReLU6, which is exact, else `bits`.
"""

import copy
from collections import OrderedDict
from typing import Any

from timm.models import EfficientNet, MobileNetV3
from torch import nn

from course_lib.lean import ShiftNorm
from course_lib.s2a._activation import CodedActivation
from course_lib.s2a._frozen_conv import FrozenConv2d
from course_lib.s2a._rounding import EXACT


_NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU)


def is_cnn(model: nn.Module) -> bool:
    """Whether `model` is one of timm's MobileNets and EfficientNets."""
    return isinstance(model, (EfficientNet, MobileNetV3))


def convert_cnn(model: nn.Module, bits: int, choices: dict[str, Any]) -> nn.Module:
    """Copy a MobileNet or EfficientNet; replace its norms, convolutions and activations.

    `choices` go to `CodedActivation`. Kept for backward in an inverted residual block: see
    `cnn_block_bytes`; squeeze-and-excitation keeps its product as ever.
    Raises ValueError for a norm other than BatchNorm2d, or a missing classifier.
    """
    made: Any = copy.deepcopy(model)
    if not isinstance(made.classifier, nn.Linear):
        raise ValueError(
            "This network has no classifier. Create it with num_classes of at least 1."
        )
    made.requires_grad_(False)
    made.classifier.requires_grad_(True)
    _convert_children(made, bits, choices)
    return made


def _convert_children(module: nn.Module, bits: int, choices: dict[str, Any]) -> None:
    for name, child in module.named_children():
        if isinstance(child, _NORMS):
            norm = ShiftNorm.from_norm(child)
            act = getattr(child, "act", nn.Identity())
            act = _coded(act, bits, choices) if isinstance(act, _ACTIVATIONS) else act
            setattr(module, name, nn.Sequential(OrderedDict(norm=norm, act=act)))
        elif isinstance(child, nn.Conv2d):
            if child.bias is not None:
                child.bias.requires_grad_(True)
            setattr(module, name, FrozenConv2d(child))
        elif isinstance(child, _ACTIVATIONS):
            setattr(module, name, _coded(child, bits, choices))
        else:
            _convert_children(child, bits, choices)


def _coded(act: nn.Module, bits: int, choices: dict[str, Any]) -> nn.Module:
    return act if bits == EXACT else CodedActivation.from_module(act, bits, **choices)
