"""The small transfer task: a vision transformer learns five digits, then the other five.

Handwritten digits of 8x8 pixels: about 630 to learn from and 135 to test on, in each half.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from course_lib import assets


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
