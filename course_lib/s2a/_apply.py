"""Convert a pretrained network to S2A: freeze it, code what stays, add what needs no activation."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from timm.layers.mlp import Mlp
from torch import nn

from course_lib.s2a._activation import Code, CodedActivation
from course_lib.s2a._attention import CodedAttention
from course_lib.s2a._bytes import Bits, place_bits
from course_lib.s2a._cnn import convert_cnn, is_cnn
from course_lib.s2a._frozen_conv import FrozenConv2d
from course_lib.s2a._grids import Grid
from course_lib.s2a._layer_norm import CodedLayerNorm
from course_lib.s2a._prompt import LowRankPrompt
from course_lib.s2a._rounding import EXACT, Rounding
from course_lib.s2a._side_branch import LiteSideBranch
from course_lib.s2a._vit import blocks_of, frozen_copy, like, tokens_of, train_biases


_MODULES = ("bias", "lrp", "lsb")
_NORMS = ("norm_pre", "norm", "fc_norm")  # of the network, outside its blocks


def apply(
    model: nn.Module,
    modules: Sequence[str] = ("bias", "lrp", "lsb"),
    *,
    bits: Bits = 4,
    qkv_bits: int = 32,
    rank: int = 4,
    pool: int = 8,
    fused: bool = False,
    grid: Grid = "zero",
    code: Code = "derivative",
    rounding: Rounding = "nearest",
) -> nn.Module:
    """Return a copy of `model` that trains only what `modules` names, and its classifier.

    "bias": every parameter named bias; "lrp": a `LowRankPrompt` before each block; "lsb": a
    `LiteSideBranch`. At first the output is the original's. `model` is a timm ViT or DeiT; or, for
    modules=("bias",), a MobileNet or EfficientNet whose norms are BatchNorm2d.
    `bits` is one number, or a mapping of "activation", "norm" and "attention"; 32 leaves PyTorch's
    own operation, and so does `fused=True` in the attention. `grid`, `code` and `rounding` are
    those of `coded_activation`. Kept for backward: see `saved_bytes`.
    Raises ValueError for another network, unknown modules, or sizes and bits that do not fit.
    Source: Jin et al., S2A, arXiv 2503.08154, and our own choices where the paper is not public.
    """
    unknown = [name for name in modules if name not in _MODULES]
    if unknown or not modules or isinstance(modules, str):
        raise ValueError(f"modules={modules!r}: give a tuple of one or more of {_MODULES}.")
    places = place_bits(bits, qkv_bits, fused)
    choices = {"grid": grid, "code": code, "rounding": rounding}
    if is_cnn(model):
        if tuple(modules) != ("bias",):
            raise ValueError(
                "A convolutional network has no tokens for a prompt or a side branch. "
                'Use modules=("bias",).'
            )
        return convert_cnn(model, places["activation"], choices)
    made = frozen_copy(model)
    for block in blocks_of(made):
        _convert_block(block, places, qkv_bits, fused, choices)
    if places["norm"] != EXACT:
        _code_norms(made, _NORMS, places["norm"])
    if "bias" in modules:
        train_biases(made)
        made.patch_embed.proj = FrozenConv2d(made.patch_embed.proj)
    if "lrp" in modules:
        _add_prompts(made, rank)
    if "lsb" in modules:
        made.blocks = LiteSideBranch(made.blocks, made.embed_dim, pool)
    return like(made, model)


def _convert_block(
    block: Any, places: dict[str, int], qkv_bits: int, fused: bool, choices: dict[str, Any]
) -> None:
    """Replace, in place, what the block keeps whatever is trained."""
    if not isinstance(block.mlp, Mlp):
        raise ValueError(f"S2A converts blocks with a plain Mlp, not {type(block.mlp).__name__}.")
    if places["activation"] != EXACT:
        block.mlp.act = CodedActivation.from_module(block.mlp.act, places["activation"], **choices)
    if places["norm"] != EXACT:
        _code_norms(block, ("norm1", "norm2"), places["norm"])
    if places["attention"] != EXACT:
        block.attn = CodedAttention.from_attention(block.attn, places["attention"], qkv_bits)
    else:
        block.attn.fused_attn = fused


def _code_norms(owner: nn.Module, names: Sequence[str], bits: int) -> None:
    for name in names:
        norm = getattr(owner, name)
        if not isinstance(norm, nn.Identity):
            setattr(owner, name, CodedLayerNorm.from_norm(norm, bits))


def _add_prompts(model: Any, rank: int) -> None:
    tokens = tokens_of(model)
    model.blocks = nn.Sequential(
        *(
            nn.Sequential(
                OrderedDict(prompt=LowRankPrompt(tokens, model.embed_dim, rank), block=block)
            )
            for block in blocks_of(model)
        )
    )
