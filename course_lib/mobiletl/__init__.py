"""MobileTL: transfer learning of inverted residual blocks in a third of the activation memory."""

from course_lib.mobiletl._apply import apply, convert_block
from course_lib.mobiletl._bits import pack_bits, packed_size, unpack_bits
from course_lib.mobiletl._blocks import inverted_residuals
from course_lib.mobiletl._cut import CutNetwork
from course_lib.mobiletl._mask_act import MaskAct, MaskActFunction, mask_act
from course_lib.mobiletl._shift_norm import ShiftNorm, shift_norm


__all__ = [
    "CutNetwork",
    "MaskAct",
    "MaskActFunction",
    "ShiftNorm",
    "apply",
    "convert_block",
    "inverted_residuals",
    "mask_act",
    "pack_bits",
    "packed_size",
    "shift_norm",
    "unpack_bits",
]
