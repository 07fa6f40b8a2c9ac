"""SchNet: atoms talk to their neighbors through filters that are learned functions of distance.

Paper: Schuett and others, arXiv 1706.08566, section 4; sizes and the cosine cutoff as in OC20's
baseline (arXiv 2010.09990). Here: the embedding, filters, cfconv, interactions, and readout by sum.
The Gaussians and the cutoff are computed once for all interactions, a filter once for both
directions of a pair. Both are exact.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from course_lib.electrocatalyst.graphs import Graph
from course_lib.electrocatalyst.models._layers import Gaussians, cosine_cutoff, ssp, xavier_linear
from course_lib.electrocatalyst.models._model import EnergyModel


ELEMENTS = 100  # rows of the embedding: atomic numbers 0 to 99


class SchNet(EnergyModel):
    """Energy of each system from atomic numbers and distances: SchNet with a cosine cutoff.

    `hidden` is F, the features of an atom; `filters` N_f, those of a message; `interactions` T.
    `cutoff` in angstrom must be that of the graphs; longer edges count nothing.
    """

    def __init__(
        self,
        hidden: int = 64,
        filters: int = 64,
        interactions: int = 3,
        gaussians: int = 50,
        cutoff: int | float = 6.0,
    ) -> None:
        super().__init__(
            hidden=hidden,
            filters=filters,
            interactions=interactions,
            gaussians=gaussians,
            cutoff=cutoff,
        )
        self.embedding = nn.Embedding(ELEMENTS, hidden)
        self.gaussians = Gaussians(gaussians, cutoff)
        self.interactions = nn.ModuleList(
            Interaction(hidden, filters, gaussians) for _ in range(interactions)
        )
        self.readout1 = xavier_linear(hidden, hidden // 2)
        self.readout2 = xavier_linear(hidden // 2, 1)

    def normalized(self, graph: Graph) -> Float[Tensor, "systems"]:
        """Return the energy of each system before mean and standard deviation are put back."""
        d = graph.distances()
        d = d[: len(d) // 2] if graph.paired else d  # the other half is the same pairs
        e, c = self.gaussians(d), cosine_cutoff(d, self.config["cutoff"])[:, None]
        # x_i^0 = Emb(Z_i)
        x = self.embedding(graph.numbers)
        for interaction in self.interactions:
            # x_i <- x_i + v_i
            x = x + interaction(x, graph.edges, e, c)
        # E = sum_i w_2 ssp(w_1 x_i + b) + b
        energy = self.readout2(ssp(self.readout1(x)))[:, 0]
        return energy.new_zeros(len(graph)).index_add(0, graph.system, energy)


class Interaction(nn.Module):
    """One exchange between neighbors: filters from distances, cfconv, two layers per atom."""

    def __init__(self, hidden: int, filters: int, gaussians: int) -> None:
        super().__init__()
        self.filter1 = xavier_linear(gaussians, filters)
        self.filter2 = xavier_linear(filters, filters)
        self.inward = xavier_linear(hidden, filters, bias=False)
        self.outward = xavier_linear(filters, hidden)
        self.dense = xavier_linear(hidden, hidden)

    def forward(
        self,
        x: Float[Tensor, "atoms hidden"],
        edges: Int64[Tensor, "2 edges"],
        e: Float[Tensor, "distances gaussians"],
        c: Float[Tensor, "distances 1"],
    ) -> Float[Tensor, "atoms hidden"]:
        """Return what to add to the atoms' features; `e`, `c` as rows of `w` in `cfconv`.

        Memory kept for backward: about five rows of `filters` numbers per row of `e`.
        """
        # W(d) = [W_2 ssp(W_1 e(d) + b_1) + b_2] C(d)
        w = self.filter2(ssp(self.filter1(e))) * c
        # m_i = sum_j (A x_j) * W(d_ij)
        m = cfconv(self.inward(x), w, edges)
        # v_i = D ssp(B m_i + b) + b'
        return self.dense(ssp(self.outward(m)))


def cfconv(
    x: Float[Tensor, "atoms filters"],
    w: Float[Tensor, "distances filters"],
    edges: Int64[Tensor, "2 edges"],
) -> Float[Tensor, "atoms filters"]:
    """Sum over the neighbors of each atom their features times the filter, m_i = sum_j x_j * w_ij.

    `w` has a row for each edge, or for each edge of the first half if the second half repeats its
    distances. Memory kept for backward: `w`, and a row of features per edge.
    """
    source, target = edges
    # (edges, filters) -> (1 or 2 halves, distances, filters)
    messages = x.index_select(0, source).view(-1, *w.shape) * w
    return torch.zeros_like(x).index_add(0, target, messages.flatten(0, 1))
