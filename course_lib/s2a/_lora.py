"""LoRA and the adapter: small trained layers inside a frozen block.

Sources: Hu et al., "LoRA", arXiv 2106.09685, by the package peft; Houlsby et al., arXiv 1902.00751.
Both start at the original output: LoRA's B and the adapter's last layer are 0.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def add_lora(
    model: nn.Module, layers: Sequence[str], rank: int = 8, alpha: float | int | None = None
) -> None:
    """Let peft stand y = W x + bias + (alpha / r) B A x in for the named linear layers of blocks.

    W and bias are frozen; A (r, in) and B (out, r) are trained. The default alpha is 2 r.
    Kept for backward: x, which the gradient of A needs, and A x. ValueError for a rank below 1.
    """
    import peft  # three seconds, which only LoRA should cost

    check_rank(rank)
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,  # pyright: ignore[reportArgumentType]
        target_modules=rf"blocks\.\d+\..*\.({'|'.join(layers)})",
    )
    trained = [p for p in model.parameters() if p.requires_grad]
    peft.inject_adapter_in_model(config, model)
    for parameter in trained:  # peft froze the classifier
        parameter.requires_grad_(True)


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
