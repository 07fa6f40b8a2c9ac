"""S2A: transfer learning whose trained parts need no activation, and whose others are coded."""

from course_lib.s2a._baselines import baseline
from course_lib.s2a._bytes import branch_bytes, cnn_block_bytes, saved_by_part, saved_bytes
from course_lib.s2a._prompt import LowRankPrompt, low_rank_prompt
from course_lib.s2a._shape import BlockShape, units
from course_lib.s2a._side_branch import LiteSideBranch, cap


__all__ = [
    "BlockShape",
    "LiteSideBranch",
    "LowRankPrompt",
    "baseline",
    "branch_bytes",
    "cap",
    "cnn_block_bytes",
    "low_rank_prompt",
    "saved_by_part",
    "saved_bytes",
    "units",
]
