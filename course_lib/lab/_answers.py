"""A learner's answer: is it there, what went wrong in it, is it equal to the reference?"""

import dis
import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from course_lib.lab._display import number


if TYPE_CHECKING:
    import torch


_COURSE = str(Path(__file__).resolve().parent.parent)
_STUB_STEPS = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "POP_TOP"}
_STUB_METHODS = ("__init__", "forward", "backward", "__call__")
_HELP = {
    "AssertionError": "An assert in your code does not hold: look at what it claims.",
    "AttributeError": "The object has no such attribute: check its type with type(…).",
    "IndexError": "An index is outside of the range: print the shape first.",
    "KeyError": "The key is not in the mapping: print its keys first.",
    "NameError": "A name is used before it has a value: check the spelling.",
    "RecursionError": "The function calls itself without an end: it needs a case that stops.",
    "RuntimeError": "Often shapes or dtypes do not fit: print them just before this line.",
    "TypeError": "Check the number and the kinds of the arguments.",
    "ValueError": "An argument has the right kind but a wrong value: print it first.",
    "ZeroDivisionError": "The divisor became 0: which case leads there?",
}


class Wrong(Exception):
    """The answer is wrong; the message says how, and what to change."""


class NotAttempted(Exception):
    """There is no answer yet."""


def is_stub(answer: Any) -> bool:
    """Tell whether the answer is still empty: None, `...`, or code that does nothing."""
    if answer is None or answer is ...:
        return True
    if isinstance(answer, FunctionType):
        return _does_nothing(answer)
    if isinstance(answer, type):
        own = [vars(answer).get(name) for name in _STUB_METHODS]
        plain = [getattr(one, "__func__", one) for one in own]
        return any(isinstance(one, FunctionType) and _does_nothing(one) for one in plain)
    return False


def _does_nothing(function: FunctionType) -> bool:
    steps = list(dis.get_instructions(function))
    constants = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    return {step.opname for step in steps} <= _STUB_STEPS and constants[-1] is None


def guarded(answer: Any, *, returns: bool) -> Any:
    """Return the answer for a check: a function that may not return None, or a copy of data."""
    if isinstance(answer, FunctionType):
        return _watched(answer) if returns else answer
    return _copied(answer)


def _watched(function: FunctionType) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if result is None:
            raise NotAttempted(
                f"{function.__name__} returns None. "
                "If you wrote code, check that it ends with `return`."
            )
        return result

    return call


def _copied(data: Any) -> Any:
    """Return a copy of tensors, arrays, tables and containers; other objects as they are."""
    if hasattr(data, "detach") and hasattr(data, "requires_grad"):
        return data.detach().clone().requires_grad_(data.requires_grad)
    if type(data) in (list, tuple):
        return type(data)(_copied(one) for one in data)
    if type(data) is dict:
        return {key: _copied(value) for key, value in data.items()}
    if hasattr(data, "copy") and hasattr(data, "shape"):
        return data.copy()
    return data


def in_words(error: Exception, check: Callable[..., Any]) -> str:
    """Return what an error says, the learner's line where it arose, and a sentence of help."""
    kind = type(error).__name__
    text = f"{kind}: {error}".rstrip(": ")
    helping = next((_HELP[c.__name__] for c in type(error).__mro__ if c.__name__ in _HELP), "")
    line = _learners_line(error, check)
    head = f"Your code raised {text}" if line else f"The check could not use your answer: {text}"
    return "\n".join(part for part in (head, line, helping) if part)


def _learners_line(error: Exception, check: Callable[..., Any]) -> str:
    """Return the deepest line of the learner's code in the traceback, with its number."""
    walk = list(traceback.walk_tb(error.__traceback__))
    codes = [frame.f_code for frame, _ in walk]
    checks = inner_code(check)
    after = codes.index(checks) + 1 if checks in codes else 0
    for frame, number_ in reversed(walk[after:]):
        file = frame.f_code.co_filename
        if file.startswith(_COURSE) or "site-packages" in file or file.startswith("<@"):
            continue
        source = traceback.extract_tb(error.__traceback__)
        found = [s for s in source if (s.filename, s.lineno) == (file, number_)]
        code = found[-1].line if found else ""
        return f"Line {number_}: {code}" if code else f"Line {number_} of your cell"
    return ""


def inner_code(function: Callable[..., Any]) -> Any:
    """Return the code object of a function, below its decorators."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return getattr(function, "__code__", None)


def same_number(got: Any, want: float | int, what: str, tol: float | int = 0) -> None:
    """Raise Wrong unless the number `got` lies within `tol` of `want`.

    Tensors and arrays of one element count as numbers.
    """
    if got is None or got is ...:
        raise NotAttempted(f"{what} is None. If you wrote code, check that it gives a result.")
    if hasattr(got, "item"):
        count = got.numel() if hasattr(got, "numel") else got.size
        if count != 1:
            raise Wrong(f"{what} should be one number, but it has the shape {tuple(got.shape)}.")
        got = got.item()
    if isinstance(got, bool) or not isinstance(got, int | float):
        raise Wrong(f"{what} should be a number, but it is of type {type(got).__name__}: {got!r}.")
    if not abs(got - want) <= tol:
        ratio = f" (yours is {got / want:.3g} times that)" if want and got == got else ""
        raise Wrong(f"{what} should be {number(want)}, but it is {number(got)}{ratio}.")


def same_tensor(got: Any, want: "torch.Tensor", what: str, tol: float | int = 0) -> None:
    """Raise Wrong unless `got` has shape and dtype of `want` and its values within `tol`.

    Two NaN at the same place count as equal.
    """
    import torch

    if got is None or got is ...:
        raise NotAttempted(f"{what} is None. If you wrote code, check that it gives a result.")
    if not isinstance(got, torch.Tensor):
        raise Wrong(f"{what} should be a tensor, but it is of type {type(got).__name__}.")
    if got.shape != want.shape:
        raise Wrong(
            f"{what} should have the shape {tuple(want.shape)}, but it has {tuple(got.shape)}."
        )
    if got.dtype != want.dtype:
        raise Wrong(f"{what} should have the dtype {want.dtype}, but it has {got.dtype}.")
    if got.numel() == 0:
        return
    have, need = got.detach().cpu().to(torch.float64), want.detach().cpu().to(torch.float64)
    apart = (have - need).abs()
    apart[(have == need) | (have.isnan() & need.isnan())] = 0  # also equal infinities
    apart = apart.nan_to_num(nan=torch.inf)
    if float(apart.max()) > tol:
        place = tuple(int(i) for i in torch.unravel_index(apart.argmax(), apart.shape))
        count = int((apart > tol).sum())
        raise Wrong(
            f"{what} has {count} of {apart.numel()} values wrong. The largest difference is "
            f"{float(apart.max()):.3g}, at index {place}: it should be {number(float(need[place]))}"
            f" but is {number(float(have[place]))}."
        )
