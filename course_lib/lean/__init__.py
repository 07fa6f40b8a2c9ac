"""What keeps less for backward and serves more than one technique: packed codes, ShiftNorm."""

from course_lib.lean._packing import (
    WIDTHS,
    pack_bits,
    pack_codes,
    packed_size,
    unpack_bits,
    unpack_codes,
)
from course_lib.lean._shift_norm import ShiftNorm, ShiftNormFunction, shift_norm


__all__ = [
    "WIDTHS",
    "ShiftNorm",
    "ShiftNormFunction",
    "pack_bits",
    "pack_codes",
    "packed_size",
    "shift_norm",
    "unpack_bits",
    "unpack_codes",
]
