"""Bring assets into the cache, verified, and say what is there."""

import importlib.util
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from course_lib._paths import cache_dir, data_dir
from course_lib.assets._download import Unavailable, fetch_wheel
from course_lib.assets._errors import AssetError, AssetWarning
from course_lib.assets._manifest import Asset, Source, find, manifest
from course_lib.assets._store import MIB, fault, locked, writing


FIRST_LABS = ("00", "01", "10")
MEND = "connect to the internet and run `python -m course_lib fetch"


class Status(NamedTuple):
    """One row of `status()`; `size` in bytes, `state` is verified, missing, damaged or hub."""

    name: str
    version: str
    license: str
    size: int
    state: str


def path(name: str) -> Path:
    """Return the verified file of an asset; brings it first if it is missing or damaged.

    An asset that comes in a wheel is that wheel: read its members with `zipfile`.
    Raises AssetError for an unknown name, and when the file can be neither found nor fetched.
    """
    return _obtain(find(name), progress=True)


def fetch(names: Iterable[str] | None = None, progress: bool = True) -> None:
    """Bring the named assets into the cache, or all that labs 00 to 10 need; print a line for each.

    What is there and verified is left alone, so a second call needs no network.
    """
    if names is None:
        assets = [asset for asset in manifest().values() if set(asset.labs) & set(FIRST_LABS)]
    else:
        assets = [find(name) for name in ([names] if isinstance(names, str) else names)]
    for asset in assets:
        there = _local_state(asset)[0] == "verified"
        _obtain(asset, progress=progress)
        size = f"{asset.size / MIB:.1f} MiB"
        print(f"{asset.name} {asset.version}: {size}, {'already there' if there else 'fetched'}")


def status() -> list[Status]:
    """Return one row per asset; verifies every file that is there and fetches nothing."""
    return [
        Status(asset.name, asset.version, asset.license, asset.size, _local_state(asset)[0])
        for asset in manifest().values()
    ]


def _local_state(asset: Asset) -> tuple[str, str]:
    """Return the state of an asset on this machine, and the fault in words."""
    if asset.hub:
        return "hub", ""
    wrong = fault(_place(asset), asset)
    return ("verified" if not wrong else "missing" if wrong == "missing" else "damaged"), wrong


def _place(asset: Asset) -> Path:
    """Return where the asset's file lies, or will lie: the repository, a package, the cache."""
    for source in asset.sources:
        file = _at_hand(source)
        if file is not None and file.is_file():
            return file
    return cache_dir() / asset.file


def _at_hand(source: Source) -> Path | None:
    if source.kind == "repo":
        return data_dir() / source.where
    if source.kind == "package":
        package, _, inside = source.where.partition("/")
        spec = importlib.util.find_spec(package)
        return Path(spec.origin).parent / inside if spec and spec.origin else None
    return None


def _obtain(asset: Asset, progress: bool) -> Path:
    """Return the verified file, after fetching it if need be."""
    if asset.hub:
        verb = {"model": "model", "language model": "language_model"}.get(asset.kind, "load")
        raise AssetError(
            f"{asset.name} is no single file, {asset.hub} keeps it; "
            f"use assets.{verb}({asset.name!r})."
        )
    place = _place(asset)
    wrong = fault(place, asset)
    if not wrong:
        return place
    wheels = [source.where for source in asset.sources if source.kind == "wheel"]
    if not wheels:
        raise AssetError(f"{asset.name} ({place}) {_is(wrong)}; {_repair(asset)}.")
    if wrong != "missing":
        warnings.warn(f"{place} {wrong}; fetching it again.", AssetWarning, stacklevel=3)
    target = cache_dir() / asset.file
    with locked(target, asset.name, asset.size):
        if fault(target, asset):  # else another process brought it while we waited
            _bring(asset, wheels, target, progress, wrong)
    return target


def _bring(asset: Asset, wheels: list[str], target: Path, progress: bool, wrong: str) -> None:
    """Put the verified file at `target`, from the first wheel that can be had."""
    part = target.with_name(target.name + ".part")
    for number, requirement in enumerate(wheels, start=1):
        try:
            _fill(part, asset, requirement, progress)
            break
        except Unavailable as reason:
            if number == len(wheels):
                raise AssetError(
                    f"Cannot fetch {asset.name}: {target} {_is(wrong)}, and {reason}; "
                    f"{MEND} {asset.name}`."
                ) from reason
    with writing(target, asset.size):
        os.replace(part, target)


def _fill(part: Path, asset: Asset, requirement: str, progress: bool) -> None:
    """Fetch until `part` is the asset; what was continued and came out wrong starts again once."""
    while fault(part, asset):
        continued = part.exists()
        fetch_wheel(requirement, part, size=asset.size, label=asset.name, progress=progress)
        wrong = fault(part, asset)
        if wrong:
            part.unlink()
            if not continued:
                raise Unavailable(f"the file that the server sent {wrong}")


def _is(wrong: str) -> str:
    return "is missing" if wrong == "missing" else wrong


def _repair(asset: Asset) -> str:
    source = asset.sources[0]
    if source.kind == "repo":
        return f"restore it with `git checkout -- data/{source.where}`"
    return "install again with `make lab`, which brings the tested versions of all packages"
