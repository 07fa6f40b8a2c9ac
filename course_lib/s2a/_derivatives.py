"""The element-wise functions of S2A: forward, derivative, and the range of the derivative.

The derivative of an activation has a small range [m, M] that is known before any input is seen;
the input has none. Each derivative is PyTorch's own backward kernel with the gradient set to a
constant, so coded and exact backward start from the same numbers.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


_ATEN = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """An element-wise function. `backward(g, source)` is g * f', fused."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]
    from_output: bool = False  # the source of the derivative is the output, not the input
    is_step: bool = False  # the derivative is 0 or 1: one bit holds it without an error


ACTIVATIONS = {
    "gelu": Activation(F.gelu, lambda g, x: _ATEN.gelu_backward(g, x)),
    "gelu_tanh": Activation(
        functools.partial(F.gelu, approximate="tanh"),
        lambda g, x: _ATEN.gelu_backward(g, x, approximate="tanh"),
    ),
    "silu": Activation(F.silu, lambda g, x: _ATEN.silu_backward(g, x)),
    "hardswish": Activation(F.hardswish, lambda g, x: _ATEN.hardswish_backward(g, x)),
    "sigmoid": Activation(
        torch.sigmoid, lambda g, y: _ATEN.sigmoid_backward(g, y), from_output=True
    ),
    "tanh": Activation(torch.tanh, lambda g, y: _ATEN.tanh_backward(g, y), from_output=True),
    "relu": Activation(F.relu, lambda g, x: g * (x > 0), is_step=True),
    "relu6": Activation(F.relu6, lambda g, x: g * ((x > 0) & (x < 6)), is_step=True),
}
_MODULES = {
    nn.SiLU: "silu",
    nn.Hardswish: "hardswish",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
}


def activation_of(kind: str) -> Activation:
    """Look up an activation by name; ValueError if S2A does not know it."""
    if kind not in ACTIVATIONS:
        raise ValueError(f"Unknown activation {kind!r}; choose one of {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[kind]


def kind_of(module: nn.Module) -> str:
    """Name of an activation module, such as "gelu" for nn.GELU; ValueError for others."""
    if type(module) is nn.GELU:
        return "gelu" if module.approximate == "none" else "gelu_tanh"
    if type(module) not in _MODULES:
        known = ", ".join(["GELU", *(cls.__name__ for cls in _MODULES)])
        raise ValueError(f"S2A has no code for {type(module).__name__}; it knows {known}.")
    return _MODULES[type(module)]


def scaled_derivative(
    source: Float[Tensor, "*shape"], kind: str, scale: float = 1.0
) -> Float[Tensor, "*shape"]:
    """Return scale * f' in one pass, in fresh memory of the dtype of `source`.

    `source` is the input; for sigmoid and tanh it is the output.
    """
    constant = torch.full((), scale, dtype=source.dtype, device=source.device)
    return activation_of(kind).backward(constant.expand_as(source), source)


@functools.cache
def derivative_range(kind: str) -> tuple[float, float]:
    """Smallest and largest value m, M of f' over all inputs, right to 1e-8.

    They are read off a fine grid: all turning points lie between -6 and 6. h-swish jumps at -3
    and 3, so each point has a neighbor just inside.
    """
    x = torch.arange(-6 << 14, (6 << 14) + 1, dtype=torch.float64) / (1 << 14)
    x = torch.cat([x, torch.nextafter(x, torch.zeros_like(x))])
    source = activation_of(kind).forward(x) if activation_of(kind).from_output else x
    derivative = scaled_derivative(source, kind)
    # Each f' goes to 0 at the left; sigmoid and tanh do not get there on the grid.
    return min(derivative.min().item(), 0.0), derivative.max().item()
