"""From real numbers to whole codes: rounding, and the checks that all coders share."""

from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.lean import WIDTHS


Rounding = Literal["nearest", "stochastic"]
EXACT = 32  # the width that means: not coded


def check_bits(bits: int, name: str = "bits") -> None:
    """Raise ValueError unless `bits` is 1, 2, 4, 8, or 32 for what is not coded."""
    if bits not in (*WIDTHS, EXACT):
        raise ValueError(f"{name} must be 1, 2, 4, 8, or 32 (kept as it is), not {bits!r}.")


def check_rounding(rounding: str) -> None:
    """Raise ValueError unless `rounding` is "nearest" or "stochastic"."""
    if rounding not in ("nearest", "stochastic"):
        raise ValueError(f'Unknown rounding {rounding!r}; choose "nearest" or "stochastic".')


def check_float(x: Tensor, name: str) -> None:
    """Raise ValueError for integers; in anomaly mode also for NaN and infinity.

    A NaN becomes a code like any other, so backward cannot show it. The look at every element is
    a debugging aid: `torch.autograd.set_detect_anomaly(True)` turns it on, outside torch.compile.
    """
    if not x.is_floating_point():
        raise ValueError(f"{name} takes a floating tensor, not {x.dtype}. Convert it first.")
    look = not torch.compiler.is_compiling() and torch.is_anomaly_enabled()
    if look and not x.isfinite().all():
        raise ValueError(f"{name} got NaN or infinity; its code would look like any other.")


def working(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return x in the dtype that codes are computed in: float64 stays, all else is float32."""
    return x if x.dtype == torch.float64 else x.float()


def round_codes(
    values: Float[Tensor, "*shape"], bits: int, rounding: Rounding
) -> UInt8[Tensor, "*shape"]:
    """Round to codes 0 ... 2 ** bits - 1; what lies outside goes to the nearest end.

    Overwrites `values`. "stochastic" draws from torch's generator and is right on average; ties
    of "nearest" go up. NaN gives some valid code.
    """
    top = (1 << bits) - 1
    values.add_(torch.rand_like(values) if rounding == "stochastic" else 0.5)
    # Truncation floors what is not negative. By way of int16: PyTorch turns floats into bytes
    # one by one, floats into int16 and int16 into bytes many at a time.
    return values.clamp_(0, top + 0.5).to(torch.int16).to(torch.uint8)
