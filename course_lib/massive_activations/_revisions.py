"""Measure one published checkpoint of Pythia afresh: one run of a sweep at full scale.

Paper: arXiv 2508.03616, section 3: ten sequences of RedPajama-1T-Sample, 2048 tokens each, without
special tokens. The paper averages the ratio over the sequences (Eq. 7), and so do we.
"""

from typing import Any

import torch

from course_lib import assets, llm
from course_lib.massive_activations._probe import probe


def revision_run(
    size: str,
    step: int,
    *,
    text: str = "redpajama_sample",
    length: int = 2048,
    count: int = 10,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Probe Pythia of a size ("70m") after a training step; one row per block, from names alone.

    A row holds block, top1, median and ratio (means over `count` windows of `length` tokens), and
    at_start, the share of windows whose largest value is at position 0.
    Raises AssetError for a size, a step or a text that cannot be had.
    """
    name = f"pythia-{size}"
    model: Any = assets.language_model(name, revision=f"step{step}")
    model.to(device)
    ids = torch.tensor(
        assets.tokenizer(name)(assets.text(text), add_special_tokens=False)["input_ids"]
    )
    table = probe(model, llm.windows(ids, length, count).to(device), progress=False)
    table["at_start"] = (table["position"] == 0).astype(float)
    columns = ["top1", "median", "ratio", "at_start"]
    means: Any = table.groupby("block", as_index=False)[columns].mean()
    return means.to_dict("records")
