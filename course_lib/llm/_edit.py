"""Interventions: change the output of one decoder block while a model runs."""

import contextlib
from collections.abc import Callable, Iterator

from jaxtyping import Float
from torch import Tensor, nn

from course_lib.llm._hooks import block_at, stream_of


Edit = Callable[[Tensor], Tensor]


@contextlib.contextmanager
def edit_output(model: nn.Module, block: int, edit: Edit) -> Iterator[None]:
    """Inside the context, block number `block` returns `edit(h)` instead of its output h.

    h has the shape (batch, tokens, width). `edit` must return a new tensor of the same shape; h
    itself stays as it is. Contexts can be nested: the inner one sees what the outer one made.
    Raises ValueError for a block that does not exist and for an edit that changes the shape.
    """

    def hook(module: nn.Module, given: tuple, output: Tensor | tuple) -> Tensor | tuple:
        h = stream_of(output)
        edited = edit(h)
        if not isinstance(edited, Tensor) or edited.shape != h.shape:
            got = tuple(edited.shape) if isinstance(edited, Tensor) else type(edited).__name__
            raise ValueError(f"The edit must return the shape {tuple(h.shape)}, got {got}.")
        return (edited, *output[1:]) if isinstance(output, tuple) else edited

    handle = block_at(model, block).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def set_scalar(position: int, dimension: int, value: float) -> Edit:
    """Return an edit that sets one scalar of every window, at (position, dimension), to `value`.

    Raises ValueError, when it runs, for a place outside of the hidden state.
    """

    def edit(h: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        _, tokens, width = h.shape
        if not 0 <= position < tokens:
            raise ValueError(
                f"position must be from 0 to {tokens - 1} in a window of {tokens} tokens, "
                f"got {position}."
            )
        if not 0 <= dimension < width:
            raise ValueError(
                f"dimension must be from 0 to {width - 1} in a model of width {width}, "
                f"got {dimension}."
            )
        h = h.clone()
        h[:, position, dimension] = value
        return h

    return edit
