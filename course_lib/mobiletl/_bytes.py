"""Closed forms: bytes that one block keeps for backward.

An inverted residual block: W1 (C -> E), norm1, act1, depthwise W2, norm2, act2, [SE], W3 (E -> C'),
norm3. P pixels come in, P' leave W2, B is the batch, R the hidden width of SE. In 32-bit floats:

full     = 4B [C P + (2 + a) E P + (2 + a) E P' + C' P'] + 8 (2E + C') + SE
mobiletl = 4B [C P + E P + E P' + C' P'] + ceil(B E P / 8) + ceil(B E P' / 8) + 8 C' + SE
SE       = 4B (E P' + 3E + R)

a = 1 for ReLU6, h-swish and SiLU, which keep their input. a = 0 for ReLU: it keeps its output,
which the next layer keeps anyway. ShiftNorm's frozen vectors are buffers, so they are not counted.
"norm" and "bias" are what an ideal runtime keeps that trains only scale and shift, or only shift:
in PyTorch a frozen convolution keeps its input all the same.
"""

from typing import Literal

from torch import nn

from course_lib.mobiletl._shape import BlockShape, block_shape


Method = Literal["full", "mobiletl", "norm", "bias"]
_FLOAT = 4  # bytes
_STATISTICS = 8  # bytes a channel: mean and inverse deviation, which a norm in train mode keeps


def saved_bytes(
    block: BlockShape | nn.Module,
    input_shape: tuple[int, int, int, int] | None = None,
    method: Method = "mobiletl",
    *,
    mask_bits: int | None = None,
    statistics: bool = True,
) -> int:
    """Bytes that a block keeps for backward, by closed form.

    `block` is a `BlockShape`, or timm's block with its input_shape (batch, C, H, W). "full" and
    "mobiletl" are PyTorch's to the byte; "norm" and "bias" an ideal runtime's. `mask_bits` is the
    price of an activation element: by default 1 in MobileTL (a torch.bool costs 8), and 32 in
    "full". The paper's baseline keeps 2 for ReLU6; h-swish cannot be had for less than 32 there.
    `statistics=False` leaves out the norms' vectors, as the paper's figure 1 does.
    Raises ValueError for an unknown method or a missing input_shape.
    """
    if method not in ("full", "mobiletl", "norm", "bias"):
        raise ValueError(f"Unknown method {method!r}; choose full, mobiletl, norm or bias.")
    if isinstance(block, BlockShape):
        shape = block
    elif input_shape is None:
        raise ValueError("saved_bytes(block, input_shape): give input_shape=(batch, C, H, W).")
    else:
        shape = block_shape(block, input_shape)
    total = _convolutions(shape) if method in ("full", "mobiletl") else 0
    total += _norms(shape, method, statistics)
    total += _activations(shape, method, mask_bits)
    return total + _squeeze(shape, ideal=method in ("norm", "bias"))


def _convolutions(s: BlockShape) -> int:
    """Inputs of the convolutions: C P, E P, E P'."""
    expand = s.channels * s.pixels if s.expands else 0
    return _FLOAT * s.batch * (expand + s.expanded * (s.padded_pixels + s.out_pixels))


def _norms(s: BlockShape, method: Method, statistics: bool) -> int:
    """Inputs of the trained norms, and their statistics. In MobileTL only norm3."""
    if method == "bias":
        return 0
    maps, vectors = s.out_channels * s.out_pixels, s.out_channels
    if method != "mobiletl":
        maps += s.expanded * (s.pixels * s.expands + s.out_pixels)
        vectors += s.expanded * (1 + s.expands)
    return _FLOAT * s.batch * maps + _STATISTICS * vectors * statistics


def _activations(s: BlockShape, method: Method, mask_bits: int | None) -> int:
    """What the derivatives of act1 and act2 need."""
    steps = s.activation in ("relu", "relu6")
    if method == "mobiletl":
        bits = 1 if mask_bits is None else mask_bits
    elif method == "full":
        bits = 32 if mask_bits is None or not steps else mask_bits
    else:
        bits = 1 if steps else 32
    maps = [s.expanded * s.out_pixels]
    if s.expands:
        maps.append(s.expanded * s.pixels)
    if method == "full" and s.activation == "relu":
        # act1's output is W2's input already, unless padding has copied it.
        return _FLOAT * s.batch * maps[-1] if s.copies_padding and s.expands else 0
    return sum(_ceil8(bits * s.batch * size) for size in maps)


def _squeeze(s: BlockShape, ideal: bool) -> int:
    """Squeeze-and-excitation: the scaled map, E P', and its small vectors."""
    if not s.squeeze:
        return 0
    if ideal:  # the map, the gate before and after; ReLU's bits
        kept = s.expanded * (s.out_pixels + 2)
        return _FLOAT * s.batch * kept + _ceil8(s.batch * s.squeeze)
    return _FLOAT * s.batch * (s.expanded * (s.out_pixels + 3) + s.squeeze)


def _ceil8(bits: int) -> int:
    return -(-bits // 8)
