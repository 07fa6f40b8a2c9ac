"""S2A: transfer learning whose trained parts need no activation, and whose others are coded."""

from course_lib.s2a._activation import (
    CodedActivation,
    CodedActivationFunction,
    coded_activation,
)
from course_lib.s2a._apply import apply
from course_lib.s2a._attention import CodedAttention, CodedAttentionFunction, coded_attention
from course_lib.s2a._baselines import baseline
from course_lib.s2a._bytes import branch_bytes, cnn_block_bytes, saved_by_part, saved_bytes
from course_lib.s2a._frozen_conv import FrozenConv2d, FrozenConv2dFunction
from course_lib.s2a._layer_norm import (
    CodedLayerNorm,
    CodedLayerNormFunction,
    coded_layer_norm,
)
from course_lib.s2a._prompt import LowRankPrompt, low_rank_prompt
from course_lib.s2a._shape import BlockShape, units
from course_lib.s2a._side_branch import LiteSideBranch, cap
from course_lib.s2a._softmax import CodedSoftmaxFunction, coded_softmax
from course_lib.s2a._task import (
    SOURCE_CLASSES,
    TARGET_CLASSES,
    digits_task,
    transfer_run,
    transfer_task,
)
from course_lib.s2a._transfer import TRANSFER_METHODS, TransferResult, transfer, transfer_step


__all__ = [
    "SOURCE_CLASSES",
    "TARGET_CLASSES",
    "TRANSFER_METHODS",
    "BlockShape",
    "CodedActivation",
    "CodedActivationFunction",
    "CodedAttention",
    "CodedAttentionFunction",
    "CodedLayerNorm",
    "CodedLayerNormFunction",
    "CodedSoftmaxFunction",
    "FrozenConv2d",
    "FrozenConv2dFunction",
    "LiteSideBranch",
    "LowRankPrompt",
    "TransferResult",
    "apply",
    "baseline",
    "branch_bytes",
    "cap",
    "cnn_block_bytes",
    "coded_activation",
    "coded_attention",
    "coded_layer_norm",
    "coded_softmax",
    "digits_task",
    "low_rank_prompt",
    "saved_by_part",
    "saved_bytes",
    "transfer",
    "transfer_run",
    "transfer_step",
    "transfer_task",
    "units",
]
