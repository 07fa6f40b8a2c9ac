"""Write a file so that a reader sees the old one or the new one, never half of it."""

import os
import tempfile
from pathlib import Path


def write_text(target: Path, text: str) -> None:
    """Write `text` to `target` as `write_bytes` does, in UTF-8."""
    write_bytes(target, text.encode())


def write_bytes(target: Path, data: bytes) -> None:
    """Write `data` to `target` atomically, making the folders above it.

    The data go to a file of its own beside the target, which then takes its place; a stop in
    between, or another process that writes at the same moment, cannot leave a torn file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(part, 0o644)
        os.replace(part, target)
    except BaseException:
        os.unlink(part)
        raise
