"""Low-rank prompt (LRP): a learned matrix that is added to the tokens, and costs no activation.

Source: Jin et al., S2A, arXiv 2503.08154, known to us from summaries. Course definition: one LRP at
the input of every block, shared over the batch, A ~ N(0, 0.02^2), B = 0. With G = dL/dy:

    y = x + A B        dL/dA = (sum_b G_b) B^T        dL/dB = A^T (sum_b G_b)        dL/dx = G

No gradient contains x, so plain autograd keeps A and B only, which are parameters.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn


_DEVIATION = 0.02  # of A at the start


def low_rank_prompt(
    x: Shaped[Tensor, "*input"],
    a: Float[Tensor, "tokens rank"],
    b: Float[Tensor, "rank width"],
) -> Float[Tensor, "*input"]:
    """Add the matrix A B to every sample of x, which is (batch, tokens, width).

    Kept for backward: A and B, which do not count as activations.
    Raises ValueError if x is not floating, or its tokens or width are not those of A B.
    """
    if not x.is_floating_point() or x.ndim != 3 or x.shape[1:] != (a.shape[0], b.shape[1]):
        raise ValueError(
            f"This low-rank prompt takes floats of shape (batch, {a.shape[0]}, {b.shape[1]}), "
            f"not {x.dtype} of shape {tuple(x.shape)}. Build it for the tokens and width of x."
        )
    # Equation: y = x + A B.
    return x + a @ b


class LowRankPrompt(nn.Module):
    """`low_rank_prompt` with parameters A (tokens, rank) and B (rank, width).

    B starts at 0, so at first the output is the input. Trained: rank * (tokens + width) numbers.
    """

    def __init__(self, tokens: int, width: int, rank: int = 4) -> None:
        """Draw A, set B to 0; ValueError for a rank below 1 or above tokens or width."""
        super().__init__()
        if not 1 <= rank <= min(tokens, width):
            raise ValueError(
                f"rank={rank}: a low-rank prompt of {tokens} tokens and width {width} "
                f"has a rank of 1 to {min(tokens, width)}."
            )
        self.a = nn.Parameter(_DEVIATION * torch.randn(tokens, rank))
        self.b = nn.Parameter(torch.zeros(rank, width))

    def forward(self, x: Shaped[Tensor, "*input"]) -> Float[Tensor, "*input"]:
        """See `low_rank_prompt`."""
        return low_rank_prompt(x, self.a, self.b)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"tokens={self.a.shape[0]}, width={self.b.shape[1]}, rank={self.a.shape[1]}"
