"""The methods that S2A is compared with, each one a choice of what to train and what to keep.

"full"               every parameter
"linear_probe"       the classifier
"bitfit"             every parameter named bias, and the classifier
"lora_qkv"           LoRA beside each qkv layer; options rank=8, alpha=2 * rank
"lora_all"           LoRA beside all four linear layers of a block; the same options
"adapter"            a bottleneck after each MLP; option bottleneck=64
"vpt_deep"           learned tokens in each block; option prompts=10
"lst"                a ladder beside the blocks; options reduction=8, down="linear" or "pool"
"checkpointing"      every parameter; a block keeps its input, and runs again in backward
"activation_coding"  every parameter; each kept activation in codes; option bits=4

The classifier is trained in all of them.
"""

from collections import OrderedDict
from typing import Any

from torch import nn

from course_lib.s2a._activation_coding import ActivationCoded
from course_lib.s2a._lora import Adapter, add_lora
from course_lib.s2a._lst import Ladder
from course_lib.s2a._vit import blocks_of, frozen_copy, like, train_biases
from course_lib.s2a._vpt import PromptedBlock


_OPTIONS = {
    "full": (),
    "linear_probe": (),
    "bitfit": (),
    "lora_qkv": ("rank", "alpha"),
    "lora_all": ("rank", "alpha"),
    "adapter": ("bottleneck",),
    "vpt_deep": ("prompts",),
    "lst": ("reduction", "down"),
    "checkpointing": (),
    "activation_coding": ("bits",),
}


def baseline(model: nn.Module, name: str, **options: Any) -> nn.Module:
    """Return a copy of a timm ViT or DeiT that trains what the method `name` trains.

    Names and options are listed in this module. At first the output is the original's, except in
    "vpt_deep" and "lst". Kept for backward: see `saved_bytes`.
    Raises ValueError for an unknown name or option, another network, or sizes that do not fit.
    Sources: BitFit 2106.10199, LoRA 2106.09685, adapters 1902.00751, VPT 2203.12119, LST
    2206.06522, Mesa 2111.11124, GACT 2206.11357 (arXiv).
    """
    if name not in _OPTIONS:
        raise ValueError(f"Unknown baseline {name!r}; choose one of {', '.join(_OPTIONS)}.")
    unknown = options.keys() - set(_OPTIONS[name])
    if unknown:
        takes = ", ".join(_OPTIONS[name]) or "no options"
        raise ValueError(f"{name!r} does not take {', '.join(sorted(unknown))}; it takes {takes}.")
    made = frozen_copy(model)
    if name in ("full", "checkpointing", "activation_coding"):
        made.requires_grad_(True)
    if name == "checkpointing":
        made.set_grad_checkpointing()
    elif name == "bitfit":
        train_biases(made)
    elif name in ("lora_qkv", "lora_all"):
        layers = ("qkv",) if name == "lora_qkv" else ("qkv", "proj", "fc1", "fc2")
        add_lora(made, layers, **options)
    elif name == "adapter":
        for block in blocks_of(made):
            adapter = Adapter(made.embed_dim, **options)
            block.mlp = nn.Sequential(OrderedDict(mlp=block.mlp, adapter=adapter))
    elif name == "vpt_deep":
        _add_prompts(made, **options)
    elif name == "lst":
        made.blocks = Ladder(made, **options)
    made = like(made, model)
    return ActivationCoded(made, **options) if name == "activation_coding" else made


def _add_prompts(model: Any, prompts: int = 10) -> None:
    height, width = model.patch_embed.patch_size
    # The backbone is in eval mode: it drops nothing.
    model.pos_drop, model.patch_drop = nn.Identity(), nn.Identity()
    model.blocks = nn.Sequential(
        *(
            PromptedBlock(
                block,
                prompts,
                model.embed_dim,
                prefix=model.num_prefix_tokens,
                patch_pixels=height * width,
            )
            for block in blocks_of(model)
        )
    )
