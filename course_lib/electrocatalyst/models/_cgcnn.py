"""CGCNN: a crystal as a graph, with a gate on each edge.

Paper: Xie and Grossman, arXiv 1710.10324, in the form that OC20 used as a baseline (arXiv
2010.09990): batch norm over edges inside the gate, layer norm after the sum where the first paper
had batch norm twice, readout by mean. The element vectors are our own (see `_elements`).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.electrocatalyst.graphs import Graph
from course_lib.electrocatalyst.models._elements import element_bits
from course_lib.electrocatalyst.models._layers import Gaussians, xavier_linear
from course_lib.electrocatalyst.models._model import EnergyModel


class CGCNN(EnergyModel):
    """Energy of each system from element vectors and distances: gated sums, then a mean.

    `hidden` is F, the features of an atom; `layers` the gated sums; `readout` the width and
    `readout_layers` the number of layers between the mean and the energy. `cutoff` in angstrom must
    be that of the graphs: no weight fades with distance, so energies jump where an edge appears.
    In training, batch norm takes mean and variance over all edges of the batch: an energy then
    depends on the systems beside it. A batch of one slab works, it has hundreds of edges, but the
    statistics kept for eval then follow single slabs. Needs the extra `chem`.
    """

    bits: Tensor

    def __init__(
        self,
        hidden: int = 64,
        layers: int = 3,
        readout: int = 128,
        readout_layers: int = 2,
        gaussians: int = 50,
        cutoff: int | float = 6.0,
    ) -> None:
        super().__init__(
            hidden=hidden,
            layers=layers,
            readout=readout,
            readout_layers=readout_layers,
            gaussians=gaussians,
            cutoff=cutoff,
        )
        self.register_buffer("bits", element_bits().clone())
        self.embedding = nn.Linear(self.bits.shape[1], hidden)
        self.gaussians = Gaussians(gaussians, cutoff)
        self.layers = nn.ModuleList(GatedSum(hidden, gaussians) for _ in range(layers))
        widths = [hidden] + [readout] * readout_layers
        self.readout = nn.ModuleList(
            nn.Linear(*pair) for pair in zip(widths[:-1], widths[1:], strict=True)
        )
        self.energy = nn.Linear(readout, 1)

    def normalized(self, graph: Graph) -> Float[Tensor, "systems"]:
        """Return the energy of each system before mean and standard deviation are put back."""
        d = graph.distances()
        e = self.gaussians(d[: len(d) // 2] if graph.paired else d)
        x = self.embedding(self.bits[graph.numbers])
        for layer in self.layers:
            x = layer(x, graph.edges, e)
        atoms = torch.bincount(graph.system, minlength=len(graph))[:, None]
        x = x.new_zeros(len(graph), x.shape[1]).index_add(0, graph.system, x) / atoms
        for layer in self.readout:
            x = F.softplus(layer(x))
        return self.energy(x)[:, 0]


class GatedSum(nn.Module):
    """One layer: each neighbor sends a message through a gate that sees both atoms and the edge."""

    def __init__(self, hidden: int, gaussians: int) -> None:
        super().__init__()
        self.split = [hidden, hidden, gaussians]
        self.linear = xavier_linear(sum(self.split), 2 * hidden)
        self.batch_norm = nn.BatchNorm1d(2 * hidden)
        self.layer_norm = nn.LayerNorm(hidden)

    def forward(
        self,
        x: Float[Tensor, "atoms hidden"],
        edges: Int64[Tensor, "2 edges"],
        e: Float[Tensor, "distances gaussians"],
    ) -> Float[Tensor, "atoms hidden"]:
        """Return the atoms' new features; `e` has a row per edge, or per edge of the first half.

        Memory kept for backward: about seven rows of `hidden` numbers per edge.
        """
        source, target = edges
        # z_ij = [x_i || x_j || e_ij];  W z_ij + b = W_i x_i + W_j x_j + (W_e e_ij + b)
        center, neighbor, edge = self.linear.weight.split(self.split, dim=1)
        ends = (x @ center.T).index_select(0, target) + (x @ neighbor.T).index_select(0, source)
        between = F.linear(e, edge, self.linear.bias)
        # (edges, 2 hidden) -> (1 or 2 halves, distances, 2 hidden) -> (edges, 2 hidden)
        z = (ends.view(-1, *between.shape) + between).flatten(0, 1)
        # y = BN(W z + b), in halves y_1, y_2
        y1, y2 = self.batch_norm(z).chunk(2, dim=1)
        # m_i = sum_j sigmoid(y_1) * softplus(y_2)
        m = torch.zeros_like(x).index_add(0, target, torch.sigmoid(y1) * F.softplus(y2))
        # x_i <- softplus(LN(m_i) + x_i)
        return F.softplus(self.layer_norm(m) + x)
