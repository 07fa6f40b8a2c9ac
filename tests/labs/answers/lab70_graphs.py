"""Right and plausible wrong answers of lab 70: neighbors, SchNet's convolution."""

import itertools
import math

import numpy as np
import torch
from torch.nn.functional import softplus


# 70.neighbors


def enough(cell, cutoff):
    volume = abs(np.linalg.det(cell))
    faces = [np.linalg.norm(np.cross(cell[k - 2], cell[k - 1])) for k in range(3)]
    return [math.ceil(cutoff * area / volume) + 1 for area in faces]


def by_loops(positions, cell, cutoff, reach=enough, turn=1, itself=False):
    rows = []
    for S in itertools.product(*(range(-n, n + 1) for n in reach(cell, cutoff))):
        shift = turn * np.array(S) @ cell
        for i, j in itertools.product(range(len(positions)), repeat=2):
            apart = math.dist(positions[j] + shift, positions[i])
            if apart <= cutoff and (itself or i != j or any(S)):
                rows.append((i, j, *S))
    return rows


def by_arrays(positions, cell, cutoff, columns=False):
    S = np.array(list(itertools.product(*(range(-n, n + 1) for n in enough(cell, cutoff)))))
    shifts = np.stack([cell @ one for one in S]) if columns else S @ cell
    apart = positions[None, :, None] + shifts - positions[:, None, None]
    i, j, place = np.nonzero(np.linalg.norm(apart, axis=-1) <= cutoff)
    rows = np.column_stack([i, j, S[place]])
    return rows[(i != j) | S[place].any(axis=1)]


def minimum_image(positions, cell, cutoff):
    rows = []
    for i, j in itertools.permutations(range(len(positions)), 2):
        images = [r for r in by_loops(positions, cell, 30, lambda *_: [2] * 3) if r[:2] == (i, j)]
        row = min(images, key=lambda r: np.linalg.norm(positions[j] + r[2:] @ cell - positions[i]))
        if np.linalg.norm(positions[j] + row[2:] @ cell - positions[i]) <= cutoff:
            rows.append(row)
    return rows


def next_cells(positions, cell, cutoff):
    return by_loops(positions, cell, cutoff, lambda *_: [1, 1, 1])


def from_lengths(positions, cell, cutoff):
    def reach(cell, cutoff):
        return [math.ceil(cutoff / np.linalg.norm(vector)) for vector in cell]

    return by_loops(positions, cell, cutoff, reach)


def no_own_images(positions, cell, cutoff):
    return [row for row in by_loops(positions, cell, cutoff) if row[0] != row[1]]


def as_columns(positions, cell, cutoff):
    return by_arrays(positions, cell, cutoff, columns=True)


def once(positions, cell, cutoff):
    rows = by_loops(positions, cell, cutoff)
    return [row for row in rows if row < (row[1], row[0], *(-n for n in row[2:]))]


def other_sign(positions, cell, cutoff):
    return by_loops(positions, cell, cutoff, turn=-1)


def with_itself(positions, cell, cutoff):
    return by_loops(positions, cell, cutoff, itself=True)


def twice(positions, cell, cutoff):
    return 2 * by_loops(positions, cell, cutoff)


def further(positions, cell, cutoff):
    return by_arrays(positions, cell, 1.2 * cutoff)


def with_distances(positions, cell, cutoff):
    rows = by_arrays(positions, cell, cutoff)
    return np.column_stack([rows, np.ones(len(rows))])


# 70.cfconv


def filters(d, W1, b1, W2, b2, cutoff, ln2=0.6931472, fade=True, gaps=1):
    mu = torch.linspace(0, cutoff, W1.shape[1])
    width = cutoff / (len(mu) - gaps)
    basis = torch.exp(-0.5 * ((d[:, None] - mu) / width) ** 2)
    W = (softplus(basis @ W1.T + b1) - ln2) @ W2.T + b2
    return W * (0.5 * (torch.cos(math.pi * d / cutoff) + 1))[:, None] if fade else W


def by_index_add(x, edges, d, A, *rest, source=0, target=1, **changes):
    messages = (x @ A.T)[edges[source]] * filters(d, *rest, **changes)
    return torch.zeros(len(x), len(A)).index_add_(0, edges[target], messages)


def by_loop(x, edges, d, A, *rest):
    W = filters(d, *rest)
    m = [torch.zeros(len(A)) for _ in x]
    for place, (source, target) in enumerate(edges.T.tolist()):
        m[target] = m[target] + (A @ x[source]) * W[place]
    return torch.stack(m)


def swapped(*given):
    return by_index_add(*given, source=1, target=0)


def plain_softplus(*given):
    return by_index_add(*given, ln2=0)


def no_fade(*given):
    return by_index_add(*given, fade=False)


def mean(x, edges, *rest):
    counts = torch.bincount(edges[1], minlength=len(x))
    return by_index_add(x, edges, *rest) / counts[:, None]


def narrow(*given):
    return by_index_add(*given, gaps=0)


def only_receivers(x, edges, *rest):
    return by_index_add(x, edges, *rest)[: edges[1].max() + 1]


RIGHT = {
    "70.neighbors": [by_loops, by_arrays],
    "70.cfconv": [by_index_add, by_loop],
}

WRONG = {
    "70.neighbors": [
        (minimum_image, "at most the nearest image"),
        (next_cells, "You go 1 cell to each side"),
        (from_lengths, "not from the length of its vectors"),
        (no_own_images, "An atom's own images count too"),
        (as_columns, "mixes columns"),
        (once, "Each pair is there once"),
        (other_sign, "The sign of S is wrong"),
        (with_itself, "An atom is no neighbor of itself"),
        (twice, "Some rows are there twice"),
        (further, "does not belong"),
        (with_distances, "returns the shape"),
    ],
    "70.cfconv": [
        (swapped, "Source and target are swapped"),
        (plain_softplus, "the ln 2 is missing"),
        (no_fade, "The cosine cutoff is missing"),
        (mean, "This is the mean"),
        (narrow, "The width of the Gaussians"),
        (only_receivers, "should have the shape"),
    ],
}
