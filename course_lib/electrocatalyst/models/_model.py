"""What every model of energies shares: a scale in eV, and forces as the slope of the energy."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.electrocatalyst.graphs import Graph


class EnergyModel(nn.Module):
    """A network from a graph to one energy per system; a subclass defines `normalized`.

    `config` are the arguments of the subclass: with them and the weights a file is complete.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, **config: int | float) -> None:
        super().__init__()
        for name, value in config.items():
            if value <= (name == "gaussians"):
                raise ValueError(f"{name} is {value}; it must be above {int(name == 'gaussians')}.")
        self.config = config
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("std", torch.tensor(1.0))

    def set_scale(self, mean: int | float, std: int | float) -> None:
        """Give energies as mean + std x output, in eV: both of the training labels.

        Raises ValueError for a standard deviation that is not above 0, and for NaN.
        """
        if not (abs(mean) < float("inf") and 0 < std < float("inf")):
            raise ValueError(f"mean is {mean} and std {std}; both must be finite, std above 0.")
        self.mean.fill_(mean)
        self.std.fill_(std)

    def forward(self, graph: Graph) -> Float[Tensor, "systems"]:
        """Return the energy of each system in eV, or in units of the scale if none is set."""
        if graph.positions.dtype != self.mean.dtype:
            raise ValueError(
                f"the graph holds {graph.positions.dtype} and the model {self.mean.dtype}; "
                "use graph.to(dtype=...) or model.to(...)."
            )
        return self.mean + self.std * self.normalized(graph)

    def normalized(self, graph: Graph) -> Float[Tensor, "systems"]:
        """Return the energy of each system before mean and standard deviation are put back."""
        raise TypeError("EnergyModel is the base of SchNet and CGCNN; use one of them.")


def energy_and_forces(
    model: nn.Module, graph: Graph
) -> tuple[Float[Tensor, "systems"], Float[Tensor, "atoms 3"]]:
    """Return energies in eV and forces in eV per angstrom, F = -dE/dr by autograd.

    The edges stay those of the graph. In training mode both can be differentiated again, and the
    graph of the backward pass is kept: about three times the memory of the energy alone. In eval
    mode nothing is kept, also under `torch.no_grad()`.
    """
    positions = graph.positions.detach().requires_grad_()
    with torch.enable_grad():
        energy = model(graph.with_positions(positions))
        # F = -dE/dr
        (slope,) = torch.autograd.grad(energy.sum(), positions, create_graph=model.training)
    return (energy, -slope) if model.training else (energy.detach(), -slope)
