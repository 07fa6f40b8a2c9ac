"""One training and its scores on every part, as one row: what a sweep repeats."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.electrocatalyst.graphs import Graph, graphs
from course_lib.electrocatalyst.learning._metrics import energy_mae, is2re_scores
from course_lib.electrocatalyst.learning._splits import Item, Splits, ood_splits
from course_lib.electrocatalyst.learning._train import predict, train_is2re
from course_lib.electrocatalyst.models import CGCNN, EnergyModel, SchNet
from course_lib.electrocatalyst.surfaces import (
    Frame,
    Sample,
    read_frames,
    read_samples,
    reference_energies,
)
from course_lib.sweep import grid


MODELS: dict[str, type[EnergyModel]] = {"cgcnn": CGCNN, "schnet": SchNet}
ADSORBATE = 2  # the tag of an adsorbate's atoms
SIZES = (50, 100, 300, 500, 1000)  # training structures of a learning curve


def without_anomalies(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples whose adsorbate stayed one piece, on a surface that stayed itself."""
    return [sample for sample in samples if not sample.anomalies]


def energies_of(samples: Sequence[Sample]) -> Float[Tensor, "systems"]:
    """Return the energies of samples, eV."""
    return torch.tensor([sample.energy for sample in samples], dtype=torch.float32)


def graphs_of(samples: Sequence[Sample]) -> list[Graph]:
    """Return the graphs of initial structures, with a cutoff of 6 angstrom."""
    return graphs(sample.atoms for sample in samples)


def build(model: str, seed: int, **config: int | float) -> EnergyModel:
    """Return an untrained `schnet` or `cgcnn`; the same seed gives the same weights.

    The random state of the caller is left as it was. Raises ValueError for another name.
    """
    if model not in MODELS:
        raise ValueError(f"There is no model '{model}'; choose one of: {', '.join(MODELS)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[model](**config)


def score(
    model: EnergyModel, splits: Splits, built: Mapping[str, Sequence[Graph]] | None = None
) -> dict[str, dict[str, int | float]]:
    """Return for each test part n, the model's mae (eV), mse and ewt, and what is easy to reach.

    `baseline` and `baseline_ewt` are the scores of the mean of all training energies. Adsorbates
    lie far apart, so it is soon beaten; `by_adsorbate` is the mae of the mean of the training
    energies with the same adsorbate, or of all where training has none.
    `built` are the parts' graphs, by name, for those who have them already.
    """
    train = energies_of(splits.train)
    names = {sample.adsorbate for sample in splits.train}
    means = {
        name: train[[sample.adsorbate == name for sample in splits.train]].mean() for name in names
    }
    found = {}
    for name, part in splits.tests().items():
        target = energies_of(part)
        base = is2re_scores(train.mean().expand_as(target), target)
        known = torch.stack([means.get(sample.adsorbate, train.mean()) for sample in part])
        found[name] = {
            "n": len(part),
            **is2re_scores(predict(model, built[name] if built else graphs_of(part)), target),
            "baseline": base["mae"],
            "baseline_ewt": base["ewt"],
            "by_adsorbate": energy_mae(known, target),
        }
    return found


def experiment(
    model: str = "schnet",
    train: int = 500,
    seed: int = 0,
    epochs: int = 60,
    batch: int = 32,
    lr: float = 2e-3,
    adsorbate: str = "N",
    metal: str = "Ni",
    split_seed: int = 0,
    progress: bool = False,
    **config: int | float,
) -> dict[str, Any]:
    """Train on the first `train` samples of the EMT set; return the scores as one row.

    The row has `id_mae`, `ood_ads_ewt`, `ood_cat_baseline`, `ood_both_n`, ... (see `score`),
    `seconds`, and `parameters`. `config` goes to the model: hidden, interactions, ...
    Raises ValueError for more samples than the training part has.
    """
    splits = shipped_splits(adsorbate, metal, split_seed)
    if not 1 <= train <= len(splits.train):
        raise ValueError(f"train is {train}; the training part has {len(splits.train)} samples.")
    built = _shipped_graphs(adsorbate, metal, split_seed)
    net = build(model, seed, **config)
    history = train_is2re(
        net,
        built["train"][:train],
        energies_of(splits.train[:train]),
        epochs=epochs,
        batch=batch,
        lr=lr,
        seed=seed,
        progress=progress,
    )
    row: dict[str, Any] = {
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "seconds": history.seconds,
    }
    for part, scores in score(net, splits, built).items():
        row |= {f"{part}_{name}": value for name, value in scores.items()}
    return row


def learning_curve(
    models: Iterable[str] = ("schnet",),
    sizes: Iterable[int] = SIZES,
    seeds: Iterable[int] = (0, 1, 2),
    **fixed: Any,
) -> list[dict[str, Any]]:
    """Return the settings of a learning curve, for `course_lib.sweep.sweep(experiment, ...)`."""
    settings = grid(model=tuple(models), train=tuple(sizes), seed=tuple(seeds))
    return [setting | fixed for setting in settings]


@lru_cache(maxsize=4)
def shipped_splits(adsorbate: str = "N", metal: str = "Ni", seed: int = 0) -> Splits:
    """Return `ood_splits` of the shipped EMT samples without anomalies, for learning.

    Their energies are counted as EMT counts (see `as_counted`). From free atoms, nitrogen would
    lie 1.5 eV from everything that training saw, and that is a matter of references alone.
    """
    samples = as_counted(without_anomalies(read_samples("emt")), reference_energies("emt"))
    return ood_splits(samples, adsorbate, metal, seed)


def shipped_frames(splits: Splits) -> list[Frame]:
    """Return the shipped frames of the training samples, their energies counted likewise."""
    known = {sample.id for sample in splits.train}
    frames = [frame for frame in read_frames() if frame.sample in known]
    return as_counted(frames, reference_energies("emt"))


def as_counted(items: Iterable[Item], references: Mapping[str, float]) -> list[Item]:
    """Return samples or frames with the energy E_adslab - E_slab, as their potential counts it.

    It is the adsorption energy plus the references (eV per element) of the adsorbate; take these
    away from a prediction to come back. Raises KeyError for an element without a reference.
    """
    found = []
    for item in items:
        added = [atom.symbol for atom in item.atoms if atom.tag == ADSORBATE]
        energy = item.energy + sum(references[symbol] for symbol in added)
        found.append(replace(item, energy=energy))
    return found


@lru_cache(maxsize=4)
def _shipped_graphs(adsorbate: str, metal: str, seed: int) -> dict[str, list[Graph]]:
    splits = shipped_splits(adsorbate, metal, seed)
    return {
        name: graphs_of(part) for name, part in {"train": splits.train, **splits.tests()}.items()
    }
