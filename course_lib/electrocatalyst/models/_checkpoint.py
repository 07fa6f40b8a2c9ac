"""A model of energies in one safetensors file, its shape and facts in the metadata."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from course_lib._files import write_bytes
from course_lib.electrocatalyst.models._cgcnn import CGCNN
from course_lib.electrocatalyst.models._model import EnergyModel
from course_lib.electrocatalyst.models._schnet import SchNet


KEY = "energy_model"  # the one entry of the metadata: several would come in any order
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
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    write_bytes(Path(file), save(weights, {KEY: json.dumps(about, sort_keys=True)}))


def load_model(file: str | Path) -> EnergyModel:
    """Return the model of a file that `save_model` wrote, in eval mode, on the CPU.

    Raises FileNotFoundError for a missing file, ValueError for a damaged or foreign one.
    """
    about = _about(file)
    try:
        weights = load(Path(file).read_bytes())
        with torch.random.fork_rng(devices=[]):
            model = KINDS[about["kind"]](**about["config"])
        model.to(weights["mean"].dtype).load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ValueError(_damaged(file)) from error
    return model.eval()


def model_facts(file: str | Path) -> dict[str, Any]:
    """Return the facts that `save_model` was given; errors as for `load_model`."""
    return _about(file)["facts"]


def _about(file: str | Path) -> dict[str, Any]:
    if not Path(file).is_file():
        raise FileNotFoundError(f"There is no model {file}; write one with save_model.")
    try:
        with safe_open(file, "pt") as opened:
            return json.loads((opened.metadata() or {})[KEY])
    except (KeyError, ValueError, SafetensorError) as error:
        raise ValueError(_damaged(file)) from error


def _damaged(file: str | Path) -> str:
    return f"{file} is damaged, or not a model that save_model wrote; bring or write it again."
