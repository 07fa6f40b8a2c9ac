"""Small parts of the networks: what a distance becomes, an activation, a first state.

Paper: SchNet (arXiv 1706.08566), sections 3 and 4.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def ssp(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the shifted softplus ln(1/2 e^x + 1/2) of SchNet, which is 0 at 0."""
    # ssp(x) = softplus(x) - ln 2
    return F.softplus(x) - math.log(2)


def cosine_cutoff(d: Float[Tensor, "edges"], cutoff: int | float) -> Float[Tensor, "edges"]:
    """Return a weight that falls smoothly from 1 at 0 to 0 at `cutoff` angstrom, and stays 0."""
    # C(d) = 1/2 (cos(pi d / r_c) + 1)
    return 0.5 * (torch.cos(math.pi / cutoff * d.clamp(max=cutoff)) + 1)


def xavier_linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Return a layer with Xavier uniform weights and biases of zero."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class Gaussians(nn.Module):
    """Spread a distance over `count` Gaussians whose centers lie evenly on [0, cutoff] angstrom."""

    centers: Tensor

    def __init__(self, count: int, cutoff: int | float) -> None:
        super().__init__()
        self.register_buffer("centers", torch.linspace(0, cutoff, count))

    def forward(self, d: Float[Tensor, "edges"]) -> Float[Tensor, "edges gaussians"]:
        """Return a row of `count` numbers per distance, each 1 where the distance is its center."""
        # gamma = -1 / (2 (mu_2 - mu_1)^2)
        gamma = -0.5 / (self.centers[1] - self.centers[0]) ** 2
        # e_k(d) = exp(gamma (d - mu_k)^2)
        return torch.exp(gamma * (d[:, None] - self.centers) ** 2)
