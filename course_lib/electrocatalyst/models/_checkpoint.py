"""A model of energies in one safetensors file, its shape and facts in the metadata."""

from pathlib import Path
from typing import Any

import torch

from course_lib._weights import WeightFile
from course_lib.electrocatalyst.models._cgcnn import CGCNN
from course_lib.electrocatalyst.models._model import EnergyModel
from course_lib.electrocatalyst.models._schnet import SchNet


FILE = WeightFile("energy_model", "model", "save_model")
KINDS = {"SchNet": SchNet, "CGCNN": CGCNN}


def save_model(file: str | Path, model: EnergyModel, facts: dict[str, Any] | None = None) -> None:
    """Write weights, scale and shape of a model atomically, in the dtype it has.

    `facts` are JSON values that `model_facts` returns: seed, data, versions. Raises ValueError for
    a model of another kind.
    """
    kind = type(model).__name__
    if KINDS.get(kind) is not type(model):
        raise ValueError(f"save_model keeps {' and '.join(KINDS)}, not {kind}.")
    about = {"kind": kind, "config": model.config, "facts": facts or {}}
    FILE.write(file, model.state_dict(), about)


def load_model(file: str | Path) -> EnergyModel:
    """Return the model of a file that `save_model` wrote, in eval mode, on the CPU.

    Raises FileNotFoundError for a missing file, ValueError for a damaged or foreign one.
    """
    about, weights = FILE.about(file), FILE.weights(file)
    with FILE.reading(file), torch.random.fork_rng(devices=[]):
        model = KINDS[about["kind"]](**about["config"])
        model.to(weights["mean"].dtype).load_state_dict(weights)
    return model.eval()


def model_facts(file: str | Path) -> dict[str, Any]:
    """Return the facts that `save_model` was given; errors as for `load_model`."""
    return FILE.about(file)["facts"]
