"""Right and plausible wrong answers to the exercises of lab 11."""

import itertools

import numpy
import torch
import torch.nn.functional as F
from scipy.optimize import LinearConstraint, milp


# 11.lrp_gradients


def by_matrices(g, A, B):
    total = g.sum(dim=0)
    return total @ B.T, A.T @ total


def by_einsum(g, A, B):
    return torch.einsum("bnd,rd->nr", g, B), torch.einsum("nr,bnd->rd", A, g)


def batch_left(g, A, B):
    return g @ B.T, A.T @ g


def batch_mean(g, A, B):
    return by_matrices(g.mean(dim=0, keepdim=True), A, B)


def swapped(g, A, B):
    return tuple(reversed(by_matrices(g, A, B)))


def descent(g, A, B):
    return by_matrices(-g, A, B)


def first_sample(g, A, B):
    return by_matrices(g[:1] * 1.5, A, B)


# 11.block_bytes


def by_formula(N, D, H, method):
    if method == "s2a":
        return 12 * N * D + (6 * N * D + H * N * N) // 2 + 24 * N + 4 * H * N
    streams = 10 if method == "bias" else 17
    low_rank = 4 * N * 8 if method == "lora_all" else 0
    return 4 * (streams * N * D + H * N * N + 4 * N + low_rank)


def by_layers(N, D, H, method):
    half = 0.5 if method == "s2a" else 4
    norms = 2 * (half * N * D + (12 if method == "s2a" else 8) * N)
    qkv = 4 * (3 if method == "s2a" else 4) * N * D
    softmax = half * H * N * N + (4 * H * N if method == "s2a" else 0)
    gelu = half * 4 * N * D
    linears = 4 * 7 * N * D if method in ("full", "lora_all") else 0
    lora = 4 * 4 * N * 8 if method == "lora_all" else 0
    return norms + qkv + softmax + gelu + linears + lora


def in_numbers(N, D, H, method):
    return by_formula(N, D, H, method) / 4


def no_map(N, D, H, method):
    return by_formula(N, D, H, method) - (H * N * N // 2 if method == "s2a" else 4 * H * N * N)


def one_head(N, D, H, method):
    full = no_map(N, D, H, method)
    return full + (N * N // 2 if method == "s2a" else 4 * N * N)


def no_statistics(N, D, H, method):
    small = 24 * N + 4 * H * N if method == "s2a" else 16 * N
    return by_formula(N, D, H, method) - small


def byte_codes(N, D, H, method):
    extra = (6 * N * D + H * N * N) // 2 if method == "s2a" else 0
    return by_formula(N, D, H, method) + extra


def no_qkv(N, D, H, method):
    return by_formula(N, D, H, method) - (12 * N * D if method == "s2a" else 0)


def lean_lora(N, D, H, method):
    if method == "lora_all":
        return by_formula(N, D, H, "bias") + 4 * 4 * N * 8
    return by_formula(N, D, H, method)


# 11.gelu_code


def slope(x):
    y = x.clone().requires_grad_()
    return torch.autograd.grad(F.gelu(y).sum(), y)[0]


def rounded(x):
    codes = (12 * slope(x)).round().add(2).clamp(0, 15)
    return codes.to(torch.uint8), (codes - 2) / 12


def nearest_level(x):
    levels = torch.arange(-2, 14) / 12
    codes = (slope(x)[:, None] - levels).abs().argmin(dim=1)
    return codes.to(torch.uint8), levels[codes]


def minmax(x):
    low, high = -0.12904, 1.12904
    codes = ((slope(x) - low) / (high - low) * 15).round().clamp(0, 15)
    return codes.to(torch.uint8), low + codes * (high - low) / 15


def not_clamped(x):
    codes = (12 * slope(x)).round().add(2)
    return codes.to(torch.uint8), (codes - 2) / 12


def signed(x):
    codes = (12 * slope(x)).round().clamp(-2, 13)
    return codes.to(torch.int8), codes / 12


def cut_off(x):
    codes = (12 * slope(x)).floor().add(2).clamp(0, 15)
    return codes.to(torch.uint8), (codes - 2) / 12


def of_the_input(x):
    codes = (12 * x).round().add(2).clamp(0, 15)
    return codes.to(torch.uint8), (codes - 2) / 12


def eight_bytes(x):
    codes, decoded = rounded(x)
    return codes.long(), decoded


def offset_forgotten(x):
    codes, _ = rounded(x)
    return codes, codes / 12


def exact(x):
    return rounded(x)[0], slope(x)


# 11.allocation


def solver(cost, error, budget):
    pairs = [(part, width) for part in cost for width in cost[part]]
    rows = numpy.array([[float(p == part) for p, _ in pairs] for part in cost])
    spent = numpy.array([cost[p][w] for p, w in pairs])
    found = milp(
        c=[error[p][w] for p, w in pairs],
        constraints=[LinearConstraint(rows, 1, 1), LinearConstraint(spent, 0, budget)],
        integrality=numpy.ones(len(pairs)),
        bounds=(0, 1),
    )
    return {p: w for (p, w), chosen in zip(pairs, found.x, strict=True) if chosen > 0.5}


def every_choice(cost, error, budget):
    choices = (dict(zip(cost, c, strict=True)) for c in itertools.product(*cost.values()))
    fits = [c for c in choices if sum(cost[p][w] for p, w in c.items()) <= budget]
    return min(fits, key=lambda c: sum(error[p][w] for p, w in c.items()))


def most_bits(cost, error, budget):
    return {part: 8 for part in cost}


def one_width(cost, error, budget):
    return {part: 4 for part in cost}


def equal_shares(cost, error, budget):
    share = budget / len(cost)
    return {
        part: max((w for w, size in sizes.items() if size <= share), default=1)
        for part, sizes in cost.items()
    }


def greedy_backwards(cost, error, budget):
    """Give the least important part its bits first."""
    choice = {part: 1 for part in cost}
    for part in sorted(cost, key=lambda p: error[p][1]):
        for width in (2, 4, 8):
            tried = choice | {part: width}
            if sum(cost[p][w] for p, w in tried.items()) <= budget:
                choice = tried
    return choice


def one_missing(cost, error, budget):
    choice = every_choice(cost, error, budget)
    choice.pop("qkv")
    return choice


def six_bits(cost, error, budget):
    return every_choice(cost, error, budget) | {"attention": 6}


RIGHT = {
    "11.lrp_gradients": [by_matrices, by_einsum],
    "11.block_bytes": [by_formula, by_layers],
    "11.gelu_code": [rounded, nearest_level],
    "11.allocation": [solver, every_choice],
}

WRONG = {
    "11.lrp_gradients": [
        (batch_left, "still has a batch axis"),
        (batch_mean, "the mean over the batch"),
        (swapped, "the shape of the other one"),
        (descent, "the wrong sign"),
        (first_sample, "values wrong"),
    ],
    "11.block_bytes": [
        (in_numbers, "numbers in place of bytes"),
        (no_map, "The attention map is missing"),
        (one_head, "one attention map per head"),
        (no_statistics, "beside their map"),
        (byte_codes, "half a byte"),
        (no_qkv, "q, k and v are missing"),
        (lean_lora, "all linear inputs stay"),
    ],
    "11.gelu_code": [
        (minmax, "the minmax grid"),
        (not_clamped, "4 bits end at 15"),
        (signed, "stored without a sign"),
        (cut_off, "cut the digits off"),
        (of_the_input, "You code x itself"),
        (eight_bytes, "8 bytes each"),
        (offset_forgotten, "forgets the 2"),
        (exact, "from the codes alone"),
    ],
    "11.allocation": [
        (most_bits, "above the budget"),
        (one_width, "All parts have one width"),
        (equal_shares, "the same share"),
        (greedy_backwards, "Let the solver choose"),
        (one_missing, "needs one width"),
        (six_bits, "can be packed"),
    ],
}
