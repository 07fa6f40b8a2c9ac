"""Eight booleans in one byte: the storage of a 0/1 derivative.

MobileTL keeps one bit per activation element (Chiang et al., AAAI 2023). The pair below has no
Python loop over elements: it reads eight bools as one 64-bit word. A product and a shift pack a
word into a byte; a table of 256 words unpacks it. Bit i % 8 of byte i // 8 is element i.
"""

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int64, Shaped, UInt8
from torch import Tensor


# Byte j of a word is bool j: 0 or 1. In the product, bool j lands on bit 56 + j.
_GATHER = 0x0102040810204080


def packed_size(elements: int) -> int:
    """Bytes that `elements` packed booleans take: ceil(elements / 8)."""
    return -(-elements // 8)


def pack_bits(mask: Shaped[Tensor, "..."]) -> UInt8[Tensor, " packed"]:
    """Pack a bool tensor of any shape into ceil(n / 8) bytes; unused bits are 0.

    Raises ValueError if `mask` is not bool.
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"pack_bits takes a bool tensor, not {mask.dtype}. Compare first: x > 0.")
    flat = mask.reshape(-1)
    if flat.numel() % 8 or flat.storage_offset() % 8:
        flat = F.pad(flat, (0, -flat.numel() % 8))  # (n,) -> (8 * bytes,), in fresh memory
    # 8 bools -> 1 word -> its top byte
    return (flat.view(torch.int64) * _GATHER).bitwise_right_shift_(56).to(torch.uint8)


def unpack_bits(packed: Shaped[Tensor, " packed"], shape: Sequence[int]) -> Bool[Tensor, "..."]:
    """Give back the bool tensor of `shape` that `pack_bits` packed.

    Raises ValueError if `packed` is not uint8, or its length does not belong to `shape`.
    """
    if packed.dtype != torch.uint8:
        raise ValueError(f"unpack_bits takes the uint8 bytes of pack_bits, not {packed.dtype}.")
    elements = math.prod(shape)
    if packed.numel() != packed_size(elements):
        raise ValueError(
            f"{packed.numel()} bytes do not hold a mask of shape {tuple(shape)}: "
            f"it has {elements} bits, which take {packed_size(elements)} bytes."
        )
    # 1 byte -> 1 word -> 8 bools
    bools = torch.take(_words(packed.device), packed.to(torch.int64)).view(torch.bool)
    return (bools[:elements] if elements % 8 else bools).view(shape)


@functools.cache
def _words(device: torch.device) -> Int64[Tensor, "256"]:
    """For each byte, the word whose eight bytes are the bits of that byte."""
    byte = torch.arange(256)
    bits = torch.stack([byte >> j & 1 for j in range(8)], dim=1)
    return bits.to(torch.uint8).view(torch.int64).flatten().to(device)
