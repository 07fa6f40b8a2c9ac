"""The first cell of a lab: seeds, versions, machine, budget."""

import platform

from course_lib.lab import _machine, _names
from course_lib.lab._scale import scale


GIB = 2**30
PACKAGES = ("torch", "timm", "numpy", "ipywidgets")


def start(name: str, seed: int = 0, *, minutes: float | int = 2, memory: int = 4 * GIB) -> None:
    """Open a lab: set all seeds, and print versions, device, scale and budget.

    `minutes` and `memory` (bytes) are the lab's budget at laptop scale. What follows in the
    notebook (claims, scoreboard) belongs to this lab. Raises ValueError for a malformed name.
    """
    from course_lib.training import seed_everything

    word = scale()
    _names.set_current(name)
    seed_everything(seed)
    versions = [f"python {platform.python_version()}"]
    versions += [f"{p} {_machine.version(p)}" for p in PACKAGES if _machine.version(p)]
    print(f"Lab {name}, seed {seed}")
    print(f"versions  {', '.join(versions)}")
    print(f"machine   {_machine_line()}")
    if word == "laptop":
        print("scale     laptop (COURSE_SCALE=full for the paper's data on a GPU)")
        print(f"budget    {minutes:g} min, {memory / 2**20:,.0f} MiB")
        _warn_of_memory(memory)
    else:
        print("scale     full: no budget; see the section 'At full scale'")


def _machine_line() -> str:
    import torch

    parts = [_machine.device(), f"{_machine.cores()} cores", f"{torch.get_num_threads()} threads"]
    if there := _machine.memory():
        parts.append(f"{there[0] / GIB:.1f} GiB of memory, {there[1] / GIB:.1f} GiB free")
    return ", ".join(parts)


def _warn_of_memory(needed: int) -> None:
    there = _machine.memory()
    if there and there[1] < needed:
        print(
            f"Careful: {there[1] / GIB:.1f} GiB of memory is free and this lab may need "
            f"{needed / GIB:.1f}. Close other programs; shut down other notebooks."
        )
