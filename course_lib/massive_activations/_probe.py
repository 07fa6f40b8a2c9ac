"""The largest and the median activation of every block, window by window (Eqs. 4-6).

Paper: arXiv 2508.03616, section 3. The paper also averages over ten windows (Eq. 7); here a table
keeps each window, so that its mean and its spread can both be taken.
"""

import math
from typing import NamedTuple

import pandas as pd
from jaxtyping import Float, Int64
from torch import Tensor, nn
from tqdm import tqdm

from course_lib._frontend import is_watched
from course_lib.llm import block_outputs


class Extremes(NamedTuple):
    """The three largest |h| of one hidden state, their median, and where the largest one lies."""

    top1: float
    top2: float
    top3: float
    median: float
    ratio: float
    position: int
    dimension: int


def extremes(h: Float[Tensor, "*shape"]) -> Extremes:
    """Return the extremes of one hidden state (tokens, width); no unit, ratio = top1 / median.

    All tokens x width entries count alike. The median of |h| is the lower of the two in the middle;
    of equal largest entries the first one is named.
    Raises ValueError for another rank, for NaN or infinity, and for a median of 0.
    """
    if h.ndim != 2 or h.numel() < 3:
        raise ValueError(
            f"A hidden state has the shape (tokens, width), got {tuple(h.shape)}; "
            "take one window, for example h[0]."
        )
    # (tokens, width) -> (tokens * width,)
    sizes = h.detach().float().abs().flatten()
    top1, top2, top3 = sizes.topk(3).values.tolist()  # NaN counts as the largest
    if not math.isfinite(top1):
        raise ValueError(
            f"The hidden state holds {top1}; the largest activation must be finite. "
            "Use float32 weights: float16 ends at 65,504."
        )
    median = sizes.median().item()
    if median == 0:
        raise ValueError(
            "The median of |h| is 0, so the ratio does not exist; "
            "at least half of this hidden state is zero."
        )
    position, dimension = divmod(int(sizes.argmax()), h.shape[1])
    return Extremes(top1, top2, top3, median, top1 / median, position, dimension)


def probe(
    model: nn.Module, windows: Int64[Tensor, "*shape"], *, progress: bool = True
) -> pd.DataFrame:
    """Measure the output of every block in every window (count, length): one row each.

    Columns: window, block (both from 0), top1, top2, top3 (largest |h|), median, ratio, position
    and dimension (of top1). The outputs are those after both residual additions and before the
    final norm. Memory: all block outputs of one window. Raises ValueError for windows of another
    rank, a model without decoder blocks, and what `extremes` refuses.
    """
    if windows.ndim != 2 or 0 in windows.shape:
        raise ValueError(
            f"windows must have the shape (count, length), got {tuple(windows.shape)}; "
            "one window is tokens[None]."
        )
    bar = tqdm(windows, desc="windows", disable=not (progress and is_watched()), delay=2)
    return pd.DataFrame(
        [
            {"window": window, "block": block, **extremes(h[0])._asdict()}
            for window, tokens in enumerate(bar)
            for block, h in enumerate(block_outputs(model, tokens[None]))
        ]
    )
