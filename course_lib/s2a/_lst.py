"""Ladder side tuning (LST): a narrow transformer beside a backbone that keeps nothing.

Source: Sung et al., "LST", arXiv 2206.06522, and its code. The backbone runs without autograd. With
mu_l = sigmoid(alpha_l / 0.1) and alpha_l = 0 at the start, for each block l:

    h <- block_l( mu_l h + (1 - mu_l) down_l(x_l) )

and one up-projection gives the features. Course choices: it replaces the backbone's last features,
and the side block has the backbone's number of heads if they divide its width.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from course_lib.s2a._side_branch import cap
from course_lib.s2a._vit import blocks_of


_TEMPERATURE = 0.1


class Ladder(nn.Module):
    """Frozen blocks and a trained ladder of width D / `reduction`; replaces a ViT's blocks.

    Kept for backward: the side blocks, the gates, and with `down="linear"` the x_l as well.
    """

    def __init__(self, model: Any, reduction: int = 8, down: str = "linear") -> None:
        """Build one side block per block; ValueError for a reduction that does not divide D."""
        super().__init__()
        width = model.embed_dim
        if down not in ("linear", "pool"):
            raise ValueError(f'down is "linear" or "pool", not {down!r}.')
        if reduction < 1 or width % reduction:
            raise ValueError(f"reduction={reduction} does not divide the width {width}.")
        narrow = width // reduction
        blocks = blocks_of(model)
        heads, depth = math.gcd(narrow, blocks[0].attn.num_heads), len(blocks)
        self.backbone = model.blocks
        self.reduction = reduction
        self.down = None
        if down == "linear":
            self.down = nn.ModuleList(nn.Linear(width, narrow) for _ in range(depth + 1))
        self.side = nn.ModuleList(Block(narrow, heads, qkv_bias=True) for _ in range(depth))
        self.alpha = nn.Parameter(torch.zeros(depth))
        self.norm = nn.LayerNorm(narrow)
        self.up = nn.Linear(narrow, width)

    def forward(
        self, x: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Climb: one block of the backbone without autograd, one of the side with it."""
        h = self._narrow(0, x.detach())
        for layer, (block, side) in enumerate(zip(self.backbone, self.side, strict=True)):
            with torch.no_grad():
                x = block(x)
            mu = torch.sigmoid(self.alpha[layer] / _TEMPERATURE)
            # Equation: h <- mu h + (1 - mu) down(x).
            h = side(mu * h + (1 - mu) * self._narrow(layer + 1, x))
        return self.up(self.norm(h))

    def _narrow(
        self, index: int, x: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens narrow"]:
        return cap(x, self.reduction) if self.down is None else self.down[index](x)
