"""Checks of lab 70, graphs: neighbors under periodic boundaries, SchNet's convolution.

The references are ASE's neighbor list, and the equations of SchNet (arXiv 1706.08566, section 4.1).
"""

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from course_lib.lab.exercise import Wrong, exercise, generator, same_tensor


if TYPE_CHECKING:
    import numpy as np
    from torch import Generator, Tensor


Pairs = Counter[tuple[int, ...]]  # (i, j, S1, S2, S3)
CLOSE = 1e-4


@exercise(
    "70.neighbors",
    points=3,
    difficulty=4,
    minutes=15,
    hints=(
        "Each atom repeats in all three directions. How many cells away can a neighbor be? Not the "
        "length of a cell vector tells, but the distance between two faces of the cell.",
        "The faces along vector 1 are volume / |c2 x c3| apart. Go ceil(cutoff / that) cells to "
        "both sides, one more because atoms lie anywhere in their cell. Then try each i, j, S.",
        "for S in itertools.product(*(range(-n, n + 1) for n in reach)): d = norm(positions[None] "
        "+ S @ cell - positions[:, None], axis=-1); keep d <= cutoff; where S is (0, 0, 0), drop "
        "the diagonal. np.nonzero gives i and j.",
    ),
)
def neighbors(answer: Callable[..., Any]) -> None:
    """Compare with ASE's list as multisets: a small box, a skewed cell, and a cell of one atom."""
    import numpy as np
    import torch
    from ase.neighborlist import primitive_neighbor_list

    random = generator()
    for what, cell, count, cutoff in _cells(random):
        positions = torch.rand(count, 3, generator=random, dtype=torch.float64).numpy() @ cell
        i, j, S = primitive_neighbor_list("ijS", [True] * 3, cell, positions, cutoff)
        want: Pairs = Counter(
            tuple(int(n) for n in row) for row in np.column_stack([i, j, S]).tolist()
        )
        found = _rows(answer(positions.copy(), cell.copy(), cutoff))
        if found != want:
            head = f"In {what}, cutoff {cutoff:.2f} angstrom"
            raise Wrong(f"{head}: {_why(found, want, positions, cell, cutoff)}")


def _cells(random: "Generator") -> list[tuple[str, "np.ndarray", int, float]]:
    """Return cases: words, cell (rows are vectors), number of atoms, cutoff in angstrom."""
    import numpy as np
    import torch

    a, b, c = (3 + torch.rand(3, generator=random, dtype=torch.float64)).tolist()
    box = np.diag([a, b, c])
    skewed = np.array([[a, 0, 0], [0.9 * a, 0.4 * b, 0], [0.3 * a, 0.2 * b, 1.2 * c]])
    return [
        ("a box with 3 atoms", box, 3, 1.15 * max(a, b, c)),
        ("a skewed cell with 2 atoms", skewed, 2, 1.5 * a),
        ("a cell with 1 atom", box, 1, 2.3 * a),
    ]


def _rows(got: Any) -> Pairs:
    """Return the answer as a multiset of rows; raise Wrong unless it is rows of whole numbers."""
    import numpy as np

    shape = "rows of five whole numbers: i, j, S1, S2, S3"
    try:
        table = np.asarray(got if hasattr(got, "__array__") else list(got))
    except (TypeError, ValueError):
        raise Wrong(f"my_neighbors should return {shape}.") from None
    if table.size == 0:
        return Counter()
    if table.ndim != 2 or table.shape[1] != 5 or table.dtype.kind not in "iuf":
        raise Wrong(f"my_neighbors returns the shape {table.shape}; return {shape}.")
    if table.dtype.kind == "f" and (table != np.rint(table)).any():
        raise Wrong(f"A row holds a number that is not whole; return {shape}.")
    return Counter(tuple(int(n) for n in row) for row in table.tolist())


def _why(
    found: Pairs, want: Pairs, positions: "np.ndarray", cell: "np.ndarray", cutoff: float
) -> str:
    """Tell what is wrong with a list of pairs, in the learner's words."""
    missing, more = want - found, found - want
    head = f"your list has {found.total()} pairs, the right one {want.total()}. "
    if any(row[0] == row[1] and not any(row[2:]) for row in found):
        return head + "An atom is no neighbor of itself: leave out i = j where S is (0, 0, 0)."
    if any(number > 1 for number in found.values()) and set(found) == set(want):
        return head + "Some rows are there twice: try each S once."
    turned = Counter({(i, j, -p, -q, -r): n for (i, j, p, q, r), n in found.items()})
    if turned == want:
        return (
            head + "The sign of S is wrong: the neighbor is at r_j + S cell, not at r_j - S cell."
        )
    if all(_distance(row, positions, cell.T) <= cutoff for row in found) and more:
        return head + (
            "Rows of cell are its vectors, so the shift is S @ cell. You took cell @ S, which "
            "mixes columns."
        )
    if not more and missing:
        return head + _what_is_missing(found, want, missing)
    if not more:
        return head + "Compare a few rows with ase.neighborlist.neighbor_list."
    row = min(more)
    apart = _distance(row, positions, cell)
    return head + f"Row {row} does not belong: its atoms are {apart:.3f} angstrom apart."


def _what_is_missing(found: Pairs, want: Pairs, missing: Pairs) -> str:
    pairs = Counter(row[:2] for row in found)
    if not found or (
        max(pairs.values()) == 1 and set(pairs) == {row[:2] for row in want if row[0] != row[1]}
    ):
        return (
            "You keep at most the nearest image of each pair. In a small cell several images of an "
            "atom are neighbors: go through all S."
        )
    if all(row[0] == row[1] for row in missing):
        return (
            "An atom's own images count too: keep i = j where S is not (0, 0, 0). "
            f"{missing.total()} of these are missing."
        )
    mirrored = Counter({(j, i, -p, -q, -r): n for (i, j, p, q, r), n in found.items()})
    if found + mirrored == want:
        return "Each pair is there once. A graph has two edges per pair: i to j and j to i."
    if max(abs(n) for row in found for n in row[2:]) == 1:
        return (
            "You go 1 cell to each side, which is too few for this cutoff. "
            "Compute the number from the cutoff and the cell."
        )
    row = min(missing)
    return (
        f"Row {row} is missing. Count the images of each axis from the distance between the "
        "cell's faces, volume / |c2 x c3|, not from the length of its vectors."
    )


def _distance(row: tuple[int, ...], positions: "np.ndarray", cell: "np.ndarray") -> float:
    import numpy as np

    i, j, *shift = row
    if not (0 <= i < len(positions) and 0 <= j < len(positions)):
        raise Wrong(f"Row {row} names an atom that is not there: atoms count from 0.")
    return float(np.linalg.norm(positions[j] + np.array(shift) @ cell - positions[i]))


@exercise(
    "70.cfconv",
    points=3,
    difficulty=3,
    minutes=12,
    hints=(
        "Go from distances to filters first: each edge gets G numbers from the Gaussians, then N_f "
        "numbers from a small network. A message is the neighbor's A x times this filter.",
        "The two layers are ssp(e @ W1.T + b1) @ W2.T + b2; then comes the cosine cutoff. Messages "
        "go from edges[0] to edges[1]: add those with the same target up with index_add_.",
        "mu = torch.linspace(0, cutoff, G); e = torch.exp(-0.5 / (mu[1] - mu[0])**2 * "
        "(d[:, None] - mu)**2); W = (ssp(e @ W1.T + b1) @ W2.T + b2) * 0.5 * (torch.cos(pi * d / "
        "cutoff) + 1)[:, None]; m = zeros(atoms, N_f).index_add_(0, edges[1], (x @ A.T)[edges[0]] "
        "* W).",
    ),
)
def cfconv(answer: Callable[..., Any]) -> None:
    """Compare with the equations on random directed graphs; the last atom has no neighbor."""
    import torch

    random = generator()
    for atoms in (3, 6):
        width, filters, gaussians = (
            int(torch.randint(low, low + 4, (), generator=random)) for low in (3, 8, 13)
        )
        count = 4 * atoms
        edges = torch.randint(0, atoms - 1, (2, count), generator=random)
        edges[0, 0], edges[1, 0] = atoms - 1, 0  # the last atom only sends
        cutoff = 4 + 2 * float(torch.rand((), generator=random))
        d = 1 + (cutoff - 1.2) * torch.rand(count, generator=random)
        x = torch.randn(atoms, width, generator=random)
        A = torch.randn(filters, width, generator=random)
        W1, W2 = (torch.randn(filters, n, generator=random) / 3 for n in (gaussians, filters))
        b1, b2 = torch.randn(2, filters, generator=random) / 3
        given = (x, edges, d, A, W1, b1, W2, b2)
        _one_convolution(answer(*(part.clone() for part in given), cutoff), given, cutoff)


def _one_convolution(got: Any, given: tuple["Tensor", ...], cutoff: float) -> None:
    import torch

    want = _convolution(given, cutoff)
    others = {
        "Source and target are swapped: messages go from edges[0], the neighbor, to edges[1].": (
            dict(source=1, target=0)
        ),
        "ssp is softplus minus ln 2, so that ssp(0) = 0: the ln 2 is missing.": dict(shift=0.0),
        "The cosine cutoff is missing: multiply each filter by (cos(pi d / cutoff) + 1) / 2.": (
            dict(fade=False)
        ),
        "This is the mean over the neighbors: add the messages up instead.": dict(mean=True),
        "The width of the Gaussians is wrong: mu_2 - mu_1 is cutoff / (G - 1), not cutoff / G.": (
            dict(narrow=True)
        ),
    }
    if isinstance(got, torch.Tensor) and got.shape == want.shape:
        for words, changes in others.items():
            wrong = _convolution(given, cutoff, **changes)
            if wrong.shape == got.shape and torch.allclose(got.nan_to_num(), wrong, atol=CLOSE):
                raise Wrong(f"my_cfconv differs from the equations. {words}")
    same_tensor(got, want, "my_cfconv(…)", tol=CLOSE * (1 + float(want.abs().max())))


def _convolution(
    given: tuple["Tensor", ...],
    cutoff: float,
    *,
    source: int = 0,
    target: int = 1,
    shift: float = math.log(2),
    fade: bool = True,
    mean: bool = False,
    narrow: bool = False,
) -> "Tensor":
    """Return cfconv of SchNet; the options are the mistakes that the check can name."""
    import torch
    from torch.nn.functional import softplus

    x, edges, d, A, W1, b1, W2, b2 = given
    gaussians, filters = W1.shape[1], len(A)
    # e_k(d) = exp(gamma (d - mu_k)^2), gamma = -1 / (2 (mu_2 - mu_1)^2)
    mu = torch.linspace(0, cutoff, gaussians)
    between = cutoff / gaussians if narrow else cutoff / (gaussians - 1)
    e = torch.exp(-((d[:, None] - mu) ** 2) / (2 * between**2))
    # W(d) = [W2 ssp(W1 e + b1) + b2] (cos(pi d / r_c) + 1) / 2
    W = (softplus(e @ W1.T + b1) - shift) @ W2.T + b2
    if fade:
        W = W * ((torch.cos(math.pi * d / cutoff) + 1) / 2)[:, None]
    # m_i = sum over j of (A x_j) * W(d_ij)
    m = torch.zeros(len(x), filters).index_add_(0, edges[target], (x @ A.T)[edges[source]] * W)
    if mean:
        m = m / torch.bincount(edges[target], minlength=len(x)).clamp(min=1)[:, None]
    return m
