"""Atoms and the edges between them as tensors: what a graph network reads.

Paper: OC20 (arXiv 2010.09990): edges within 6 angstrom under periodic boundaries. A `Graph` holds
one system, or several side by side; `join` makes the second of the first.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class Graph:
    """Systems of atoms with directed edges, each from a neighbor (source) to a center (target).

    `edges[0]` are neighbors, `edges[1]` centers; `shifts` are the cell offsets of the neighbors.
    `tags`: 0 below the surface, 1 surface, 2 adsorbate. `system` says which system an atom belongs
    to, ascending. `paired` promises that the second half of the edges is the first half seen from
    the other end, in the same order; models then compute what both ends share once.
    Positions and cells (rows are lattice vectors) are in angstrom.
    """

    numbers: Int64[Tensor, "atoms"]
    positions: Float[Tensor, "atoms 3"]
    cells: Float[Tensor, "systems 3 3"]
    tags: Int64[Tensor, "atoms"]
    fixed: Bool[Tensor, "atoms"]
    system: Int64[Tensor, "atoms"]
    edges: Int64[Tensor, "2 edges"]
    shifts: Int64[Tensor, "edges 3"]
    paired: bool = False

    def __len__(self) -> int:
        return len(self.cells)

    def vectors(self) -> Float[Tensor, "edges 3"]:
        """Return the way from each center to its neighbor, in angstrom."""
        source, target = self.edges
        # D = r_j + S C - r_i
        cells = self.cells[self.system[target]]  # (edges, 3, 3)
        offsets = (self.shifts.to(cells.dtype)[:, :, None] * cells).sum(1)
        return self.positions[source] - self.positions[target] + offsets

    def distances(self) -> Float[Tensor, "edges"]:
        """Return the length of each edge, in angstrom."""
        return self.vectors().norm(dim=1)

    def with_positions(self, positions: Float[Tensor, "atoms 3"]) -> "Graph":
        """Return the same edges between atoms at other positions, in angstrom."""
        return replace(self, positions=positions)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "Graph":
        """Return the graph on a device; `dtype` is for positions and cells."""
        return replace(
            self,
            numbers=self.numbers.to(device),
            positions=self.positions.to(device, dtype),
            cells=self.cells.to(device, dtype),
            tags=self.tags.to(device),
            fixed=self.fixed.to(device),
            system=self.system.to(device),
            edges=self.edges.to(device),
            shifts=self.shifts.to(device),
        )


def join(graphs: list[Graph]) -> Graph:
    """Return all systems in one graph, in the order given: a batch without edges between systems.

    Memory: one copy of everything. Raises ValueError for an empty list and mixed dtypes.
    """
    if not graphs:
        raise ValueError("join needs at least one graph.")
    dtypes = {graph.positions.dtype for graph in graphs}
    if len(dtypes) > 1:
        raise ValueError(f"the graphs mix {sorted(map(str, dtypes))}; make them with one dtype.")
    paired = all(graph.paired for graph in graphs)
    rows = [graph.edges.shape[1] // (2 if paired else 1) for graph in graphs]
    edges = torch.cat([graph.edges[:, :n] for graph, n in zip(graphs, rows, strict=True)], dim=1)
    shifts = torch.cat([graph.shifts[:n] for graph, n in zip(graphs, rows, strict=True)])
    numbers = torch.cat([graph.numbers for graph in graphs])
    system = torch.cat([graph.system for graph in graphs])
    atoms = [len(graph.numbers) for graph in graphs]
    edges = edges + _before(atoms, rows, edges.device)
    if paired:  # all first halves, then the same pairs from the other end
        edges, shifts = torch.cat([edges, edges.flip(0)], dim=1), torch.cat([shifts, -shifts])
    return Graph(
        numbers=numbers,
        positions=torch.cat([graph.positions for graph in graphs]),
        cells=torch.cat([graph.cells for graph in graphs]),
        tags=torch.cat([graph.tags for graph in graphs]),
        fixed=torch.cat([graph.fixed for graph in graphs]),
        system=system + _before([len(graph) for graph in graphs], atoms, system.device),
        edges=edges,
        shifts=shifts,
        paired=paired,
    )


def _before(sizes: list[int], rows: list[int], device: torch.device) -> Int64[Tensor, "all_rows"]:
    """Return for each row of each graph how much the graphs before it hold."""
    totals = torch.tensor([0, *sizes[:-1]]).cumsum(0)
    return totals.repeat_interleave(torch.tensor(rows)).to(device)
