"""What this machine has: cores, memory in bytes, a GPU, versions of packages."""

import importlib.metadata
import os
from pathlib import Path


CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> tuple[int, int] | None:
    """Return (total, free) memory in bytes, or None where the system does not tell.

    A container's limit (JupyterHub, Binder) counts as the total when it is lower.
    """
    try:
        import psutil
    except ModuleNotFoundError:  # comes with ipykernel; a bare terminal may lack it
        return None
    machine = psutil.virtual_memory()
    total, free = machine.total, machine.available
    limit, used = _cgroup("memory.max"), _cgroup("memory.current")
    if limit is not None and limit < total:
        total = limit
        free = min(free, max(limit - (used or 0), 0))
    return total, free


def _cgroup(name: str) -> int | None:
    file = CGROUP / name
    if not file.is_file():
        return None
    text = file.read_text().strip()
    return int(text) if text.isdigit() else None


def device() -> str:
    """Return the name of the device that labs compute on, such as "cpu" or "cuda (H200)"."""
    import torch

    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name(0)})"
    return "cpu"


def version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
