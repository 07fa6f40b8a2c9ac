"""One experiment: train a small language model, and measure its blocks on the way.

Measured is, in each block and window, the largest |h|, the median |h| and their ratio (arXiv
2508.03616, equations 4 to 6), then the mean over ten windows (equation 7). The symbols are bytes, a
window has 128 of them (the symbol 256 included), and the text is what Python carries.
"""

import hashlib
import math
import platform
from collections.abc import Callable, Collection
from pathlib import Path
from statistics import fmean, multimode
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from course_lib import assets
from course_lib.llm import (
    LMConfig,
    TinyLM,
    block_outputs,
    byte_tokens,
    mean_loss,
    save_lm,
    train_lm,
    with_bos,
)
from course_lib.massive_activations._probe import extremes


CONTEXT = 128  # tokens in a window, the symbol 256 included
SCHEDULE_STEPS = 4000
HELD_OUT = 0.05  # share of the text, its end, that no model is trained on
WINDOWS, LOSS_WINDOWS = 10, 20  # for the activations, for the loss
GROWTH = 1.08  # from one checkpoint to the next

Row = dict[str, Any]


def checkpoint_steps(steps: int) -> list[int]:
    """Return where a run of `steps` is measured: 0, 1, 2, ... 12, 13, then 8 % apart, and `steps`.

    Runs of different lengths share their checkpoints: 63 in a run of 800 steps, 93 in one of 8000.
    """
    chosen, step = [0], 1
    while step < steps:
        chosen.append(step)
        step = max(step + 1, math.ceil(GROWTH * step))
    return [*chosen, steps]


def training_text() -> str:
    """Return the help topics and the standard library of this Python, the text of all runs."""
    return f"{assets.text('python_docs')}\n\n{assets.text('python_source')}"


def text_digest(text: str) -> str:
    """Return the sha256 of a text, by which runs on another Python's text are told apart."""
    return hashlib.sha256(text.encode()).hexdigest()


def split(tokens: Int64[Tensor, "n"]) -> tuple[Int64[Tensor, "train"], Int64[Tensor, "held"]]:
    """Return the text to train on and its last 5 %, which are held out."""
    cut = len(tokens) - int(HELD_OUT * len(tokens))
    return tokens[:cut], tokens[cut:]


def fixed_windows(
    held_out: Int64[Tensor, "n"], config: LMConfig, count: int
) -> Int64[Tensor, "count context"]:
    """Return `count` windows that begin at equal distances; with BOS, 256 is their position 0.

    Raises ValueError for a text that is too short.
    """
    length = config.context - (1 if config.bos else 0)
    apart = len(held_out) // count
    if apart < length:
        raise ValueError(
            f"The held-out text has {len(held_out)} bytes; {count} windows of {length} do not fit. "
            f"Take a text of at least {math.ceil(count * length / HELD_OUT):,} bytes."
        )
    found = torch.stack([held_out[i * apart : i * apart + length] for i in range(count)])
    return with_bos(found) if config.bos else found


def measure(model: nn.Module, windows: Int64[Tensor, "count context"]) -> list[Row]:
    """Return one row per block: means over the windows, and where their largest value lies.

    top1, median: of |h|, over all tokens and dimensions of a window; ratio: the mean of top1/median
    of each window; at_start: the share of windows whose largest value is at position 0; dimension:
    the one that holds the largest value most often.
    """
    rows = []
    for block, h in enumerate(block_outputs(model, windows)):
        found = [extremes(window) for window in h]
        rows.append(
            {
                "block": block,
                "top1": fmean(one.top1 for one in found),
                "median": fmean(one.median for one in found),
                "ratio": fmean(one.ratio for one in found),
                "at_start": fmean(one.position == 0 for one in found),
                "dimension": min(multimode(one.dimension for one in found)),
            }
        )
    return rows


def trajectory(
    blocks: int = 6,
    width: int = 128,
    heads: int = 4,
    positions: str = "rotary",
    bos: bool = True,
    seed: int = 0,
    steps: int = SCHEDULE_STEPS,
    schedule_steps: int = SCHEDULE_STEPS,
    *,
    checkpoints: Collection[int] | None = None,
    text: str | None = None,
    keep: str | None = None,
    on_rows: Callable[[list[Row]], object] | None = None,
    progress: bool = False,
) -> list[Row]:
    """Train one architecture; return one row per checkpoint and block.

    A row has step (updates done), val_loss (nats per byte on 20 held-out windows) and what
    `measure` returns. The measured steps are `checkpoint_steps(steps)` unless given. `seed` sets
    weights and batches, so a run with fewer steps of the same schedule repeats the first rows.
    `on_rows(rows)` gets the rows of each checkpoint as they are made; `keep` names a file for the
    trained model. Raises ValueError for a shape that no model has and a text that is too short.
    """
    config = LMConfig(blocks, width, heads, CONTEXT, positions, bos)
    text = training_text() if text is None else text
    train, held_out = split(byte_tokens(text))
    probes = fixed_windows(held_out, config, WINDOWS)
    unseen = fixed_windows(held_out, config, LOSS_WINDOWS)
    rows: list[Row] = []

    def record(step: int, model: TinyLM) -> None:
        loss = mean_loss(model, unseen)
        found = [{"step": step, **row, "val_loss": loss} for row in measure(model, probes)]
        rows.extend(found)
        if on_rows is not None:
            on_rows(found)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TinyLM(config)
    train_lm(
        model,
        train,
        steps=steps,
        seed=seed,
        schedule_steps=schedule_steps,
        checkpoints=checkpoint_steps(steps) if checkpoints is None else checkpoints,
        on_checkpoint=record,
        progress=progress,
    )
    if keep is not None:
        facts = {
            "seed": seed,
            "steps": steps,
            "schedule_steps": schedule_steps,
            "text_sha256": text_digest(text),
            "python": platform.python_version(),
            "torch": torch.__version__,
        }
        save_lm(Path(keep), model, facts=facts)
    return rows
