"""Who is near whom under periodic boundaries: every pair of atoms and images within a cutoff.

Paper: OC20 (arXiv 2010.09990, its graphs); the same search as SchNet's under periodic boundaries.
Equation: r_j + S C - r_i = D, |D| <= r_c, with the rows of C the lattice vectors and S three whole
numbers, 0 along an axis that is not periodic.
"""

import numpy as np
from jaxtyping import Bool, Float, Int64


CLOSEST = (
    0.3  # angstrom; two nuclei nearer than this are a mistake: H2, the shortest bond, has 0.74
)
BLOCK = 2**22  # numbers per temporary array of one block of images: 32 MiB


def neighbors(
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, "3"],
    cutoff: int | float = 6.0,
) -> tuple[
    Int64[np.ndarray, "edges"],
    Int64[np.ndarray, "edges"],
    Int64[np.ndarray, "edges 3"],
    Float[np.ndarray, "edges"],
]:
    """Return centers i, neighbors j, cell offsets S of the neighbor, and distances d in angstrom.

    All (i, j, S) with d = |r_j + S C - r_i| <= cutoff, except an atom and itself at S = 0. In a
    small cell an atom is a neighbor of its own images. Each pair is found once: the first half of
    the arrays holds it as (i, j, S), the second half, in the same order, as (j, i, -S). Positions
    may lie outside the cell. Positions, cell (rows are lattice vectors): angstrom.
    Memory: a few arrays of 32 MiB beside the result. Raises ValueError for numbers that are not
    finite, a periodic cell without volume, and atoms less than 0.3 angstrom apart.
    """
    _check(positions, cell, cutoff)
    spacing, fractions = _planes(positions, cell, pbc)
    # An axis with planes h_k apart needs S_k up to ceil(r_c / h_k), once all atoms are in the cell.
    repeats = np.where(pbc, np.ceil(cutoff / spacing), 0).astype(np.int64)
    home = np.where(pbc, np.floor(fractions), 0).astype(np.int64)  # (atoms, 3)
    wrapped = positions - home @ cell
    images = _half_space(repeats)
    ahead = wrapped[None, :, :] - wrapped[:, None, :]  # (i, j, 3): from i to j
    found = []
    step = max(1, BLOCK // max(1, len(positions) ** 2))
    for start in range(0, len(images), step):
        block = images[start : start + step]
        # D = r_j - r_i + S C, one axis of space after the other
        squared = np.zeros((len(block), len(positions), len(positions)))
        for axis, offset in enumerate((block @ cell).T):
            squared += (ahead[None, :, :, axis] + offset[:, None, None]) ** 2
        if start == 0:  # the image S = 0 comes first: each pair once, no atom with itself
            squared[0][np.tri(len(positions), dtype=bool)] = np.inf
        image, i, j = np.nonzero(squared <= cutoff * cutoff)
        found.append((i, j, block[image], np.sqrt(squared[image, i, j])))
    i, j, offsets, d = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if len(d) and d.min() < CLOSEST:
        k = int(d.argmin())
        raise ValueError(
            f"atoms {i[k]} and {j[k]} overlap: they are {d[k]:.3f} angstrom apart; move one away."
        )
    offsets = offsets + home[i] - home[j]  # back to the positions as given
    both = np.concatenate
    return both([i, j]), both([j, i]), both([offsets, -offsets]), both([d, d])


def _planes(
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, "3"],
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "atoms 3"]]:
    """Return the distance of the cell's planes per periodic axis, and positions as fractions."""
    periodic = cell[pbc]
    if len(periodic) and np.linalg.matrix_rank(periodic, tol=1e-6) < len(periodic):
        raise ValueError(
            f"the cell has no volume along its periodic axes: {cell.tolist()}; give it three "
            "independent lattice vectors, or set pbc to False."
        )
    reciprocal = np.zeros((3, 3))
    reciprocal[:, pbc] = np.linalg.pinv(periodic)  # columns b_k with a_k b_k = 1
    # h_k = 1 / |b_k|
    spacing = np.ones(3)
    spacing[pbc] = 1 / np.linalg.norm(reciprocal[:, pbc], axis=0)
    return spacing, positions @ reciprocal


def _half_space(repeats: Int64[np.ndarray, "3"]) -> Int64[np.ndarray, "images 3"]:
    """Return S = 0 and one of each S and -S: the other one is the same pair seen from its end."""
    ranges = [np.arange(-n, n + 1) for n in repeats]
    images = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    return images[len(images) // 2 :]  # in this order S = 0 is in the middle, -S mirrors S


def _check(
    positions: Float[np.ndarray, "atoms 3"], cell: Float[np.ndarray, "3 3"], cutoff: int | float
) -> None:
    if not len(positions):
        raise ValueError("there are no atoms.")
    if not np.isfinite(positions).all():
        atom = int(np.argmin(np.isfinite(positions).all(axis=1)))
        raise ValueError(f"the position of atom {atom} is not a number: {positions[atom]}.")
    if not np.isfinite(cell).all():
        raise ValueError(f"the cell has entries that are not numbers: {cell.tolist()}.")
    if not 0 < cutoff < np.inf:
        raise ValueError(f"the cutoff is {cutoff} angstrom; it must be above 0 and finite.")
