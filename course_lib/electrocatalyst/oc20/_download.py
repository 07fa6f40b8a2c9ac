"""Bring and unpack an official archive of OC20.

A cut or a kill costs nothing: the next call asks the server for the missing bytes. A file or folder
under its final name is complete: it takes that name only after checksum or last member.
"""

import contextlib
import gzip
import hashlib
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from course_lib.assets import AssetError, fetch_url
from course_lib.electrocatalyst.oc20._archives import ARCHIVES, GIB, Archive


def download(name: str, folder: str | Path, *, progress: bool = True) -> Path:
    """Return the archive `name` (a key of ARCHIVES) in `folder`, brought there if it is missing.

    Continues an earlier download, and checks the size against the published one, the free disk
    space and the MD5. Raises ValueError for an unknown name, AssetError for everything else.
    """
    if name not in ARCHIVES:
        raise ValueError(f"OC20 has no archive {name!r}; there are {', '.join(ARCHIVES)}.")
    archive = ARCHIVES[name]
    target = Path(folder).expanduser().resolve() / archive.file
    with _disk(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{target}.lock")
        with lock:
            if not target.exists():
                _bring(archive, target, progress)
    return target


def _bring(archive: Archive, target: Path, progress: bool) -> None:
    part = target.with_name(f"{target.name}.part")
    size = _announced(archive)
    have = part.stat().st_size if part.exists() else 0
    _need(target.parent, size - have, f"The rest of {target.name}")
    fetch_url(archive.url, part, size=size, label=target.name, progress=progress)
    with part.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
    if (found := digest.hexdigest()) != archive.md5:
        part.unlink()
        raise AssetError(
            f"{target.name} arrived with the MD5 {found} instead of {archive.md5}, "
            "and was deleted; download it again, perhaps on another connection."
        )
    os.replace(part, target)


def _announced(archive: Archive) -> int:
    """Return the file's length in bytes as the server tells it."""
    request = urllib.request.Request(archive.url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            size = int(response.headers.get("Content-Length") or 0)
    except (OSError, ValueError) as error:
        raise AssetError(
            f"{archive.url} cannot be reached ({getattr(error, 'reason', error)}); "
            "check the connection and call download again: it continues where it stopped."
        ) from error
    if not 0.85 < size / archive.compressed < 1.15:
        raise AssetError(
            f"The server offers {size:,} bytes for {archive.file}; about {archive.compressed:,} "
            "are published. Something between here and the server answers in its place."
        )
    return size


def unpack(file: str | Path, folder: str | Path | None = None, *, progress: bool = True) -> Path:
    """Unpack an archive (.tar, .tar.gz) into `folder`, by default beside it; return the new folder.

    The new folder is called as the file. Members that would land outside it, devices and links out
    of it are refused. Raises AssetError for a refused or damaged archive or a full disk.
    """
    file = Path(file).expanduser().resolve()
    target = Path(folder or file.parent).expanduser().resolve() / file.name.partition(".")[0]
    if target.exists():
        return target
    if not file.is_file():
        raise AssetError(f"There is no file {file}; download brings the official archives.")
    published = {archive.file: archive.unpacked for archive in ARCHIVES.values()}
    with _disk(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _need(target.parent, published.get(file.name, 0), f"What {file.name} holds")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as made:
            inside = Path(made) / target.name
            _extract(file, inside, published.get(file.name), progress)
            os.replace(inside, target)
    return target


def _extract(file: Path, folder: Path, total: int | None, progress: bool) -> None:
    bar = tqdm(desc=file.name, total=total, unit="B", unit_scale=True, disable=not progress)
    folder.mkdir()
    try:
        with tarfile.open(file) as archive, bar:
            for member in archive:
                _need(folder, member.size, member.name)
                archive.extract(member, folder, filter="data")
                bar.update(member.size)
    except tarfile.FilterError as error:
        raise AssetError(
            f"{file} was not unpacked: {error}. OC20's own archives hold nothing of the kind; "
            "do not use this file."
        ) from error
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AssetError(
            f"{file} is damaged ({error}); delete it and download it again."
        ) from error


def _need(folder: Path, needed: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise AssetError(
            f"{what} needs {needed / GIB:,.2f} GiB, but {folder} has {free / GIB:,.2f} GiB free; "
            "choose a folder on a larger disk."
        )


@contextlib.contextmanager
def _disk(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into an AssetError with the mend."""
    try:
        yield
    except OSError as error:
        raise AssetError(
            f"Cannot write {target}: {error.strerror or error}; choose another folder."
        ) from error
