"""The residual stream of a language model: which modules are its blocks, what each of them returns.

A decoder block adds attention and MLP to the residual stream: h_l = h_{l-1} + F_l(h_{l-1}). What is
read here is h_l after both additions and before the final norm. The list `output_hidden_states` of
transformers is another thing: it begins with the embeddings and ends after the final norm.
"""

import contextlib
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


# Where the blocks stand: TinyLM, Llama, GPT-NeoX, GPT-2, then the same models without their head.
PLACES = ("blocks", "model.layers", "gpt_neox.layers", "transformer.h", "layers", "h")


def decoder_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the decoder blocks of a language model, from the input to the output.

    Known are TinyLM and the Llama, GPT-NeoX and GPT-2 families of transformers. Raises ValueError
    for a model without such blocks.
    """
    for place in PLACES:
        try:
            found = model.get_submodule(place)
        except AttributeError:
            continue
        if isinstance(found, nn.ModuleList) and len(found):
            return list(found)
    raise ValueError(
        f"{type(model).__name__} has no decoder blocks that are known here; expected a list of "
        f"modules at one of {', '.join(PLACES)}."
    )


def block_at(model: nn.Module, block: int) -> nn.Module:
    """Return one decoder block; raises ValueError when there is no such number."""
    blocks = decoder_blocks(model)
    if isinstance(block, bool) or not isinstance(block, int) or not 0 <= block < len(blocks):
        raise ValueError(
            f"block must be a number from 0 to {len(blocks) - 1}, got {block!r}; "
            f"this model has {len(blocks)} blocks."
        )
    return blocks[block]


def block_outputs(
    model: nn.Module, tokens: Int64[Tensor, "*shape"]
) -> list[Float[Tensor, "batch tokens width"]]:
    """Return the output of every block, each (batch, tokens, width), for tokens (batch, tokens).

    Memory: all of them at once, blocks x batch x tokens x width numbers; nothing is kept for
    backward. The model runs in eval mode and is put back as it was. Raises ValueError for tokens of
    another rank and for a model without decoder blocks.
    """
    blocks = decoder_blocks(model)
    tokens = checked(tokens)
    outputs: list[Tensor] = []
    handles = [
        block.register_forward_hook(lambda _, __, output: outputs.append(stream_of(output)))
        for block in blocks
    ]
    try:
        with evaluating(model):
            run_blocks(model, tokens)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def run_blocks(model: nn.Module, tokens: Int64[Tensor, "batch tokens"]) -> None:
    """Run the model on the tokens; one of transformers runs without its head."""
    tokens = tokens.to(next(model.parameters()).device)
    if of_transformers(model):
        model.base_model(tokens, use_cache=False)  # pyright: ignore[reportCallIssue]
    else:
        model(tokens)


def of_transformers(model: nn.Module) -> bool:
    """Tell whether the model has the interface of transformers; does not import the library."""
    return hasattr(model, "base_model") and hasattr(model, "get_output_embeddings")


def stream_of(output: object) -> Tensor:
    """Return the residual stream in what a block returned: a tensor, or a tuple that begins so."""
    stream = output[0] if isinstance(output, tuple) else output
    if not isinstance(stream, Tensor):
        raise ValueError(
            f"A decoder block must return its hidden state, got {type(stream).__name__}."
        )
    return stream


def checked(tokens: Int64[Tensor, "*shape"]) -> Int64[Tensor, "batch tokens"]:
    """Return `tokens` if they are rows of token numbers; raises ValueError otherwise."""
    if tokens.ndim != 2 or 0 in tokens.shape:
        raise ValueError(
            f"tokens must have the shape (batch, tokens), got {tuple(tokens.shape)}; "
            "one window is tokens[None]."
        )
    return tokens


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout and gradients off; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
