"""What the course can load: the table `data/assets.toml`, read and checked."""

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

from course_lib._paths import data_dir
from course_lib.assets._errors import AssetError, unknown


SOURCE_KINDS = ("repo", "package", "wheel", "hub")


@dataclass(frozen=True)
class Source:
    """One way to reach a file: its kind (`repo`, `package`, `wheel`, `hub`) and where it lies."""

    kind: str
    where: str


@dataclass(frozen=True)
class Asset:
    """One entry of the manifest; `size` is in bytes, `file` is empty for what a hub keeps."""

    name: str
    kind: str
    version: str
    license: str
    origin: str
    sources: tuple[Source, ...]
    labs: tuple[str, ...] = ()
    file: str = ""
    sha256: str = ""
    size: int = 0

    @property
    def hub(self) -> str:
        """Return the library that brings and verifies the asset at full scale, or ""."""
        return self.sources[0].where if self.sources[0].kind == "hub" else ""


def _entry(name: str, row: dict, file: Path) -> Asset:
    try:
        pairs = [pair for source in row.pop("sources") for pair in source.items()]
        labs = tuple(row.pop("labs", ()))
        asset = Asset(name, sources=tuple(Source(*pair) for pair in pairs), labs=labs, **row)
    except (KeyError, TypeError) as error:
        raise AssetError(f"Entry [{name}] of {file} is not complete: {error}.") from error
    if not asset.sources or any(source.kind not in SOURCE_KINDS for source in asset.sources):
        raise AssetError(f"Entry [{name}] of {file} needs sources among {SOURCE_KINDS}.")
    if not asset.hub and not (asset.file and len(asset.sha256) == 64 and asset.size > 0):
        raise AssetError(f"Entry [{name}] of {file} needs file, sha256 and size.")
    return asset


@functools.lru_cache
def _read(file: Path) -> dict[str, Asset]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise AssetError(
            f"Cannot read {file}: {error.strerror}; install the course again."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise AssetError(f"{file} is not valid TOML: {error}.") from error
    return {name: _entry(name, row, file) for name, row in table.items()}


def manifest() -> dict[str, Asset]:
    """Return all assets by name."""
    return _read(data_dir() / "assets.toml")


def names() -> list[str]:
    """Return the names of all assets, those of full scale included."""
    return list(manifest())


def find(name: str) -> Asset:
    """Return the entry of `name`; raises AssetError that lists close matches."""
    assets = manifest()
    if name not in assets:
        raise AssetError(unknown("asset", name, assets))
    return assets[name]
