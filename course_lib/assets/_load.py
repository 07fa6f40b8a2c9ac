"""Data sets by name."""

import inspect
from collections.abc import Callable

from course_lib.assets._digits import digits, mnist5k
from course_lib.assets._errors import AssetError, unknown
from course_lib.assets._openmoji import openmoji
from course_lib.assets._pictures import Pictures
from course_lib.assets._torchvision import cifar10, cifar100, flowers102, pets


LOADERS: dict[str, Callable[..., Pictures]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "digits": digits,
    "flowers102": flowers102,
    "mnist5k": mnist5k,
    "openmoji": openmoji,
    "pets": pets,
}


def load(name: str, *, split: str = "train", **options) -> Pictures:
    """Return a data set as uint8 pictures (n, channels, height, width) with int64 labels (n,).

    openmoji: size, groups, skin_tones, limit. mnist5k, digits: size, channels. Their splits are
    train, val, test and all. Full scale, each with size: cifar10, cifar100, pets (train, test) and
    flowers102 (train, val, test). The first call brings the files. Raises AssetError for an unknown
    name or files that cannot be had, TypeError and ValueError for bad options.
    """
    if name not in LOADERS:
        raise AssetError(unknown("data set", name, LOADERS))
    known = [option for option in inspect.signature(LOADERS[name]).parameters if option != "split"]
    for option in options:
        if option not in known:
            raise TypeError(unknown(f"option of {name}", option, known))
    return LOADERS[name](split=split, **options)
