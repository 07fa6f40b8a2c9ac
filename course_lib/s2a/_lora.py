"""LoRA and the adapter: small trained layers inside a frozen block.

Sources: Hu et al., "LoRA", arXiv 2106.09685; Houlsby et al., arXiv 1902.00751. Both start at the
original output: LoRA's B and the adapter's last layer are 0.
"""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class LoRALinear(nn.Module):
    """y = W x + bias + (alpha / r) B A x, with a frozen `linear` and trained A (r, in), B (out, r).

    Kept for backward: x, which the gradient of A needs, and A x. The default alpha is 2 r.
    """

    def __init__(self, linear: nn.Linear, rank: int = 8, alpha: float | int | None = None) -> None:
        """Draw A as peft does, set B to 0; ValueError for a rank below 1."""
        super().__init__()
        check_rank(rank)
        self.linear = linear
        self.scale = 2.0 if alpha is None else alpha / rank
        self.a = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.b = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "*rest in"]) -> Float[Tensor, "*rest out"]:
        """Add the low-rank product to the output of the frozen layer."""
        return self.linear(x) + self.scale * F.linear(F.linear(x, self.a), self.b)


class Adapter(nn.Module):
    """h + up(GELU(down(h))) with a bottleneck of r; `up` starts at 0.

    Kept for backward: h, and twice r numbers per token.
    """

    def __init__(self, width: int, bottleneck: int = 64) -> None:
        """Build both layers; ValueError for a bottleneck below 1."""
        super().__init__()
        check_rank(bottleneck)
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, h: Float[Tensor, "*rest width"]) -> Float[Tensor, "*rest width"]:
        """Add the bottleneck's output to h."""
        return h + self.up(F.gelu(self.down(h)))


def check_rank(rank: int) -> None:
    """Raise ValueError unless a rank or bottleneck is at least 1."""
    if rank < 1:
        raise ValueError(f"A rank or bottleneck is at least 1, not {rank}.")
