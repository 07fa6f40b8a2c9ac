"""Closed forms: bytes that one pre-norm transformer block keeps for backward.

B samples, N tokens, width D, H heads, MLP of width 4 D. In 32-bit floats, unfused attention:

full      4 (17 ND + H N^2 + 4 N) B        trained linears keep their inputs: 7 ND of the 17
bitfit    4 (10 ND + H N^2 + 4 N) B        frozen linears keep nothing; the rest stays
s2a       (12 ND + (6 ND + H N^2) / 2 + 24 N + 4 H N) B       4-bit codes; q, k, v in fp32

Fused attention keeps q, k, v, its output (which proj shares) and one float per row: 4 ND + H N
instead of 5 ND + H N^2 in "full". 17 and 10 hold for one sample or one head. In a larger batch
PyTorch's matmul copies q, k and v one by one and drops their common storage: 16 and 9.
A GPU's fused kernel may pad its rows.

Codes are packed per tensor, b bits an element. LayerNorm adds 12 bytes a token (minimum, maximum,
1 / deviation), softmax 4 bytes a row (its maximum), coded q, k, v 8 bytes a row each.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from course_lib.s2a._shape import BlockShape


_METHODS = (
    "full",
    "linear_probe",
    "bitfit",
    "lora_qkv",
    "lora_all",
    "adapter",
    "vpt_deep",
    "lst",
    "checkpointing",
    "activation_coding",
    "s2a",
)
Bits = int | Mapping[str, int]
PLACES = ("activation", "norm", "attention")
_FLOAT = 4  # bytes
_PARTS = ("norm", "attention", "activation", "linear", "added")
_GROUP = 256  # elements that share a range in activation coding


def saved_bytes(shape: BlockShape, method: str = "s2a", **options: Any) -> int:
    """Bytes that a block keeps for backward, by closed form; equal to PyTorch's to the byte.

    The options are those of `saved_by_part`, whose sum this is; so are the errors.
    """
    return sum(saved_by_part(shape, method, **options).values())


def saved_by_part(
    shape: BlockShape,
    method: str = "s2a",
    *,
    fused: bool = False,
    bits: Bits = 4,
    qkv_bits: int = 32,
    rank: int = 8,
    bottleneck: int = 64,
    prompts: int = 10,
    reduction: int = 8,
    down: str = "linear",
) -> dict[str, int]:
    """`saved_bytes` split into "norm", "attention", "activation", "linear" and "added".

    "linear" holds the inputs of the trained linear layers, "added" what LoRA, an adapter or a
    checkpoint keeps. `method` is one of `baseline`, or "s2a", for which `fused`, `bits` and
    `qkv_bits` are those of `apply`. Activation coding takes `bits` too, LoRA `rank`, "adapter"
    `bottleneck`, "vpt_deep" `prompts`, "lst" `reduction` and `down`. A low-rank prompt adds
    nothing; for the side branch see `branch_bytes`.
    Raises ValueError for an unknown method, or bits that do not fit.
    """
    if method not in _METHODS:
        raise ValueError(f"Unknown method {method!r}; choose one of {', '.join(_METHODS)}.")
    parts: dict[str, int] = {part: 0 for part in _PARTS}
    if method == "linear_probe":
        return parts
    if method == "checkpointing":
        return parts | {"added": _FLOAT * shape.stream}
    if method == "activation_coding":
        return parts | _activation_coding(shape, bits)
    if method == "lst":
        return _ladder(shape, fused, reduction, down)
    if method == "vpt_deep":
        shape = replace(shape, tokens=shape.tokens + prompts)
    places = place_bits(bits if method == "s2a" else 32, qkv_bits if method == "s2a" else 32, fused)
    parts["norm"] = 2 * _norm(shape, places["norm"])
    parts["attention"] = _attention(shape, places["attention"], qkv_bits, fused)
    parts["activation"] = _packed(shape.hidden, places["activation"])
    if method == "lora_qkv":
        parts["linear"] = _FLOAT * shape.stream
        parts["added"] = _FLOAT * shape.rows * rank
    if method in ("full", "lora_all"):
        # Inputs of qkv, proj, fc1, fc2. Fused attention keeps proj's input itself.
        parts["linear"] = _FLOAT * ((2 if fused else 3) * shape.stream + shape.hidden)
    if method == "lora_all":
        parts["added"] = 4 * _FLOAT * shape.rows * rank
    if method == "adapter":
        parts["added"] = _FLOAT * (shape.stream + 2 * shape.rows * bottleneck)
    return parts


def branch_bytes(shape: BlockShape, layers: int, pool: int = 8) -> int:
    """Bytes that a lite side branch beside `layers` blocks keeps: 4 (2 L + 1) B N D / k.

    Raises ValueError if `pool`, k, does not divide the width.
    """
    if pool < 1 or shape.width % pool:
        raise ValueError(f"A pool of k={pool} does not divide the width {shape.width}.")
    return _FLOAT * (2 * layers + 1) * shape.stream // pool


def cnn_block_bytes(
    batch: int, expanded: int, pixels: int, out_pixels: int | None = None, bits: int = 1
) -> int:
    """Bytes that a converted inverted residual block keeps: its two inner activations in codes.

    The block expands to `expanded` channels; `out_pixels` follow a strided depthwise convolution.
    Shift-only norms and frozen convolutions keep no map. With expansion e, 1 bit (ReLU6) is
    2 e / 32 of the input's 4 B C P bytes, and 4 bits (h-swish) are 2 e / 8.
    """
    out_pixels = pixels if out_pixels is None else out_pixels
    return sum(_packed(batch * expanded * size, bits) for size in (pixels, out_pixels))


def place_bits(bits: Bits, qkv_bits: int, fused: bool) -> dict[str, int]:
    """Bits of "activation", "norm" and "attention", each 1, 2, 4, 8, or 32 for PyTorch's own.

    A mapping may name some of the places; the others stay at 32. Fused attention is never coded.
    Raises ValueError for other bits or places, and for coded q, k, v without coded attention.
    """
    if isinstance(bits, Mapping):
        places = _everywhere(32) | dict(bits)
    else:
        places = _everywhere(bits)
        if fused:
            places["attention"] = 32
    unknown = places.keys() - set(PLACES)
    if unknown:
        raise ValueError(f"Unknown places {sorted(unknown)}; bits go to {', '.join(PLACES)}.")
    for place, number in {**places, "q, k, v": qkv_bits}.items():
        if number not in (1, 2, 4, 8, 32):
            raise ValueError(f"{number} bits for {place}: choose 1, 2, 4, 8 or 32.")
    if fused and places["attention"] != 32:
        raise ValueError("Fused attention keeps no map to code. Use fused=False, or 32 bits there.")
    if qkv_bits != 32 and places["attention"] == 32:
        raise ValueError(
            "q, k and v are coded only with coded attention. Give attention 1, 2, 4 or 8 bits "
            "with fused=False, or use qkv_bits=32."
        )
    return places


def _everywhere(bits: int) -> dict[str, int]:
    return {place: bits for place in PLACES}


def _norm(s: BlockShape, bits: int) -> int:
    """LayerNorm: its input and 8 bytes a token, or codes and 12 bytes a token."""
    return _packed(s.stream, bits) + (8 if bits == 32 else 12) * s.rows


def _attention(s: BlockShape, bits: int, qkv_bits: int, fused: bool) -> int:
    if fused:
        return _FLOAT * (4 * s.stream + s.head_rows)
    maps = s.head_rows * s.tokens
    if bits == 32:
        # The scaled q, and the storage of q, k, v; or contiguous copies of k and v.
        tensors = 4 if s.batch == 1 or s.heads == 1 else 3
        return _FLOAT * (tensors * s.stream + maps)
    ranges = 0 if qkv_bits == 32 else 3 * 2 * _FLOAT * s.head_rows
    return 3 * _packed(s.stream, qkv_bits) + ranges + _packed(maps, bits) + _FLOAT * s.head_rows


def _activation_coding(s: BlockShape, bits: Bits) -> dict[str, int]:
    """Every tensor of unfused "full" in groups of 256; the statistics of the norms as they are."""
    if bits not in (1, 2, 4, 8):
        raise ValueError(f"Activation coding takes 1, 2, 4 or 8 bits for all, not {bits!r}.")
    stream, hidden, maps = (
        _packed(elements, bits) + 2 * _FLOAT * -(-elements // _GROUP)
        for elements in (s.stream, s.hidden, s.head_rows * s.tokens)
    )
    return {
        "norm": 2 * (stream + 8 * s.rows),
        "attention": 3 * stream + maps,
        "activation": hidden,
        "linear": 3 * stream + hidden,
    }


def _ladder(s: BlockShape, fused: bool, reduction: int, down: str) -> dict[str, int]:
    """A side block in full; both terms of the gate and mu; x and 1 - mu for a linear `down`."""
    if reduction < 1 or s.width % reduction:
        raise ValueError(f"reduction={reduction} does not divide the width {s.width}.")
    narrow = s.width // reduction
    side = BlockShape(s.batch, s.tokens, narrow, math.gcd(narrow, s.heads))
    kept = 2 * side.stream + 1 + (s.stream + 1 if down == "linear" else 0)
    return saved_by_part(side, "full", fused=fused) | {"added": _FLOAT * kept}


def _packed(elements: int, bits: int) -> int:
    return -(-elements * bits // 8)
