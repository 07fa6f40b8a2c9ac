"""Gradients of S2A's coded functions, and of what they stand for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.s2a import _triton, coded_activation
from course_lib.s2a._derivatives import ACTIVATIONS


SMOOTH = [kind for kind, activation in ACTIVATIONS.items() if not activation.is_step]
WIDTHS = [1, 2, 4, 8]


def relative(got: Tensor, want: Tensor) -> float:
    return ((got - want).norm() / want.norm()).item()


def assert_same_output(got: Tensor, want: Tensor) -> None:
    """The same bits; of a fused kernel the last ones may differ, as it sums in another order."""
    close = 1e-6 if _triton.interpreted() else 0.0
    torch.testing.assert_close(got, want, rtol=close, atol=close)


def gradients(
    function: Callable[..., Tensor], *tensors: Tensor, seed: int = 1
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Output and gradients of a made-up loss."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    out = function(*leaves)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed)).to(out.dtype)
    return out.detach(), torch.autograd.grad((out * weight).sum(), leaves)


def plain(kind: str) -> Callable[[Tensor], Tensor]:
    return ACTIVATIONS[kind].forward


def derivative(kind: str, x: Tensor, **options: Any) -> Tensor:
    """f' as backward sees it; exact without options."""
    x = x.clone().requires_grad_()
    y = coded_activation(x, kind, **options) if options else plain(kind)(x)
    return torch.autograd.grad(y.sum(), x)[0]
