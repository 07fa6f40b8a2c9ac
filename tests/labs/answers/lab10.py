"""Right and plausible wrong answers to the exercises of lab 10."""

import copy

import numpy
import torch
import torch.nn.functional as F
from torch import nn

from course_lib import mobiletl


# 10.irb_bytes


def by_equations(B, C, E, P, P2, C2, mobiletl):
    maps = C * P + E * P + E * P2 + C2 * P2
    if mobiletl:
        return 4 * B * maps + -(-B * E * P // 8) + -(-B * E * P2 // 8) + 8 * C2
    return 4 * B * (maps + 2 * E * P + 2 * E * P2) + 8 * (2 * E + C2)


def by_list(B, C, E, P, P2, C2, mobiletl):
    convolutions = [4 * B * C * P, 4 * B * E * P, 4 * B * E * P2]
    norms = [4 * B * C2 * P2 + 8 * C2]
    if not mobiletl:
        norms += [4 * B * E * P + 8 * E, 4 * B * E * P2 + 8 * E]
    each = (1 / 8) if mobiletl else 4
    activations = [int(numpy.ceil(each * B * E * P)), int(numpy.ceil(each * B * E * P2))]
    return sum(convolutions) + sum(norms) + sum(activations)


def without_statistics(B, C, E, P, P2, C2, mobiletl):
    return by_equations(B, C, E, P, P2, C2, mobiletl) - 8 * (C2 if mobiletl else 2 * E + C2)


def without_activations(B, C, E, P, P2, C2, mobiletl):
    full = by_equations(B, C, E, P, P2, C2, mobiletl)
    return full if mobiletl else full - 4 * B * E * (P + P2)


def bool_masks(B, C, E, P, P2, C2, mobiletl):
    if not mobiletl:
        return by_equations(B, C, E, P, P2, C2, False)
    return 4 * B * (C * P + E * P + E * P2 + C2 * P2) + B * E * (P + P2) + 8 * C2


def stride_forgotten(B, C, E, P, P2, C2, mobiletl):
    return by_equations(B, C, E, P, P, C2, mobiletl)


def no_masks(B, C, E, P, P2, C2, mobiletl):
    if not mobiletl:
        return by_equations(B, C, E, P, P2, C2, False)
    return 4 * B * (C * P + E * P + E * P2 + C2 * P2) + 8 * C2


# 10.pack_bits


def by_weights(mask):
    flat = mask.flatten()
    rows = F.pad(flat, (0, -flat.numel() % 8)).reshape(-1, 8)
    return (rows * 2 ** torch.arange(8)).sum(dim=1).to(torch.uint8)


def by_numpy(mask):
    return torch.from_numpy(numpy.packbits(mask.flatten().numpy(), bitorder="little"))


def one_byte_each(mask):
    return mask.flatten().to(torch.uint8)


def largest_bit_first(mask):
    return torch.from_numpy(numpy.packbits(mask.flatten().numpy()))


def rest_dropped(mask):
    flat = mask.flatten()
    rows = flat[: flat.numel() // 8 * 8].reshape(-1, 8)
    return (rows * 2 ** torch.arange(8)).sum(dim=1).to(torch.uint8)


def eight_byte_numbers(mask):
    return by_weights(mask).to(torch.int64)


def bits_counted(mask):
    flat = mask.flatten()
    return F.pad(flat, (0, -flat.numel() % 8)).reshape(-1, 8).sum(dim=1).to(torch.uint8)


# 10.convert


def sequential(block):
    for name in ("bn1", "bn2"):
        norm = mobiletl.ShiftNorm.from_norm(getattr(block, name))
        setattr(block, name, nn.Sequential(norm, mobiletl.MaskAct("relu6")))
    return block


def copied(block):
    return mobiletl.convert_block(copy.deepcopy(block), "exact")


def flags_only(block):
    for norm in (block.bn1, block.bn2):
        norm.weight.requires_grad_(False)
    return block


def shift_only(block):
    for name in ("bn1", "bn2"):
        norm = getattr(block, name)
        setattr(block, name, nn.Sequential(mobiletl.ShiftNorm.from_norm(norm), norm.act))
    return block


def mask_only(block):
    block.bn1.act = mobiletl.MaskAct("relu6")
    block.bn2.act = mobiletl.MaskAct("relu6")
    return block


def activation_lost(block):
    block.bn1 = mobiletl.ShiftNorm.from_norm(block.bn1)
    block.bn2 = mobiletl.ShiftNorm.from_norm(block.bn2)
    return block


def first_only(block):
    norm = mobiletl.ShiftNorm.from_norm(block.bn1)
    block.bn1 = nn.Sequential(norm, mobiletl.MaskAct("relu6"))
    return block


def all_three(block):
    sequential(block)
    block.bn3 = mobiletl.ShiftNorm.from_norm(block.bn3)
    return block


def convolutions_frozen(block):
    sequential(block)
    for convolution in (block.conv_pw, block.conv_dw, block.conv_pwl):
        convolution.requires_grad_(False)
    return block


# 10.levels


def slope_of(x):
    return torch.where(x < -3, 0.0, torch.where(x > 3, 1.0, (2 * x + 3) / 6))


def means(x):
    slope = slope_of(x)
    return slope[x < 0].mean(), slope[x >= 0].mean()


def least_squares(x):
    sides = torch.stack([x < 0, x >= 0], dim=1).float()
    low, high = torch.linalg.lstsq(sides, slope_of(x)[:, None]).solution[:, 0].tolist()
    return [low, high]


def the_papers(x):
    return 0.0, 1.0


def swapped(x):
    low, high = means(x)
    return high, low


def of_the_values(x):
    y = F.hardswish(x)
    return y[x < 0].mean(), y[x >= 0].mean()


def medians(x):
    slope = slope_of(x)
    return slope[x < 0].median(), slope[x >= 0].median()


def guessed(x):
    return 0.25, 0.75


RIGHT = {
    "10.irb_bytes": [by_equations, by_list],
    "10.pack_bits": [by_weights, by_numpy],
    "10.convert": [sequential, copied],
    "10.levels": [means, least_squares],
}

WRONG = {
    "10.irb_bytes": [
        (without_statistics, "mean and inverse deviation"),
        (without_activations, "The activations are missing"),
        (bool_masks, "one byte per mask element"),
        (stride_forgotten, "P2 pixels, not P"),
        (no_masks, "The two masks are missing"),
    ],
    "10.pack_bits": [
        (one_byte_each, "one byte per bit"),
        (largest_bit_first, "in reverse order"),
        (rest_dropped, "do not drop the rest"),
        (eight_byte_numbers, "8 bytes each"),
        (bits_counted, "values wrong"),
    ],
    "10.convert": [
        (flags_only, "nothing is saved"),
        (shift_only, "ordinary ReLU6"),
        (mask_only, "A BatchNorm is still there"),
        (activation_lost, "computes something else"),
        (first_only, "is not converted yet"),
        (all_three, "bn3 is not an ordinary"),
        (convolutions_frozen, "is frozen"),
    ],
    "10.levels": [
        (the_papers, "the paper's levels"),
        (swapped, "They are swapped"),
        (of_the_values, "average h-swish itself"),
        (medians, "The median"),
        (guessed, "is possible"),
    ],
}
