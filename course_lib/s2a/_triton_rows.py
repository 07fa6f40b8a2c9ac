"""What the fused kernels of softmax and LayerNorm share: rows, stretches, packed codes.

A program of a forward kernel makes the bytes of one stretch of n elements, see `course_lib.lean`:
with 4 bits these are the codes of two rows, half the tensor apart. If the rows do not come in
pairs, a stretch lies across two rows, whose statistics are then found twice. A program of a
backward kernel makes one row. Places in memory are counted in 64 bits.
"""

from typing import Any, no_type_check

import triton
import triton.language as tl


def constants(bits: int, n: int) -> dict[str, Any]:
    """Compile-time constants of a kernel whose programs hold a row of n elements."""
    # 32 lanes a warp, some elements a lane
    warps = 4 if n <= 2048 else 8 if n <= 8192 else 16
    return {"BITS": bits, "BLOCK": triton.next_power_of_2(n), "num_warps": warps}


def paired(rows: int, bits: int) -> bool:
    """Tell whether each stretch is one row, so that a byte has its codes from whole rows."""
    return rows % (8 // bits) == 0


@triton.jit
@no_type_check
def load_row(x_ptr, row, rows, n, column):
    """One row, in float32; zeros beyond its end, and for a row that does not exist."""
    inside = (column < n) & (row < rows)
    return tl.load(x_ptr + row * n + column, mask=inside, other=0.0).to(tl.float32)


@triton.jit
@no_type_check
def load_stretch(x_ptr, place, rows, n, size, column):
    """The elements whose codes take place number `place` in the bytes of this program.

    Returns the row of the first one, all their numbers, which of them exist, and x in float32.
    """
    first = tl.program_id(0).to(tl.int64) * n
    start = first + place * tl.cast(size, tl.int64)
    element = start + column
    inside = (column < n) & (first + column < size) & (element < tl.cast(rows, tl.int64) * n)
    x = tl.load(x_ptr + element, mask=inside, other=0.0).to(tl.float32)
    return start // n, element, inside, x


@triton.jit
@no_type_check
def put_codes(packed, value, inside, place, BITS: tl.constexpr):
    """Round to codes, ties up, and put them into their place of the bytes; NaN gives code 0."""
    # Truncation floors what is not negative.
    value = tl.minimum(tl.maximum(value + 0.5, 0.0), (1 << BITS) - 0.5)
    return packed | (tl.where(inside, value.to(tl.int32), 0) << BITS * place)


@triton.jit
@no_type_check
def store_stretch(packed_ptr, packed, n, size, column):
    """Write the bytes of this program."""
    byte = tl.program_id(0).to(tl.int64) * n + column
    tl.store(packed_ptr + byte, packed.to(tl.uint8), mask=(column < n) & (byte < size))


@triton.jit
@no_type_check
def load_codes(packed_ptr, element, inside, size, BITS: tl.constexpr):
    """Codes of the given elements, as float32."""
    place = (element * 0).to(tl.int32)
    for other in tl.static_range(1, 8 // BITS):  # not element // size: that is a slow instruction
        place += (element >= other * tl.cast(size, tl.int64)).to(tl.int32)
    byte = element - place * tl.cast(size, tl.int64)
    bits = tl.load(packed_ptr + byte, mask=inside, other=0).to(tl.int32)
    return ((bits >> BITS * place) & ((1 << BITS) - 1)).to(tl.float32)
