"""Bytes as symbols: 0 to 255 are the bytes of UTF-8, 256 marks the beginning of a window."""

import torch
from jaxtyping import Int64
from torch import Tensor


BOS = 256


def byte_tokens(text: str) -> Int64[Tensor, "n"]:
    """Return the UTF-8 bytes of a text, one symbol of 0 to 255 each, as one row (n,).

    Raises ValueError for an empty text.
    """
    if not text:
        raise ValueError("The text is empty; give at least one character.")
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long()


def with_bos(windows: Int64[Tensor, "count length"]) -> Int64[Tensor, "count length+1"]:
    """Return the windows with the symbol 256 before each: one token longer, at position 0."""
    start = windows.new_full((len(windows), 1), BOS)
    return torch.cat([start, windows], dim=1)
