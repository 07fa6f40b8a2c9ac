"""Lite side branch (LSB): a narrow network beside the backbone, fed by its pooled features.

Source: Jin et al., S2A, arXiv 2503.08154, known to us from summaries. Whether the paper stops the
gradient, and where it adds the branch back, we could not read. Course definition, with z_0 = 0:

    u_l = z_{l-1} + CAP_k(stopgrad(x_l))      z_l = u_l + phi_l(u_l)      features = x_L + U z_L

x_l is the output of block l, phi_l = Linear-ReLU-Linear of width D / k, and U starts at 0. Without
the stop-gradient the branch would keep the graph of the whole backbone alive.
"""

from jaxtyping import Float
from torch import Tensor, nn


def cap(x: Float[Tensor, "*rest width"], k: int) -> Float[Tensor, "*rest pooled"]:
    """Channel average pooling: the mean of each k consecutive channels; width D becomes D / k.

    Backward repeats g / k over each group. Kept for backward: nothing.
    Raises ValueError if k does not divide the width.
    """
    _check_pool(x.shape[-1], k)
    # (..., D) -> (..., D/k, k) -> (..., D/k)
    return x.unflatten(-1, (-1, k)).mean(-1)


class LiteSideBranch(nn.Module):
    """Blocks in sequence, and the branch beside them; `width` is D, `pool` is k.

    Kept for backward on top of the blocks: 4 (2 L + 1) N D / k bytes per sample for L blocks.
    """

    def __init__(self, blocks: nn.Sequential, width: int, pool: int = 8) -> None:
        """Build phi_1 ... phi_L and U = 0; ValueError if `pool` does not divide `width`."""
        super().__init__()
        _check_pool(width, pool)
        narrow = width // pool
        self.pool = pool
        self.blocks = blocks
        self.phi = nn.ModuleList(
            nn.Sequential(nn.Linear(narrow, narrow), nn.ReLU(), nn.Linear(narrow, narrow))
            for _ in blocks
        )
        self.up = nn.Linear(narrow, width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(
        self, x: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Run block and branch side by side, so that no x_l lives longer than it must."""
        z = None
        for block, phi in zip(self.blocks, self.phi, strict=True):
            x = block(x)
            pooled = cap(x.detach(), self.pool)
            # Equation: u_l = z_{l-1} + CAP_k(stopgrad(x_l)).
            u = pooled if z is None else z + pooled
            # Equation: z_l = u_l + phi_l(u_l).
            z = u + phi(u)
        # Equation: features = x_L + U z_L.
        return x if z is None else x + self.up(z)


def _check_pool(width: int, k: int) -> None:
    if k < 1 or width % k:
        raise ValueError(
            f"A pool of k={k} does not divide the width {width}. Choose k among its divisors."
        )
