"""The transfer tasks, and one run of the experiment by names alone, as a sweep needs it.

At laptop scale a vision transformer learns five digits, then the other five: handwritten, of 8x8
pixels, about 630 to learn from and 135 to test on, in each half. At full scale 1,000 pictures of a
data set are to be learned, as many as in VTAB-1k, by a network of timm.
"""

import functools
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from course_lib import assets
from course_lib.s2a._transfer import Data, transfer


SOURCE_CLASSES = range(5)  # what the checkpoint s2a_vit_digits learned
TARGET_CLASSES = range(5, 10)  # held out from it


def digits_task(
    classes: range = TARGET_CLASSES, *splits: str
) -> tuple[Float[Tensor, "n 1 8 8"], Int64[Tensor, " n"]]:
    """Return the digits of consecutive `classes` as inputs in -1..1, and labels from 0.

    `splits` are of "train", "val", "test"; without any, "train". The halves share no picture.
    Raises ValueError for classes that are no consecutive digits, or an unknown split.
    """
    if len(classes) < 2 or classes.step != 1 or classes[0] < 0 or classes[-1] > 9:
        raise ValueError(f"{classes} are no consecutive digits. Take for example range(5, 10).")
    pictures = [assets.load("digits", split=split) for split in splits or ("train",)]
    images = torch.cat([part.images for part in pictures])
    labels = torch.cat([part.labels for part in pictures])
    chosen = (labels >= classes[0]) & (labels <= classes[-1])
    return assets.to_input(images[chosen]), labels[chosen] - classes[0]


@functools.lru_cache(maxsize=1)
def transfer_task(name: str = "digits") -> tuple[Data, Data]:
    """Return pictures to learn from and to test on, each with labels from 0.

    "digits" are the digits 5 to 9, never seen by the checkpoint "s2a_vit_digits". Another name is a
    data set of `assets.load`: 1,000 random pictures of each split, at 224 pixels.
    """
    if name == "digits":
        return digits_task(TARGET_CLASSES, "train"), digits_task(TARGET_CLASSES, "val", "test")
    return _thousand(name, "train"), _thousand(name, "test")


def _thousand(name: str, split: str) -> Data:
    pictures = assets.load(name, split=split, size=224)
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
    chosen = pictures.subset(order[:1000])
    return assets.to_input(chosen.images), chosen.labels


def transfer_run(
    method: str,
    seed: int = 0,
    *,
    model: str = "s2a_vit_digits",
    task: str = "digits",
    epochs: int = 20,
    batch_size: int = 32,
    device: str = "cpu",
) -> dict[str, Any]:
    """Run `transfer` of a network on a task, both given by name: one row of a `sweep`.

    Returns accuracy in percent, bytes kept of one batch, trained numbers, seconds of training.
    Errors are those of `transfer`, `transfer_task` and `assets.model`.
    """
    train, test = transfer_task(task)
    network = assets.model(model).to(device)
    run = transfer(network, method, train, test, epochs=epochs, batch_size=batch_size, seed=seed)
    return {
        "accuracy": run.accuracy,
        "kept_bytes": run.kept_bytes,
        "trainable": run.trainable,
        "seconds": run.seconds,
    }
