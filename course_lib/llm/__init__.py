"""Language models: what several labs need to read them, measure them and intervene in them."""

from course_lib.llm._edit import Edit, edit_output, set_scalar
from course_lib.llm._hooks import block_outputs, decoder_blocks
from course_lib.llm._perplexity import mean_loss, perplexity
from course_lib.llm._windows import windows


__all__ = [
    "Edit",
    "block_outputs",
    "decoder_blocks",
    "edit_output",
    "mean_loss",
    "perplexity",
    "set_scalar",
    "windows",
]
