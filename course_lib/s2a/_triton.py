"""Where the fused kernels run, and the one place that decides it.

Triton comes with torch on Linux; it is imported when a kernel first runs, never before. Everywhere
else, and for what the kernels do not take, the same functions run in plain torch. Both give the
same codes: sums and the exponential may differ in their last bits, so a code differs only where
the value before rounding lies within 1e-4 of a half.

Inside `torch.compile` the compiler fuses the plain path itself, on a CPU too. Codes are the same.
What is kept is then its choice: the codes, where they fill whole bytes; else it may keep each in a
byte of its own. Compiling takes a minute: `make bench` shows what a step gains.
"""

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator

import torch
from jaxtyping import Shaped
from torch import Tensor


LONGEST_ROW = 1 << 14  # a program holds a whole row
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_WIDTHS = (2, 4, 8)  # one bit has another packing
_switches = {"on": True}


def available(x: Shaped[Tensor, "*shape"], bits: int, row: int = 1) -> bool:
    """Tell whether the kernels take over for `x`, with codes of `bits` bits and rows of `row`.

    They do on a GPU of compute capability 7.0 or more, and, with TRITON_INTERPRET=1 in the
    environment, in Triton's interpreter on the CPU. Inside torch.compile they do not.
    """
    return (
        not torch.compiler.is_compiling()
        and _switches["on"]
        and bits in _WIDTHS
        and x.dtype in _DTYPES
        and row <= LONGEST_ROW
        and has_triton()
        and (interpreted() if x.device.type == "cpu" else _runs_on(x.device))
    )


@contextlib.contextmanager
def switched_off() -> Iterator[None]:
    """Inside it plain torch runs everywhere, backward too: to hold one against the other."""
    before = _switches["on"]
    _switches["on"] = False
    try:
        yield
    finally:
        _switches["on"] = before


@functools.cache
def has_triton() -> bool:
    """Tell whether triton is installed; does not import it."""
    return importlib.util.find_spec("triton") is not None


def interpreted() -> bool:
    """Tell whether the environment asks for Triton's interpreter, which needs no GPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def _runs_on(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (7, 0)


def output_dtype(x: Shaped[Tensor, "*shape"]) -> torch.dtype:
    """The dtype of a softmax or LayerNorm of `x`: on a GPU, autocast computes both in float32."""
    autocast = x.is_cuda and torch.is_autocast_enabled("cuda")
    return torch.float32 if autocast else x.dtype
