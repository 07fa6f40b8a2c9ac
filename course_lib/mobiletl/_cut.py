"""A network cut in two: a frozen trunk that keeps nothing, and a top that is trained."""

from collections import OrderedDict
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.mobiletl._blocks import Part


class CutNetwork(nn.Module):
    """`top(trunk(x))`, where the trunk stays in eval mode, without autograd.

    Without augmentation the trunk's output can be computed once: `features`, then train `top`.
    The trunk keeps its 32-bit floats. The paper stores it in 8 bits; `training_memory` counts so.
    """

    def __init__(self, trunk: list[Part], top: list[Part]) -> None:
        """Take over the modules of the parts; freeze the trunk."""
        super().__init__()
        self.trunk = _sequence(trunk)
        self.top = _sequence(top)
        self.trunk.requires_grad_(False)
        self.train(self.training)

    def features(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch *features"]:
        """Output of the trunk, the top's input. Kept for backward: nothing."""
        with torch.no_grad():
            return self.trunk(x)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes"]:
        """Logits."""
        return self.top(self.features(x))

    def train(self, mode: bool = True) -> "CutNetwork":
        """Set the mode of the top; the trunk, and norms with a frozen scale, stay in eval mode."""
        super().train(mode)
        self.trunk.eval()
        for module in self.top.modules():
            frozen = isinstance(module, nn.BatchNorm2d) and module.affine
            if frozen and not module.weight.requires_grad:
                module.eval()
        return self

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """Give the parameters that an optimizer gets."""
        return (p for p in self.parameters() if p.requires_grad)


def _sequence(steps: list[Part]) -> nn.Sequential:
    return nn.Sequential(OrderedDict((part.name, part.module) for part in steps))
