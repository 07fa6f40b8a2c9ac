"""The papers' data at full scale, through torchvision's own downloads, checksums and readers."""

from collections.abc import Callable

import numpy as np
import torch
from torchvision import datasets
from torchvision.transforms import v2
from tqdm import tqdm

from course_lib._paths import cache_dir
from course_lib.assets._errors import AssetError
from course_lib.assets._manifest import find
from course_lib.assets._pictures import Pictures, check_size, check_split, resized
from course_lib.assets._store import locked


def cifar10(*, split: str, size: int | None = None) -> Pictures:
    """Return CIFAR-10 (splits train, test) at 32×32 pixels, or scaled to size×size."""
    return _cifar("cifar10", datasets.CIFAR10, split, size)


def cifar100(*, split: str, size: int | None = None) -> Pictures:
    """Return CIFAR-100 (splits train, test) at 32×32 pixels, or scaled to size×size."""
    return _cifar("cifar100", datasets.CIFAR100, split, size)


def flowers102(*, split: str, size: int = 224) -> Pictures:
    """Return Flowers102 (splits train, val, test): shorter side to `size` pixels, center crop."""
    check_split(split, ("train", "val", "test"))
    return _photos("flowers102", datasets.Flowers102, split, size)


def pets(*, split: str, size: int = 224) -> Pictures:
    """Return Oxford-IIIT Pets (train is the paper's trainval, and test), cut like `flowers102`."""
    check_split(split, ("train", "test"))
    return _photos("pets", datasets.OxfordIIITPet, {"train": "trainval"}.get(split, split), size)


def _cifar(name: str, reader: Callable, split: str, size: int | None) -> Pictures:
    check_split(split, ("train", "test"))
    data = _opened(name, reader, train=split == "train")
    # (n, height, width, channels) -> (n, channels, height, width)
    images = torch.from_numpy(np.ascontiguousarray(data.data.transpose(0, 3, 1, 2)))
    return _pictures(name, resized(images, size, 3), data.targets, data.classes)


def _photos(name: str, reader: Callable, split: str, size: int) -> Pictures:
    check_size(size)
    crop = v2.Compose([v2.PILToTensor(), v2.Resize(size, antialias=True), v2.CenterCrop(size)])
    data = _opened(name, reader, split=split, transform=crop)
    pairs = [data[i] for i in tqdm(range(len(data)), desc=name, leave=False, delay=1)]
    labels = [label for _, label in pairs]
    return _pictures(name, torch.stack([image for image, _ in pairs]), labels, data.classes)


def _pictures(name: str, images: torch.Tensor, labels: list[int], classes: list[str]) -> Pictures:
    asset = find(name)
    captions = [classes[label] for label in labels]
    attribution = f"{asset.origin}; license: {asset.license}"
    return Pictures(images, torch.tensor(labels), list(classes), captions, attribution)


def _opened(name: str, reader: Callable, **options):
    """Return torchvision's data set; downloads it only if it is not there whole."""
    root = cache_dir() / "torchvision"
    try:
        return reader(root, download=False, **options)
    except (RuntimeError, FileNotFoundError):  # torchvision's words for missing or damaged
        pass
    with locked(root / name, name):
        try:
            return reader(root, download=True, **options)
        except (RuntimeError, OSError, EOFError) as error:
            raise AssetError(
                f"Cannot bring {name} into {root}: {str(error).rstrip('.')}; connect to the "
                "internet and run this again, after deleting what is damaged there."
            ) from error
