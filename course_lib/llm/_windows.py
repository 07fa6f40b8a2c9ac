"""Token sequences cut into windows of one length."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor


def windows(
    tokens: Int64[Tensor, "*shape"], length: int, count: int, *, seed: int | None = None
) -> Int64[Tensor, "count length"]:
    """Return `count` windows of `length` tokens, cut from one long sequence (tokens,).

    Without a seed these are the first `count` consecutive windows. With one, each begins at a
    random place, the same places for the same seed. Raises ValueError when the sequence is too
    short or is not one row.
    """
    if tokens.ndim != 1:
        raise ValueError(
            f"tokens must be one row of numbers, got shape {tuple(tokens.shape)}; "
            "pass the tokens of one text, for example tokens[0]."
        )
    if length < 2 or count < 1:
        raise ValueError(
            f"windows need length >= 2 and count >= 1, got length {length} and count {count}."
        )
    if seed is not None:
        # The last token of the text stays out, so that every window has a next token.
        places = len(tokens) - length - 1
        if places < 1:
            raise ValueError(f"{len(tokens):,} tokens are too few for windows of {length}.")
        starts = np.random.default_rng(seed).integers(0, places, count)
        return torch.stack([tokens[start : start + length] for start in starts.tolist()])
    if len(tokens) < length * count:
        raise ValueError(
            f"{count} windows of {length} need {count * length:,} tokens, got {len(tokens):,}; "
            "ask for fewer windows or take a longer text."
        )
    # (count * length,) -> (count, length)
    return tokens[: count * length].reshape(count, length)
