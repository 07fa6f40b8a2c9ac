"""Architectures as numbers: one row per block, for predicting what its curve will be.

Paper: arXiv 2508.03616, Table 4 (features). Depths, widths and heads of the nine Pythia sizes are
from their published configurations (EleutherAI/pythia).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    import pandas


FEATURES = (
    "relative_depth",
    "relative_depth_squared",
    "relative_depth_cubed",
    "relative_depth_root",
    "heads_per_width",
    "ffn_per_width",
    "width_per_block",
    "heads_per_block",
    "log_width",
    "block_times_blocks",
)


@dataclass(frozen=True)
class Architecture:
    """A decoder: its name, number of blocks, width, heads, and width of its feed-forward part."""

    name: str
    blocks: int
    width: int
    heads: int
    ffn: int

    def __post_init__(self) -> None:
        """Refuse sizes that no model has: ValueError."""
        sizes = {"blocks": self.blocks, "width": self.width, "heads": self.heads, "ffn": self.ffn}
        for what, size in sizes.items():
            if size < 1:
                raise ValueError(f"{self.name}: {what} is {size}, it must be at least 1.")


PYTHIA = tuple(
    Architecture(f"pythia-{name}", blocks, width, heads, 4 * width)
    for name, blocks, width, heads in (
        ("14m", 6, 128, 4),
        ("70m", 6, 512, 8),
        ("160m", 12, 768, 12),
        ("410m", 24, 1024, 16),
        ("1b", 16, 2048, 8),
        ("1.4b", 24, 2048, 16),
        ("2.8b", 32, 2560, 32),
        ("6.9b", 32, 4096, 32),
        ("12b", 36, 5120, 40),
    )
)


def block_table(architectures: Iterable[Architecture] = PYTHIA) -> "pandas.DataFrame":
    """One row per block, with columns model, block (from 0), and the paper's ten features.

    With l the block counted from 1, L blocks, width d, H heads: l/L, its square, cube and root,
    H/d, ffn/d, d/L, H/L, log d, l L. The nine Pythia models give 188 rows. Only the five with l
    differ inside a model; the other five name it.
    Errors: ValueError for no architecture, or for two with the same name.
    """
    import pandas

    models: Sequence[Architecture] = list(architectures)
    names = [model.name for model in models]
    if not models:
        raise ValueError("No architecture was given: give at least one.")
    if len(set(names)) < len(names):
        raise ValueError(f"Two architectures share a name ({', '.join(names)}): rename one.")
    rows = []
    for model in models:
        for block in range(model.blocks):
            place = (block + 1) / model.blocks
            values = (
                place,
                place**2,
                place**3,
                place**0.5,
                model.heads / model.width,
                model.ffn / model.width,
                model.width / model.blocks,
                model.heads / model.blocks,
                float(np.log(model.width)),
                float((block + 1) * model.blocks),
            )
            rows.append(
                {"model": model.name, "block": block} | dict(zip(FEATURES, values, strict=True))
            )
    return pandas.DataFrame(rows)
