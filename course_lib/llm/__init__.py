"""Language models: what several labs need to read them, measure them and intervene in them."""

from course_lib.llm._bytes import BOS, byte_tokens, with_bos
from course_lib.llm._checkpoint import lm_facts, load_lm, save_lm
from course_lib.llm._edit import Edit, edit_output, set_scalar
from course_lib.llm._hooks import block_outputs, decoder_blocks
from course_lib.llm._model import LMConfig, TinyLM
from course_lib.llm._perplexity import mean_loss, perplexity
from course_lib.llm._train import learning_rate, train_lm
from course_lib.llm._windows import windows


__all__ = [
    "BOS",
    "Edit",
    "LMConfig",
    "TinyLM",
    "block_outputs",
    "byte_tokens",
    "decoder_blocks",
    "edit_output",
    "learning_rate",
    "lm_facts",
    "load_lm",
    "mean_loss",
    "perplexity",
    "save_lm",
    "set_scalar",
    "train_lm",
    "windows",
    "with_bos",
]
