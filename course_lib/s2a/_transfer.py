"""One experiment for every method: train a copy of a network on new classes, and weigh it.

The rates are those of our S2A course definition; the paper's are not public. It trains with a
one-cycle rate and AdamW. We lower the rate as a cosine from its first step on, without the warm-up
of one-cycle. Its weight decay is 0, so its AdamW is Adam.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import measure, training
from course_lib.s2a._apply import apply
from course_lib.s2a._baselines import baseline


Data = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TransferResult:
    """One method and one seed: accuracy in percent, bytes kept of one batch, seconds of training.

    `trainable` counts the trained numbers, those of the new classifier included.
    """

    method: str
    seed: int
    accuracy: float
    kept_bytes: int
    trainable: int
    seconds: float


# Names, learning rates, and how a copy of the network is made. Sizes fit a width of 64.
_BASELINES: dict[str, tuple[float, dict[str, int]]] = {
    "full": (1e-3, {}),
    "linear_probe": (1e-2, {}),
    "bitfit": (5e-3, {}),
    "lora_qkv": (3e-3, {"rank": 4}),
    "lora_all": (3e-3, {"rank": 4}),
    "adapter": (3e-3, {"bottleneck": 8}),
    "vpt_deep": (5e-3, {"prompts": 4}),
    "lst": (3e-3, {"reduction": 8}),
    "checkpointing": (1e-3, {}),
    "activation_coding": (1e-3, {"bits": 4}),
}
_S2A: dict[str, dict[str, Any]] = {
    "s2a_bias": {"modules": ("bias",)},
    "s2a_exact": {"modules": ("bias", "lrp"), "bits": 32},
    "s2a": {"modules": ("bias", "lrp")},
    "s2a_qkv": {"modules": ("bias", "lrp"), "qkv_bits": 4},
    "s2a_lsb": {"modules": ("bias", "lrp", "lsb")},
}
_METHODS: dict[str, tuple[float, Callable[..., nn.Module]]] = {
    name: (rate, partial(baseline, name=name, **options))
    for name, (rate, options) in _BASELINES.items()
} | {name: (5e-3, partial(apply, **options)) for name, options in _S2A.items()}
TRANSFER_METHODS = tuple(_METHODS)


def transfer(
    model: nn.Module,
    method: str,
    train: Data,
    test: Data,
    *,
    epochs: int = 20,
    batch_size: int = 32,
    lr: float | None = None,
    seed: int = 0,
    **options: Any,
) -> TransferResult:
    """Train a copy of a timm ViT by `method` on `train`, test it on `test`; `model` stays as it is.

    The copy gets a new classifier for the labels of `train`. `method` is a baseline, or an S2A:
    "s2a" trains biases and low-rank prompts with 4-bit codes, "s2a_exact" the same without codes.
    "s2a_qkv" codes q, k and v too, "s2a_bias" leaves the prompts out, "s2a_lsb" adds the side
    branch. `TRANSFER_METHODS` lists all. `options` go to `baseline` or `apply`; `lr` replaces the
    rate of the method. Train and test are pairs of inputs and labels.
    `kept_bytes` is measured on the first batch of `train`, with its loss. The random state of the
    caller stays as it was. Raises ValueError for an unknown method, option, or network.
    """
    made, rate = _prepared(model, method, train, seed, options)
    x, y = _first_batch(made, train, batch_size)
    kept = measure.saved_activations(lambda: F.cross_entropy(made(x), y), model=made)
    history = training.fit(
        made,
        train,
        epochs=epochs,
        batch_size=batch_size,
        lr=rate if lr is None else lr,
        seed=seed,
        progress=False,
    )
    return TransferResult(
        method=method,
        seed=seed,
        accuracy=100 * training.evaluate(made, test),
        kept_bytes=kept.total,
        trainable=sum(p.numel() for p in made.parameters() if p.requires_grad),
        seconds=history.seconds,
    )


def transfer_step(
    model: nn.Module, method: str, train: Data, *, batch_size: int = 32, **options: Any
) -> Callable[[], None]:
    """Return a function that takes one training step of `method` on the first batch.

    For `measure.compare`, which runs the steps of several methods in turn. Arguments and errors
    are those of `transfer`.
    """
    made, rate = _prepared(model, method, train, 0, options)
    return training.one_step(made, *_first_batch(made, train, batch_size), lr=rate)


def _prepared(
    model: nn.Module, method: str, train: Data, seed: int, options: dict[str, Any]
) -> tuple[nn.Module, float]:
    """Make the network that `method` trains, with a new classifier, and name its rate."""
    if method not in _METHODS:
        raise ValueError(f"Unknown method {method!r}; choose one of {', '.join(_METHODS)}.")
    rate, make = _METHODS[method]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = copy.deepcopy(model)
        made.reset_classifier(int(train[1].max()) + 1)  # pyright: ignore[reportCallIssue]
        return make(made, **options).train(), rate


def _first_batch(model: nn.Module, train: Data, size: int) -> Data:
    """Copy a batch to the model's device: a view would count all that it looks at."""
    device = next(model.parameters()).device
    inputs, labels = train
    return inputs[:size].clone().to(device), labels[:size].clone().to(device)
