"""Right and plausible wrong answers to the exercises of lab 00."""

import math

import torch


MIB = 2**20


def product_in_a_loop(shape, dtype):
    count = 1
    for size in shape:
        count *= size
    return count * dtype.itemsize


def product_by_torch(shape, dtype):
    return torch.empty(shape, dtype=dtype, device="meta").nbytes


def numbers_only(shape, dtype):
    return math.prod(shape)


def always_four(shape, dtype):
    return math.prod(shape) * 4


def in_bits(shape, dtype):
    return math.prod(shape) * dtype.itemsize * 8


def sizes_added(shape, dtype):
    return sum(shape) * dtype.itemsize


def from_zero(shape, dtype):
    count = 0
    for size in shape:
        count = count * size
    return count * dtype.itemsize


def in_mebibytes(shape, dtype):
    return math.prod(shape) * dtype.itemsize / MIB


def without_the_batch(shape, dtype):
    return math.prod(shape[1:]) * dtype.itemsize


def empty_is_nothing(shape, dtype):
    return math.prod(shape) * dtype.itemsize if shape else 0


def floats(shape, dtype):
    return math.prod(shape, start=1.0) * dtype.itemsize


def floored(budget, fixed, per_picture):
    return max(0, (budget - fixed) // per_picture)


def counted_up(budget, fixed, per_picture):
    batch = 0
    while fixed + (batch + 1) * per_picture <= budget:
        batch += 1
    return batch


def fixed_forgotten(budget, fixed, per_picture):
    return budget // per_picture


def not_rounded(budget, fixed, per_picture):
    return (budget - fixed) / per_picture


def rounded_up(budget, fixed, per_picture):
    return max(0, math.ceil((budget - fixed) / per_picture))


def below_zero(budget, fixed, per_picture):
    return (budget - fixed) // per_picture


def strictly_less(budget, fixed, per_picture):
    batch = 0
    while fixed + (batch + 1) * per_picture < budget:
        batch += 1
    return batch


def fixed_added(budget, fixed, per_picture):
    return (budget + fixed) // per_picture


RIGHT = {
    "00.tensor_bytes": [product_in_a_loop, product_by_torch],
    "00.largest_batch": [floored, counted_up],
}

WRONG = {
    "00.tensor_bytes": [
        (numbers_only, "the count of numbers"),
        (always_four, "counts 4 bytes for every number"),
        (in_bits, "is in bits"),
        (sizes_added, "adds the sizes"),
        (from_zero, "Begin the product with 1, not with 0"),
        (in_mebibytes, "is in MiB"),
        (without_the_batch, "leaves out the first axis"),
        (empty_is_nothing, "an empty shape means one single number"),
        (floats, "right but a float"),
    ],
    "00.largest_batch": [
        (fixed_forgotten, "subtract the fixed part first"),
        (not_rounded, "round down with //"),
        (rounded_up, "more than the budget"),
        (below_zero, "a batch cannot be negative"),
        (strictly_less, "fill the budget exactly"),
        (fixed_added, "is within"),
    ],
}
