"""From `ase.Atoms` to `Graph`.

Paper: OC20 (arXiv 2010.09990). Its first graphs kept exactly the 50 nearest neighbors of each atom
and so cut ties at random: on a lattice whole shells are equally far. The later code of OC20 keeps
neighbors within 0.01 of the last one, and so does `graph`, in angstrom of distance.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from course_lib.electrocatalyst.graphs._graph import Graph
from course_lib.electrocatalyst.graphs._neighbors import neighbors


if TYPE_CHECKING:
    from ase import Atoms
else:
    Atoms = Any  # ase comes with the extra `chem`: whoever has atoms has it

TIE = 0.01  # angstrom; neighbors that far beyond the last one kept count as equally far
ELEMENTS = 99  # the highest atomic number of the models' tables


def graph(
    atoms: Atoms,
    cutoff: int | float = 6.0,
    max_neighbors: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Graph:
    """Return the graph of one system: an edge for each atom or image within `cutoff` angstrom.

    `max_neighbors` keeps that many nearest neighbors of each center (OC20: 50), and all others up
    to 0.01 angstrom beyond the last one: no tie is cut, so a center may keep more than the cap.
    An edge may then lack its opposite; such a graph is not `paired`.
    `dtype` is for positions and cell; the edges are found in float64.
    Raises ValueError for positions that are not numbers, atoms less than 0.3 angstrom apart, an
    atom without neighbors, a periodic cell without volume, an atomic number outside 1 to 99.
    """
    if max_neighbors is not None and max_neighbors < 1:
        raise ValueError(f"max_neighbors is {max_neighbors}; it must be at least 1, or None.")
    numbers = np.asarray(atoms.numbers, dtype=np.int64)
    if len(numbers) and not (numbers.min() >= 1 and numbers.max() <= ELEMENTS):
        raise ValueError(f"atomic numbers must be 1 to {ELEMENTS}, got {numbers.tolist()}.")
    cell = np.asarray(atoms.cell, dtype=np.float64)
    positions = np.asarray(atoms.positions, dtype=np.float64)
    i, j, offsets, d = neighbors(positions, cell, np.asarray(atoms.pbc, dtype=bool), cutoff)
    counts = np.bincount(i, minlength=len(numbers))
    if not counts.all():
        raise ValueError(
            f"atom {int(counts.argmin())} has no neighbors within {cutoff} angstrom; "
            "raise the cutoff, or bring the atom back to the others."
        )
    paired = True
    if max_neighbors is not None and counts.max() > max_neighbors:
        kept = _nearest(i, d, counts, max_neighbors)
        if len(kept) < len(i):
            i, j, offsets, paired = i[kept], j[kept], offsets[kept], False
    return Graph(
        numbers=torch.from_numpy(numbers),
        positions=torch.tensor(positions, dtype=dtype),
        cells=torch.tensor(cell[None], dtype=dtype),
        tags=torch.tensor(atoms.get_tags(), dtype=torch.int64),
        fixed=torch.from_numpy(fixed_atoms(atoms)),
        system=torch.zeros(len(numbers), dtype=torch.int64),
        edges=torch.from_numpy(np.stack([j, i])),
        shifts=torch.from_numpy(offsets),
        paired=paired,
    )


def graphs(
    systems: Iterable[Atoms],
    cutoff: int | float = 6.0,
    max_neighbors: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> list[Graph]:
    """Return the graph of each system; arguments and errors as for `graph`, with the position."""
    made = []
    for number, atoms in enumerate(systems):
        try:
            made.append(graph(atoms, cutoff, max_neighbors, dtype))
        except ValueError as error:
            raise ValueError(f"system {number}: {error}") from error
    return made


def _nearest(
    i: Int64[np.ndarray, "edges"],
    d: Float[np.ndarray, "edges"],
    counts: Int64[np.ndarray, "atoms"],
    most: int,
) -> Int64[np.ndarray, "kept"]:
    """Return the edges to keep, by center and then by distance."""
    order = np.lexsort((d, i))
    first = np.cumsum(counts) - counts  # where each center's edges begin in that order
    last = first + np.minimum(counts, most) - 1
    reach = d[order[last]] + TIE  # (atoms,)
    return order[d[order] <= reach[i[order]]]


def fixed_atoms(atoms: Atoms) -> Bool[np.ndarray, "atoms"]:
    """Return which atoms the `FixAtoms` constraints of `ase.Atoms` hold in place."""
    from ase.constraints import FixAtoms

    fixed = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            fixed[constraint.index] = True
    return fixed
