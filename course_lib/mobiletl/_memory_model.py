"""Memory of training on a device, by TinyTL's model of an ideal runtime.

Paper: Cai et al., "TinyTL", NeurIPS 2020. MobileTL's results seem to use it as their x-axis.
It is not what PyTorch allocates: a frozen layer keeps nothing, ReLU keeps bits, and a frozen
weight takes 8 bits.

memory = 4 * trained + 1 * frozen + batch * peak
peak   = max over layers of [kept by the layers before + this layer's input and output + residual]
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.lean import ShiftNorm
from course_lib.mobiletl._cut import CutNetwork
from course_lib.mobiletl._mask_act import MaskAct


_BITS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, MaskAct)
_SMOOTH = (nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.SiLU, nn.Tanh)
_WEIGHTED = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.GroupNorm)
_COUNTED = (*_BITS, *_SMOOTH, *_WEIGHTED, ShiftNorm)


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of weights, and of activations at the peak."""

    parameters: int
    activations: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.parameters + self.activations


def training_memory(network: CutNetwork, input_shape: tuple[int, int, int, int]) -> TrainingMemory:
    """Bytes that an ideal runtime needs for a training step; input_shape is (batch, C, H, W).

    Runs one picture forward in eval mode, then restores the mode.
    """
    batch, *picture = input_shape
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    frozen += sum(m.beta.numel() for m in network.modules() if isinstance(m, ShiftNorm))
    peak = _peak(network, torch.zeros(1, *picture))
    return TrainingMemory(4 * trained + frozen, batch * peak)


def _peak(network: CutNetwork, x: Tensor) -> int:
    """Bytes of activations at the peak, for one picture."""
    kept, residual, peak = 0, 0, 0
    trunk = set(network.trunk.modules())

    def enter_block(block: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal residual
        residual = _size(args[0])

    def leave_block(block: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
        nonlocal residual
        residual = 0

    def leave_layer(layer: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
        nonlocal kept, peak
        both = isinstance(layer, (nn.Conv2d, nn.Linear))
        peak = max(peak, kept + _size(args[0]) + _size(y) * both + residual)
        kept += 0 if layer in trunk else _kept(layer, args[0])

    hooks = []
    for module in network.modules():
        if getattr(module, "has_skip", False):
            hooks.append(module.register_forward_pre_hook(enter_block))
            hooks.append(module.register_forward_hook(leave_block))
        elif isinstance(module, _COUNTED):
            hooks.append(module.register_forward_hook(leave_layer))
    mode = network.training
    try:
        with torch.no_grad():
            network.eval()(x)
    finally:
        network.train(mode)
        for hook in hooks:
            hook.remove()
    return peak


def _kept(layer: nn.Module, x: Tensor) -> int:
    if isinstance(layer, _BITS):
        return -(-x.numel() // 8)
    if isinstance(layer, _SMOOTH):
        return _size(x)
    trained = isinstance(layer, _WEIGHTED) and layer.weight.requires_grad
    return _size(x) if trained else 0


def _size(x: Tensor) -> int:
    return 4 * x.numel()
