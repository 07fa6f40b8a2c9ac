"""Labeled pictures in memory, and the three small things done to them."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from course_lib.assets._errors import unknown


SPLITS = {"train": 0.70, "val": 0.15, "test": 0.15}  # shares of a data set without official splits


@dataclass(frozen=True, repr=False)
class Pictures:
    """Pictures with labels: `labels` index into `classes`, `captions` name each picture.

    images: uint8 (n, channels, height, width), labels: int64 (n,). `attribution` must stand
    wherever the pictures are shown.
    """

    images: UInt8[Tensor, "n channels height width"]
    labels: Int64[Tensor, " n"]
    classes: list[str]
    captions: list[str]
    attribution: str

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.labels)

    def __repr__(self) -> str:
        """Return one line instead of all pixels."""
        shape = "×".join(map(str, self.images.shape[1:]))
        return f"Pictures({len(self):,} of {shape}, {len(self.classes)} classes)"

    def subset(self, indices: Iterable[int] | Tensor) -> "Pictures":
        """Return the pictures at `indices`, in that order; the classes stay as they are."""
        chosen = torch.as_tensor(
            indices if isinstance(indices, Tensor) else list(indices), dtype=torch.int64
        )
        captions = [self.captions[i] for i in chosen.tolist()]
        return Pictures(
            self.images[chosen], self.labels[chosen], self.classes, captions, self.attribution
        )


def to_input(
    images: UInt8[Tensor, "*batch channels height width"],
    mean: float | Sequence[float] = 0.5,
    std: float | Sequence[float] = 0.5,
) -> Float[Tensor, "*batch channels height width"]:
    """Return (pixel / 255 - mean) / std as float32; mean and std per channel or for all.

    The default maps 0..255 to -1..1, which EfficientNet-Lite0 expects.
    """
    # (channels,) -> (channels, 1, 1)
    center, scale = (torch.tensor(v, device=images.device).reshape(-1, 1, 1) for v in (mean, std))
    return (images.float() / 255 - center) / scale


def resized(
    images: UInt8[Tensor, "n channels height width"], size: int | None, channels: int
) -> UInt8[Tensor, "n channels2 height2 width2"]:
    """Return pictures at size×size pixels (bilinear, antialiased); `channels=3` repeats grey."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}.")
    if size is not None:
        check_size(size)
        if size != images.shape[-1]:
            scaled = F.interpolate(
                images.float(), size=(size, size), mode="bilinear", antialias=True
            )
            images = scaled.round().clamp(0, 255).to(torch.uint8)
    return images.expand(-1, channels, -1, -1).contiguous()


def check_size(size: int, smallest: int = 8, largest: int = 512) -> None:
    """Raise ValueError unless `size` is a whole number of pixels within the limits."""
    if isinstance(size, bool) or not isinstance(size, int) or not smallest <= size <= largest:
        raise ValueError(
            f"size must be a whole number of {smallest} to {largest} pixels, got {size!r}."
        )


def split_of(keys: Iterable[str]) -> dict[str, str]:
    """Return the split of each key: 70 % train, 15 % val, 15 % test.

    The order is that of the keys' sha256, so it is the same on every machine and in every version.
    """
    ranked = sorted(set(keys), key=lambda key: hashlib.sha256(key.encode()).digest())
    first, second = (round(len(ranked) * share) for share in (SPLITS["train"], 1 - SPLITS["test"]))
    return {
        key: "train" if rank < first else "val" if rank < second else "test"
        for rank, key in enumerate(ranked)
    }


def check_split(split: str, known: Iterable[str] = (*SPLITS, "all")) -> None:
    """Raise ValueError unless `split` is one of the known ones."""
    if split not in known:
        raise ValueError(unknown("split", split, known))
