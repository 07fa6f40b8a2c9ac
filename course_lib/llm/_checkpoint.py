"""A `TinyLM` in one safetensors file, its shape and facts in the metadata.

Weights are kept as they are, or in eight bits: each row of a matrix as integers of -127 to 127 and
one float32 step, the largest magnitude of the row divided by 127. Vectors stay float32.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from course_lib._weights import WeightFile
from course_lib.llm._model import LMConfig, TinyLM


FILE = WeightFile("tiny_lm", "checkpoint", "save_lm")
STEP = ".step"  # ends the name of the steps of a matrix in eight bits
LEVELS = 127


def save_lm(
    file: str | Path, model: TinyLM, *, bits: int = 32, facts: dict[str, Any] | None = None
) -> None:
    """Write a model atomically; `bits` is 32 (exact) or 8 (a quarter of the size).

    `facts` are JSON values that `lm_facts` returns: seed, steps, versions. Raises ValueError for
    other bits.
    """
    if bits not in (8, 32):
        raise ValueError(f"bits is {bits}; a checkpoint keeps 8 or 32 bits per weight.")
    weights: dict[str, Tensor] = {}
    for name, weight in model.state_dict().items():
        if bits == 8 and weight.ndim == 2:
            step = weight.abs().amax(dim=1, keepdim=True) / LEVELS  # (rows, 1)
            levels = (weight / step.clamp_min(torch.finfo(step.dtype).tiny)).round()
            weights[name], weights[name + STEP] = levels.to(torch.int8), step
        else:
            weights[name] = weight
    about = {"config": dataclasses.asdict(model.config), "facts": facts or {}}
    FILE.write(file, weights, about)


def load_lm(file: str | Path) -> TinyLM:
    """Return the model of a file that `save_lm` wrote, in eval mode, weights in float32.

    Raises FileNotFoundError for a missing file, ValueError for a damaged or foreign one.
    """
    about, kept = FILE.about(file), FILE.weights(file)
    with FILE.reading(file):
        config = LMConfig(**about["config"])
        with torch.random.fork_rng(devices=[]):
            model = TinyLM(config)
        weights = {
            name: weight.float() * kept[name + STEP] if name + STEP in kept else weight
            for name, weight in kept.items()
            if not name.endswith(STEP)
        }
        model.load_state_dict(weights)
    return model.eval()


def lm_facts(file: str | Path) -> dict[str, Any]:
    """Return the facts that `save_lm` was given; errors as for `load_lm`."""
    return FILE.about(file)["facts"]
