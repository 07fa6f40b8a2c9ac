"""Checks of lab 01: what layers keep for backward, in bytes.

No check holds a formula of its own. Each builds real layers of random shapes, asks
`measure.saved_activations`, and compares to the byte.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from course_lib.lab.exercise import Wrong, exercise, generator


if TYPE_CHECKING:
    import torch


def _same_bytes(got: Any, want: int, call: str, mistakes: Mapping[str, int]) -> None:
    """Raise Wrong unless `got` is `want`; `mistakes` maps an explanation to what it would give."""
    if isinstance(got, bool) or not isinstance(got, int | float):
        raise Wrong(f"{call} returns a {type(got).__name__}; return one whole number of bytes.")
    if got == want:
        return
    for words, wrong in mistakes.items():
        if got == wrong:
            raise Wrong(f"{call} should be {want:,} bytes; yours is {got:,}. {words}")
    if got * 4 == want:
        raise Wrong(
            f"{call} should be {want:,}; yours is {got:,}, a quarter of it. "
            "You count numbers; a float32 number takes 4 bytes."
        )
    raise Wrong(
        f"{call} should be {want:,} bytes, as the meter finds; yours is {got:,}, "
        f"{abs(got - want):,} {'too many' if got > want else 'too few'}. "
        "List the kept tensors one by one and compare with the equations."
    )


def _sizes(low: int, high: int, count: int, random: "torch.Generator") -> list[int]:
    """Return different whole numbers from low to high - 1."""
    import torch

    return (torch.randperm(high - low, generator=random)[:count] + low).tolist()


@exercise(
    "01.conv_chain_bytes",
    points=2,
    difficulty=2,
    minutes=7,
    hints=(
        "Three layers, and each keeps its own input. What enters batch norm? What enters ReLU6?",
        "The convolution keeps the input map. Batch norm and ReLU6 keep one output-sized map each. "
        "Batch norm adds two numbers of 4 bytes for each of its channels.",
        "Compute map_in = batch · channels_in · height · width, and map_out likewise with "
        "channels_out and both sides divided by the stride. Add one map_in and two map_out, "
        "times 4. Then add 8 · channels_out.",
    ),
    answer="conv_chain_bytes",
)
def conv_chain_bytes(answer: Callable[..., Any]) -> None:
    """Compare with a real chain of random sizes, with stride 1 and 2."""
    from torch import nn

    random = generator()
    for stride in (1, 2):
        batch, channels_in, channels_out = _sizes(2, 12, 3, random)
        height, width = (2 * n for n in _sizes(3, 9, 2, random))
        layers = (
            nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU6(),
        )
        want = _kept(nn.Sequential(*layers), (batch, channels_in, height, width))
        call = (
            f"conv_chain_bytes({batch}, {channels_in}, {channels_out}, {height}, {width}, {stride})"
        )
        map_in = 4 * batch * channels_in * height * width
        map_out = 4 * batch * channels_out * (height // stride) * (width // stride)
        vectors, weights = 8 * channels_out, 4 * 9 * channels_in * channels_out
        undivided = 4 * batch * channels_out * height * width
        _same_bytes(
            answer(batch, channels_in, channels_out, height, width, stride),
            want,
            call,
            {
                "Batch norm also keeps two numbers per channel: 8 bytes for each.": want - vectors,
                "Per channel it is two numbers of 4 bytes: 8 bytes, not 4.": want - vectors // 2,
                "ReLU6 keeps its input as well: one more map of the output's size.": want - map_out,
                "The output of ReLU6 is kept by the next layer, not by this chain.": want + map_out,
                "Leave the weights out: they are parameters, not activations.": want + weights,
                "Batch norm and ReLU6 see the map after the stride.": map_in
                + 2 * undivided
                + vectors,
                "Count the map that enters the convolution, too.": want - map_in,
                "Batch norm and ReLU6 have channels_out channels, not channels_in.": 4
                * batch
                * channels_in
                * (height * width + 2 * (height // stride) * (width // stride))
                + 8 * channels_in,
            },
        )


@exercise(
    "01.mlp_bytes",
    points=2,
    difficulty=2,
    minutes=7,
    hints=(
        "Write the three inputs on paper with their shapes: into the first linear layer, "
        "into GELU, into the second linear layer.",
        "A linear layer keeps its input only if it is trained. GELU has no weights: it keeps its "
        "input in both cases, because its derivative depends on it.",
        "With rows = batch · tokens: trained keeps rows · width, rows · hidden and rows · hidden "
        "again; frozen keeps rows · hidden once. Times 4 bytes.",
    ),
    answer="mlp_bytes",
)
def mlp_bytes(answer: Callable[..., Any]) -> None:
    """Compare with a real MLP of random sizes, trained and frozen."""
    from torch import nn

    random = generator()
    for trained in (True, False):
        batch, tokens = _sizes(2, 9, 2, random)
        width, hidden = _sizes(5, 40, 2, random)
        mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        mlp.requires_grad_(trained)
        want = _kept(mlp, (batch, tokens, width))
        rows = 4 * batch * tokens
        all_kept = rows * (width + 2 * hidden)
        mistakes = {
            "A linear layer keeps its input, not its output.": rows * (2 * hidden + width + width),
            "The numbers that leave GELU are the input of the second linear layer.": rows
            * (width + hidden),
            "Leave the weights out: they are parameters, not activations.": want
            + 8 * width * hidden,
            "GELU keeps its own input, in front of it.": rows * (hidden + hidden),
        }
        if not trained:
            mistakes = {
                "A frozen linear layer keeps nothing: its weight gets no gradient.": all_kept,
                "GELU still keeps its input: the gradient must pass through it.": 0,
                "Only GELU's input stays; its size is hidden, not width.": rows * width,
                "GELU's output is the input of a frozen linear layer, which keeps nothing.": rows
                * (hidden + hidden),
            }
        call = f"mlp_bytes({batch}, {tokens}, {width}, {hidden}, trained={trained})"
        got = answer(batch, tokens, width, hidden, trained)
        _same_bytes(got, want, call, mistakes)


@exercise(
    "01.attention_bytes",
    points=3,
    difficulty=3,
    minutes=8,
    hints=(
        "All of q, k, v and the output have batch · heads · tokens · head_dim numbers.",
        "Fused: four tensors of that size and batch · heads · tokens single numbers. Unfused: "
        "three tensors of that size and the matrix P, one number per pair of tokens.",
        "With one = batch · heads · tokens · head_dim and rows = batch · heads · tokens. "
        "Fused: 4 · (4 · one + rows). Unfused: 4 · (3 · one + rows · tokens).",
    ),
    answer="attention_bytes",
)
def attention_bytes(answer: Callable[..., Any]) -> None:
    """Compare with PyTorch's fused attention and with the explicit one, at random sizes."""
    random = generator()
    for is_fused in (True, False):
        batch, heads = _sizes(2, 7, 2, random)
        tokens, head_dim = _sizes(5, 30, 2, random)
        want = _attention_kept(batch, heads, tokens, head_dim, is_fused)
        one = 4 * batch * heads * tokens * head_dim
        row, matrix = 4 * batch * heads * tokens, 4 * batch * heads * tokens * tokens
        if is_fused:
            mistakes = {
                "Add the one number per token and head from which P is computed again.": want - row,
                "Fused attention also keeps its output.": want - one,
                "Fused attention never stores the matrix P.": 3 * one + matrix,
                "Of P, only one number per token and head stays, not the whole matrix.": 4 * one
                + matrix,
                "That one number exists for each head.": 4 * one + 4 * batch * tokens,
            }
        else:
            mistakes = {
                "Softmax keeps its output only, and the product with v keeps the same P: "
                "count it once.": want + matrix,
                "Unfused attention does not keep its output.": want + one,
                "The matrix P is missing: tokens × tokens numbers for each head.": 3 * one,
                "Every head has its own matrix P.": 3 * one + matrix // heads,
                "The product with v keeps v as well: three tensors of q's size.": want - one,
            }
        call = f"attention_bytes({batch}, {heads}, {tokens}, {head_dim}, is_fused={is_fused})"
        got = answer(batch, heads, tokens, head_dim, is_fused)
        _same_bytes(got, want, call, mistakes)


@exercise(
    "01.checkpointed_bytes",
    points=3,
    difficulty=4,
    minutes=12,
    hints=(
        "Backward starts with the last block. At that moment all inputs are still there. "
        "Later, fewer inputs wait.",
        "While block i goes backward, the inputs of blocks 0 to i-1 wait, and block i keeps "
        "kept[i]. kept[i] already holds its own input.",
        "For each i compute sum(inputs[:i]) + kept[i]; the answer is the largest of these sums.",
    ),
    answer="checkpointed_bytes",
)
def checkpointed_bytes(answer: Callable[..., Any]) -> None:
    """Compare with a chain of real blocks: checkpointed before block i, plain in block i."""
    random = generator()
    for extra in ((60, 0, 0, 0), (0, 10, 0, 0)):  # hidden numbers more than in the other blocks
        inputs, kept, moments = _chain(extra, random)
        want = max(moments)
        call = f"checkpointed_bytes({inputs}, {kept})"
        got = answer(list(inputs), list(kept))
        largest = max(range(len(kept)), key=kept.__getitem__)
        _same_bytes(
            got,
            want,
            call,
            {
                "That is the end of the forward pass. Backward must run a block again and keep its "
                "inner maps for a while.": sum(inputs),
                "The block's own input is counted twice; kept[i] already holds it.": max(
                    sum(inputs[: i + 1]) + n for i, n in enumerate(kept)
                ),
                "Inputs of later blocks are freed before, and kept[i] holds the block's own "
                "input.": sum(inputs) + max(kept),
                "Inputs of later blocks are freed before this block goes backward.": max(
                    sum(inputs) - x + n for x, n in zip(inputs, kept, strict=True)
                ),
                "The inputs of earlier blocks are still waiting; add them.": max(kept),
                "The block that keeps most need not be the worst moment: later blocks have more "
                "inputs waiting. Try every block.": sum(inputs[:largest]) + kept[largest],
                "This is the sum without any checkpointing. Only one block at a time is kept "
                "whole.": sum(kept),
            },
        )


def _kept(module: "torch.nn.Module", shape: tuple[int, ...]) -> int:
    """Return what the meter finds for `module` on an input into which gradients must flow."""
    import torch

    from course_lib import measure

    x = torch.randn(shape, requires_grad=True)
    return measure.saved_activations(lambda: module(x)).total


def _attention_kept(batch: int, heads: int, tokens: int, head_dim: int, is_fused: bool) -> int:
    import torch
    import torch.nn.functional as F

    from course_lib import measure

    q, k, v = (torch.randn(batch, heads, tokens, head_dim, requires_grad=True) for _ in range(3))

    def attend() -> torch.Tensor:
        if is_fused:
            return F.scaled_dot_product_attention(q, k, v)
        scores = (q * head_dim**-0.5) @ k.transpose(-2, -1)
        return scores.softmax(dim=-1) @ v

    return measure.saved_activations(attend).total


def _chain(
    extra: tuple[int, ...], random: "torch.Generator"
) -> tuple[list[int], list[int], list[int]]:
    """Return inputs and kept bytes of a random chain of blocks, and what each moment keeps."""
    import torch
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    from course_lib import measure

    widths = _sizes(20, 27, len(extra) + 1, random)
    blocks = nn.Sequential(
        *(
            nn.Sequential(nn.Linear(a, 30 + more), nn.GELU(), nn.Linear(30 + more, b), nn.SiLU())
            for a, b, more in zip(widths[:-1], widths[1:], extra, strict=True)
        )
    )
    x = torch.randn(_sizes(3, 9, 1, random)[0], widths[0], requires_grad=True)

    def moment(last: int) -> torch.Tensor:
        y = x
        for block in blocks[:last]:
            y = checkpoint(block, y, use_reentrant=False)
        return blocks[last](y)

    inputs = [4 * len(x) * width for width in widths[:-1]]
    kept = measure.saved_activations(lambda: blocks(x)).by_module(depth=1)
    moments = [measure.saved_activations(lambda i=i: moment(i)).total for i in range(len(extra))]
    return inputs, list(kept.values()), moments
