"""Small codes in whole bytes: 1, 2, 4 or 8 bits for each element, with nothing between them.

One bit holds a 0/1 derivative, as MobileTL keeps it (Chiang et al., AAAI 2023); 4 bits hold one of
16 levels, as S2A does (arXiv 2503.08154). There is no Python loop over elements.

- 1 bit: bit i % 8 of byte i // 8 is element i. Eight bools are read as one 64-bit word: a product
  and a shift pack a word into a byte; a table of 256 words unpacks it.
- 2 or 4 bits: the flat codes are cut into 4 or 2 stretches of as many elements as there are bytes,
  and byte i holds the i-th code of each stretch, the first in its lowest bits. Adding whole
  stretches is one pass over memory; putting neighbors into one byte takes twice as long.
- 8 bits: the codes themselves.
"""

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int64, Shaped, UInt8
from torch import Tensor


WIDTHS = (1, 2, 4, 8)  # bits of a code
# Byte j of a word is bool j: 0 or 1. In the product, bool j lands on bit 56 + j.
_GATHER = 0x0102040810204080


def packed_size(elements: int, bits: int = 1) -> int:
    """Bytes that `elements` packed codes of `bits` bits take: ceil(elements * bits / 8).

    Raises ValueError unless `bits` is 1, 2, 4 or 8.
    """
    if bits not in WIDTHS:
        raise ValueError(f"Codes have 1, 2, 4 or 8 bits, not {bits}: others do not fill a byte.")
    return -(-elements * bits // 8)


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
    bools = _words(packed.device).index_select(0, packed.to(torch.int32)).view(torch.bool)
    return (bools[:elements] if elements % 8 else bools).view(shape)


def pack_codes(codes: Shaped[Tensor, "..."], bits: int) -> UInt8[Tensor, " packed"]:
    """Pack uint8 codes below 2 ** bits, of any shape, into ceil(n * bits / 8) bytes.

    Larger codes are not looked for: they would spoil their neighbors.
    Raises ValueError if `codes` is not uint8, or `bits` not 1, 2, 4 or 8.
    """
    if codes.dtype != torch.uint8:
        raise ValueError(f"pack_codes takes uint8 codes, not {codes.dtype}. Convert them first.")
    size = packed_size(codes.numel(), bits)
    if bits == 1:
        return pack_bits(codes.view(torch.bool))
    flat = codes.reshape(-1)
    if bits == 8:
        return flat.clone()
    places = 8 // bits
    if flat.numel() % places:
        flat = F.pad(flat, (0, -flat.numel() % places))  # (n,) -> (places * size,)
    packed, *others = flat.view(places, size).unbind()
    for place, stretch in enumerate(others, 1):
        packed = torch.add(packed, stretch, alpha=1 << bits * place)
    return packed


def unpack_codes(
    packed: Shaped[Tensor, " packed"], bits: int, shape: Sequence[int]
) -> UInt8[Tensor, "..."]:
    """Give back the uint8 codes of `shape` that `pack_codes` packed.

    Raises ValueError if `packed` is not uint8, `bits` is not 1, 2, 4 or 8, or the length of
    `packed` does not belong to `shape`.
    """
    if bits == 1:
        return unpack_bits(packed, shape).view(torch.uint8)
    if packed.dtype != torch.uint8:
        raise ValueError(f"unpack_codes takes the uint8 bytes of pack_codes, not {packed.dtype}.")
    elements = math.prod(shape)
    size = packed_size(elements, bits)
    if packed.numel() != size:
        raise ValueError(
            f"{packed.numel()} bytes do not hold codes of shape {tuple(shape)}: "
            f"{elements} codes of {bits} bits take {size} bytes."
        )
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=packed.device)
    codes = (packed >> shifts[:, None]).bitwise_and_((1 << bits) - 1)  # (places, size)
    return codes.view(-1)[:elements].view(shape)


@torch.compiler.assume_constant_result
def _words(device: torch.device) -> Int64[Tensor, "256"]:
    """For each byte, the word whose eight bytes are the bits of that byte."""
    return _table(device)


@functools.cache
def _table(device: torch.device) -> Int64[Tensor, "256"]:
    byte = torch.arange(256)
    bits = torch.stack([byte >> j & 1 for j in range(8)], dim=1)
    return bits.to(torch.uint8).view(torch.int64).flatten().to(device)
