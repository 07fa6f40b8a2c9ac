"""The cache folder: verified reads, atomic writes, one writer at a time.

Reading needs no lock and no right to write, so a class can share one filled, read-only cache.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from course_lib.assets._errors import AssetError
from course_lib.assets._manifest import Asset


MIB = 2**20
_verified: dict[tuple[Path, str], tuple[int, int]] = {}


def sha256_of(file: Path) -> str:
    """Return the sha256 of a file in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def intact(file: Path) -> bool:
    """Compare with the sha256 that names a large file in the hub's cache, where that has links."""
    digest = file.resolve().name
    return len(digest) != 64 or sha256_of(file.resolve()) == digest


def fault(file: Path, asset: Asset) -> str:
    """Return "" when `file` is the asset, "missing", or what is wrong with it.

    The sha256 is computed once per process, and again when size or time of the file changes.
    """
    try:
        stat = file.stat()
        if stat.st_size != asset.size:
            return f"has {stat.st_size:,} of {asset.size:,} bytes"
        stamp = (stat.st_size, stat.st_mtime_ns)
        if _verified.get((file, asset.sha256)) == stamp:
            return ""
        if sha256_of(file) != asset.sha256:
            return "has a wrong sha256"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    _verified[file, asset.sha256] = stamp
    return ""


@contextlib.contextmanager
def writing(file: Path, needed: int = 0) -> Iterator[None]:
    """Turn the operating system's refusals to write `file` into an AssetError with the mend."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full_disk(file, needed) from error
        raise AssetError(
            f"Cannot write {file}: {error.strerror or error}; "
            "set COURSE_CACHE to a folder that you can write to."
        ) from error


def full_disk(file: Path, needed: int) -> AssetError:
    """Return the error for a disk that cannot take `needed` more bytes."""
    free = free_bytes(file.parent)
    return AssetError(
        f"The disk is full: {file} needs {needed / MIB:,.1f} MiB more; "
        f"{free / MIB:,.1f} MiB are free; free some space or set COURSE_CACHE to a larger disk."
    )


def free_bytes(folder: Path) -> int:
    """Return how many bytes can still be written into `folder`."""
    return shutil.disk_usage(folder).free


@contextlib.contextmanager
def locked(target: Path, label: str, needed: int = 0) -> Iterator[None]:
    """Hold the lock of the file `target` among all processes; make its folder if there is none."""
    lock = FileLock(target.with_name(target.name + ".lock"))
    with writing(target, needed):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{label}: another process is fetching it; waiting.", flush=True)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_atomically(file: Path, *parts: bytes | memoryview) -> None:
    """Write the parts to `file` in one step: readers see the old file or the whole new one."""
    with writing(file, sum(len(part) for part in parts)):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
        try:
            with open(handle, "wb") as stream:
                for part in parts:
                    stream.write(part)
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
