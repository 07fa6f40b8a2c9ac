"""Eight booleans in one byte: the storage of a 0/1 derivative.

MobileTL keeps one bit per activation (paper, section "Approximating the backward of activations"). The
pair below has no Python loop over elements. It treats eight bools as one 64-bit number, so that
a product and a shift pack a whole byte at once. The bit of element i is bit i % 8 of byte i // 8.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Shaped, UInt8
from torch import Tensor


# Byte j of a 64-bit word holds bool j (0 or 1). Times _GATHER, bool j lands on bit 56 + j.
_GATHER = 0x0102040810204080
# Times _SPREAD, a byte is repeated in all eight bytes of the word.
_SPREAD = 0x0101010101010101
# Bit j in byte j, as a signed number.
_PICK = 0x8040201008040201 - (1 << 64)
# Added to a byte of 0 or 2**j, it sets the top bit exactly when the byte is not 0.
_CARRY = 0x7F7F7F7F7F7F7F7F


def packed_size(elements: int) -> int:
    """Bytes that `elements` packed booleans take: ceil(elements / 8)."""
    return -(-elements // 8)


def pack_bits(mask: Shaped[Tensor, "..."]) -> UInt8[Tensor, "packed"]:
    """Pack a bool tensor of any shape into ceil(n / 8) bytes, unused bits 0.

    Raises ValueError if `mask` is not bool.
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"pack_bits takes a bool tensor, not {mask.dtype}: compare first, x > 0.")
    flat = mask.reshape(-1)
    # (n,) -> (8 * ceil(n / 8),)
    flat = F.pad(flat, (0, -flat.numel() % 8)) if flat.numel() % 8 else flat.clone()
    # 8 bools -> 1 int64 word -> the word's top byte
    words = flat.view(torch.int64)
    return words.mul_(_GATHER).bitwise_right_shift_(56).to(torch.uint8)


def unpack_bits(packed: Shaped[Tensor, "packed"], shape: Sequence[int]) -> Bool[Tensor, "..."]:
    """Give back the bool tensor of `shape` that `pack_bits` packed.

    Raises ValueError if `packed` is not uint8 or its length does not belong to `shape`.
    """
    if packed.dtype != torch.uint8:
        raise ValueError(f"unpack_bits takes the uint8 bytes of pack_bits, not {packed.dtype}.")
    elements = math.prod(shape)
    if packed.numel() != packed_size(elements):
        raise ValueError(
            f"{packed.numel()} bytes do not hold a mask of shape {tuple(shape)}: "
            f"it has {elements} bits, which take {packed_size(elements)} bytes."
        )
    # 1 byte -> 1 int64 word with bit j kept in byte j -> 0 or 1 in each byte
    words = packed.to(torch.int64).mul_(_SPREAD).bitwise_and_(_PICK)
    words.add_(_CARRY).bitwise_right_shift_(7).bitwise_and_(_SPREAD)
    return words.view(torch.bool)[:elements].reshape(tuple(shape))
