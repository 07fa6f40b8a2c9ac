"""The methods that MobileTL is compared with, each one a choice of what to train.

"ft_all"            every parameter
"ft_blocks"         the top k blocks and the head, with plain autograd; the trunk keeps nothing
"last_layer"        the classifier
"norm_last"         scale and shift of every norm, and the classifier
"tinytl_bias"       every parameter named bias, and the classifier
"tinytl_lite"       a lite residual beside every block, and the classifier
"tinytl_lite_bias"  both; a lite residual's last shift is frozen, as the block has one
"""

import copy
from dataclasses import replace

import torch
from timm.models._efficientnet_blocks import InvertedResidual
from torch import nn

from course_lib.mobiletl._apply import cut
from course_lib.mobiletl._blocks import Part, parts
from course_lib.mobiletl._cut import CutNetwork
from course_lib.mobiletl._tinytl import LiteResidual, WithLiteResidual


_METHODS = (
    "ft_all",
    "ft_blocks",
    "last_layer",
    "norm_last",
    "tinytl_bias",
    "tinytl_lite",
    "tinytl_lite_bias",
)
_WITH_BLOCKS = _METHODS[1:2] + _METHODS[3:]


def baseline(
    model: nn.Module, method: str, *, blocks: int | None = None, image_size: int = 224
) -> CutNetwork:
    """Return a copy of `model` that trains what `method` trains; the list is in this module.

    `blocks` cuts the network as `apply` does: below its top k blocks nothing is trained or kept.
    Without it the whole network takes part, as in the papers. `image_size`, in pixels, fits the
    kernels of the lite residuals. A norm whose scale is frozen keeps its running statistics.
    Raises ValueError for an unknown method, or blocks that do not fit the method or the network.
    Sources: Chiang et al., AAAI 2023, and Cai et al., NeurIPS 2020.
    """
    if method not in _METHODS:
        raise ValueError(f"Unknown baseline {method!r}; choose one of {', '.join(_METHODS)}.")
    if method == "ft_blocks" and blocks is None:
        raise ValueError('baseline(model, "ft_blocks") needs blocks=k, the number of top blocks.')
    if blocks is not None and method not in _WITH_BLOCKS:
        raise ValueError(f"{method!r} does not take blocks; remove blocks={blocks}.")
    model = copy.deepcopy(model)
    if method == "last_layer":
        steps = parts(model)
        return _trained(steps[:-1], steps[-1:])
    trunk, top = cut(model, blocks) if blocks is not None else ([], parts(model))
    if method in ("ft_all", "ft_blocks"):
        return _trained(trunk, top)
    for part in top:
        part.module.requires_grad_(part.name == "classifier")
        if method == "norm_last":
            _train_norms(part.module)
        if method in ("tinytl_bias", "tinytl_lite_bias"):
            _train_biases(part.module)
    if method in ("tinytl_lite", "tinytl_lite_bias"):
        top = _add_lite(model, trunk, top, image_size, last_shift=method == "tinytl_lite")
    return CutNetwork(trunk, top)


def _trained(trunk: list[Part], top: list[Part]) -> CutNetwork:
    for part in top:
        part.module.requires_grad_(True)
    return CutNetwork(trunk, top)


def _train_norms(module: nn.Module) -> None:
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.requires_grad_(True)


def _train_biases(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if name.rsplit(".", 1)[-1] == "bias":
            parameter.requires_grad_(True)


def _add_lite(
    model: nn.Module, trunk: list[Part], top: list[Part], image_size: int, last_shift: bool
) -> list[Part]:
    """Put a lite residual beside each inverted residual block of the top."""
    device = next(model.parameters()).device
    x = torch.zeros(1, 3, image_size, image_size, device=device)
    grown = []
    with torch.no_grad():
        for part in [*trunk, *top]:
            y = part.module.eval()(x)
            if part in top and isinstance(part.module, InvertedResidual):
                stride = 1 if y.shape[-1] == x.shape[-1] else 2
                lite = LiteResidual(x.shape[1], y.shape[1], stride, x.shape[-1]).to(device)
                lite.norm2.bias.requires_grad_(last_shift)
                grown.append(replace(part, module=WithLiteResidual(part.module, lite)))
            elif part in top:
                grown.append(part)
            x = y
    return grown
