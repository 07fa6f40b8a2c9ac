"""MobileTL: transfer learning of inverted residual blocks in a third of the activation memory."""

from course_lib.lean import (
    ShiftNorm,
    ShiftNormFunction,
    pack_bits,
    packed_size,
    shift_norm,
    unpack_bits,
)
from course_lib.mobiletl._apply import apply, convert_block
from course_lib.mobiletl._baselines import baseline
from course_lib.mobiletl._blocks import inverted_residuals
from course_lib.mobiletl._bytes import saved_bytes
from course_lib.mobiletl._cut import CutNetwork
from course_lib.mobiletl._mask_act import MaskAct, MaskActFunction, mask_act
from course_lib.mobiletl._memory_model import TrainingMemory, training_memory
from course_lib.mobiletl._shape import BlockShape, block_shape


__all__ = [
    "BlockShape",
    "CutNetwork",
    "MaskAct",
    "MaskActFunction",
    "ShiftNorm",
    "ShiftNormFunction",
    "TrainingMemory",
    "apply",
    "baseline",
    "block_shape",
    "convert_block",
    "inverted_residuals",
    "mask_act",
    "pack_bits",
    "packed_size",
    "saved_bytes",
    "shift_norm",
    "training_memory",
    "unpack_bits",
]
