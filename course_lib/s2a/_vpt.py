"""VPT-deep: learned tokens that each block of a frozen transformer sees beside its own.

Source: Jia et al., "Visual Prompt Tuning", arXiv 2203.12119. The prompts of one block do not reach
the next: they are taken out after it, where the paper replaces them before it. The result for the
other tokens is the same.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PromptedBlock(nn.Module):
    """A frozen block that sees `prompts` learned tokens after its first `prefix` tokens.

    The block stays in eval mode, as in the paper's code.
    """

    def __init__(
        self, block: nn.Module, prompts: int, width: int, *, prefix: int, patch_pixels: int
    ) -> None:
        """Draw the tokens uniformly, bound sqrt(6 / (3 patch^2 + D)); ValueError below 1."""
        super().__init__()
        if prompts < 1:
            raise ValueError(f"prompts={prompts}: VPT needs at least 1 prompt.")
        bound = math.sqrt(6 / (3 * patch_pixels + width))
        self.block, self.prefix = block, prefix
        self.prompts = nn.Parameter(torch.empty(1, prompts, width).uniform_(-bound, bound))

    def forward(
        self, x: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Insert the prompts, run the block, take them out again."""
        batch, cut, count = x.shape[0], self.prefix, self.prompts.shape[1]
        prompts = self.prompts.expand(batch, -1, -1)
        y = self.block(torch.cat([x[:, :cut], prompts, x[:, cut:]], dim=1))
        return torch.cat([y[:, :cut], y[:, cut + count :]], dim=1)

    def train(self, mode: bool = True) -> "PromptedBlock":
        """Set the mode; the block stays in eval mode."""
        super().train(mode)
        self.block.eval()
        return self
