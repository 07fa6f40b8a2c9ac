"""Folders made once from an asset and kept: whole or not there, verified, one maker at a time."""

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

from course_lib.assets._errors import AssetWarning
from course_lib.assets._store import locked, sha256_of, writing


SEAL = "sha256.json"  # written last: size in bytes and sha256 of every other file of the folder
_verified: dict[Path, tuple[int, int]] = {}


def prepared(folder: Path, make: Callable[[Path], None], label: str) -> Path:
    """Return `folder`, filled by `make(empty folder)` unless it is there and verified.

    `make` works in a folder beside it, which takes its place in one step; a stop in between leaves
    nothing at `folder`. What is damaged is named in an AssetWarning and made again. Of several
    processes one makes it, the others wait. Raises AssetError when the disk refuses.
    """
    wrong = fault(folder)
    if not wrong:
        return folder
    if wrong != "missing":
        warnings.warn(f"{wrong}; making it again.", AssetWarning, stacklevel=3)
    with locked(folder, label):
        if fault(folder):  # else another process made it while we waited
            _make(folder, make)
    return folder


def fault(folder: Path) -> str:
    """Return "" when every file is as it was sealed, "missing", or which file is not.

    A file's sha256 is computed once per process, and again when its size or time changes.
    """
    try:
        seal = json.loads((folder / SEAL).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return "missing" if not folder.exists() else f"{folder / SEAL} is missing"
    except (OSError, ValueError):
        return f"{folder / SEAL} cannot be read"
    for name, (size, digest) in seal.items():
        file = folder / name
        try:
            stat = file.stat()
            stamp = (stat.st_size, stat.st_mtime_ns)
            if stat.st_size != size:
                return f"{file} has {stat.st_size:,} of {size:,} bytes"
            if _verified.get(file) != stamp and sha256_of(file) != digest:
                return f"{file} has a wrong sha256"
        except OSError as error:
            return f"{file} cannot be read ({error.strerror})"
        _verified[file] = stamp
    return ""


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    part, old = (folder.with_name(folder.name + end) for end in (".part", ".old"))
    with writing(folder):
        for left in (part, old):  # by a process that was killed
            if left.exists():
                shutil.rmtree(left)
        part.mkdir()
    try:
        make(part)
        _seal(part)
        with writing(folder):
            if folder.exists():
                os.replace(folder, old)
            os.replace(part, folder)
    finally:
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)


def _seal(part: Path) -> None:
    files = sorted(file for file in part.iterdir() if file.is_file())
    with writing(part / SEAL):
        for file in files:
            file.chmod(0o644)  # a class may share one cache
        rows = {file.name: (file.stat().st_size, sha256_of(file)) for file in files}
        (part / SEAL).write_text(json.dumps(rows, indent=1), encoding="utf-8")
