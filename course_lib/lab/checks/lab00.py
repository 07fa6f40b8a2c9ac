"""Checks of lab 00: the bytes of a tensor, and the largest batch that fits."""

import math
from collections.abc import Callable
from typing import Any

from course_lib.lab.exercise import Wrong, exercise, generator


MIB = 2**20


def _whole(got: Any, call: str) -> int:
    """Return an answer that is a whole number; else say what it is instead."""
    if isinstance(got, bool) or not isinstance(got, int | float):
        raise Wrong(f"{call} returns a {type(got).__name__}; return one whole number.")
    if got != int(got):
        raise Wrong(
            f"{call} returns {got:.6g}, which is not a whole number; bytes have no fractions."
        )
    return int(got)


@exercise(
    "00.tensor_bytes",
    points=1,
    difficulty=1,
    minutes=3,
    hints=(
        "How many numbers does a shape of (2, 3) hold? And (2, 3, 4)? Multiply, do not add.",
        "Start with count = 1, and multiply it by each size in a loop over `shape`. "
        "An empty shape is one number, and the loop gives that by itself.",
        "After the loop, one line is left: return count * dtype.itemsize.",
    ),
    answer="tensor_bytes",
)
def tensor_bytes(answer: Callable[..., Any]) -> None:
    """Compare with equation (1) on random shapes, on an empty shape, and on an empty axis."""
    import torch

    random = generator()
    dtypes = (torch.float32, torch.float16, torch.uint8, torch.int64, torch.bool)
    for axes, dtype in zip((3, 4, 3, 3, 4), dtypes, strict=True):
        # Sizes of 5 to 9: no wrong formula gives the right number, or that of another one.
        shape = tuple(torch.randint(5, 10, (axes,), generator=random).tolist())
        _one_tensor(answer, shape, dtype)
    _one_tensor(answer, (), torch.float32)
    _one_tensor(answer, (4, 0, 5), torch.float32)


def _one_tensor(answer: Callable[..., Any], shape: tuple[int, ...], dtype: Any) -> None:
    count, each = math.prod(shape), dtype.itemsize
    right = count * each
    call = f"tensor_bytes({shape}, {dtype})"
    got = answer(shape, dtype)
    if got == right and not isinstance(got, bool) and isinstance(got, int):
        return
    if isinstance(got, float) and right and math.isclose(got * MIB, right):
        raise Wrong(f"{call} is in MiB; return bytes, so do not divide by 2**20.")
    got = _whole(got, call)
    if got == right:
        raise Wrong(f"{call} is right but a float; multiply whole numbers only, without `/`.")
    if not shape:
        raise Wrong(
            f"{call}: an empty shape means one single number, {right} bytes. Yours is {got}; "
            "begin the product with 1."
        )
    if not count:
        raise Wrong(f"{call}: one axis has size 0, so no number is left: 0 bytes. Yours is {got}.")
    if got == 0:
        raise Wrong(f"{call} should be {right}, but it is 0. Begin the product with 1, not with 0.")
    if got == count:
        raise Wrong(
            f"{call} is {got}, the count of numbers. Each takes {each} bytes: "
            "multiply by dtype.itemsize."
        )
    if got == count * 4:
        raise Wrong(
            f"{call} counts 4 bytes for every number. That is float32; here each takes {each}: "
            "use dtype.itemsize."
        )
    if got == right * 8:
        raise Wrong(f"{call} is in bits; one byte is 8 bits, and itemsize counts bytes already.")
    if got == sum(shape) * each:
        raise Wrong(f"{call} adds the sizes of the axes; multiply them.")
    if got == count // shape[0] * each:
        raise Wrong(f"{call} leaves out the first axis, the batch; use all sizes in `shape`.")
    raise Wrong(f"{call} should be {right}, which is {count} numbers of {each} bytes; it is {got}.")


@exercise(
    "00.largest_batch",
    points=2,
    difficulty=2,
    minutes=4,
    hints=(
        "With a budget of 100 and a fixed part of 10, how much room is left for pictures?",
        "room = budget - fixed. Then count whole pictures: Python's // divides and rounds down.",
        "When even the fixed part is too large, room // per_picture is below 0. "
        "max(0, ...) turns that into 0.",
    ),
    answer="largest_batch",
)
def largest_batch(answer: Callable[..., Any]) -> None:
    """Compare with equation (2) solved for b, on random cases and on both edges."""
    import torch

    random = generator()

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=random))

    for _ in range(4):
        fixed, each, batch = draw(200, 400), draw(50, 90), draw(3, 40)
        # The room left over is above half a picture, so that rounding up shows.
        _one_budget(answer, fixed + batch * each + draw(each // 2 + 1, each), fixed, each, batch)
        _one_budget(answer, fixed + batch * each, fixed, each, batch)
    fixed, each = draw(200, 400), draw(50, 90)
    _one_budget(answer, fixed + each // 2, fixed, each, 0)
    _one_budget(answer, fixed - draw(1, 200), fixed, each, 0)


def _one_budget(answer: Callable[..., Any], budget: int, fixed: int, each: int, right: int) -> None:
    call = f"largest_batch({budget}, {fixed}, {each})"
    got = answer(budget, fixed, each)
    if isinstance(got, float) and got != int(got):
        raise Wrong(f"{call} is {got:.3f}; part of a picture is no picture: round down with //.")
    if _whole(got, call) == right:
        return
    if got < 0:
        raise Wrong(
            f"{call} is {got}; a batch cannot be negative. "
            "The fixed part alone is too large: answer 0."
        )
    if got == budget // each:
        raise Wrong(f"{call} spends the whole budget on pictures; subtract the fixed part first.")
    if got == right + 1:
        raise Wrong(
            f"{call} is {got}, but {got} pictures keep {fixed + got * each:,} bytes, "
            "more than the budget; round down."
        )
    if got == right - 1 and budget == fixed + right * each:
        raise Wrong(
            f"{call} is {got}, but {right} pictures fill the budget exactly, and that fits."
        )
    raise Wrong(
        f"{call} should be {right}: {fixed} + {right} * {each} is within {budget}. It is {got}."
    )


__all__ = ["largest_batch", "tensor_bytes"]
