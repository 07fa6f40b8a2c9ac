"""Exercises: what a check is, and what it tells the learner.

A check is an ordinary function that takes the learner's object and raises `Wrong` with the fix in
the sentence. The decorator gives it an id, points and hints; what happens becomes a `Result`:

    @exercise("10.double", points=1, difficulty=1, minutes=2, hints=("…", "…", "…"))
    def double(answer):
        x = torch.randn(3, generator=generator())
        same_tensor(answer(x), 2 * x, "double(x)", tol=1e-6)

Called as `check.double(my_double)`. Random cases come from `generator()`: they are fresh in each
call, and the seed of a failed one is in the message.
"""

import importlib
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from course_lib.lab import _answers, _display, _names, progress
from course_lib.lab._answers import NotAttempted, Wrong, same_number, same_tensor


if TYPE_CHECKING:
    import torch


__all__ = [
    "Exercise",
    "NotAttempted",
    "Result",
    "Wrong",
    "exercise",
    "exercises",
    "generator",
    "grade",
    "hint",
    "same_number",
    "same_tensor",
]

HINTS = 3
_registry: dict[str, "Exercise"] = {}
_seed: ContextVar["_Seed | None"] = ContextVar("seed", default=None)


@dataclass
class _Seed:
    value: int
    used: bool = False


@dataclass(frozen=True)
class Result:
    """What a check says: shown as a note in the notebook."""

    exercise: str  # id
    passed: bool
    attempted: bool
    message: str
    points: int  # earned by this call
    out_of: int

    def __repr__(self) -> str:
        """Return the result as plain text."""
        return _display.note_text(self._title(), self.message.splitlines())

    def _repr_html_(self) -> str:
        tone = "good" if self.passed else "bad" if self.attempted else "plain"
        return _display.note_html(self._title(), self.message.splitlines(), tone)

    def _title(self) -> str:
        if self.passed:
            return f"{self.exercise}: passed, {_points(self.points)}"
        return f"{self.exercise}: {'not right yet' if self.attempted else 'not attempted yet'}"


@dataclass(frozen=True)
class Exercise:
    """One exercise and its check; calling it checks an answer."""

    id: str
    check: Callable[[Any], None]
    points: int
    difficulty: int  # 1 to 5
    minutes: int
    hints: tuple[str, ...]
    answer: str  # the name that the notebook gives to the learner's object
    returns: bool  # False: the learner's function changes its argument and returns nothing

    def __call__(self, answer: Any = None, *, seed: int | None = None) -> Result:
        """Check an answer and keep the points; `seed` repeats the random cases of a failed call."""
        result = self.try_out(answer, seed=seed)
        if result.passed:
            entry = {"points": result.points, "out_of": result.out_of}
            progress.record("exercises", self.id, entry)
        return result

    def try_out(self, answer: Any, *, seed: int | None = None) -> Result:
        """Check an answer without keeping the points."""
        if _answers.is_stub(answer):
            return self._result(False, False, self._first_step())
        cases = _Seed(time.time_ns() % 2**31 if seed is None else seed)
        token = _seed.set(cases)
        try:
            self.check(_answers.guarded(answer, returns=self.returns))
        except NotAttempted as nothing:
            return self._result(False, False, f"{nothing}\n{self._first_step()}")
        except Wrong as wrong:
            return self._result(False, True, f"{wrong}\n{self._repeat(cases)}".rstrip())
        except Exception as error:
            words = _answers.in_words(error, self.check)
            return self._result(False, True, f"{words}\n{self._repeat(cases)}".rstrip())
        finally:
            _seed.reset(token)
        return self._result(True, True, "")

    def _result(self, passed: bool, attempted: bool, message: str) -> Result:
        points = self.points if passed else 0
        return Result(self.id, passed, attempted, message, points, self.points)

    def _first_step(self) -> str:
        return f'Worth {_points(self.points)}. A hint: lab.hint("{self.id}", 1).'

    def _repeat(self, cases: _Seed) -> str:
        name = self.id.split(".")[1]
        call = f"check.{name}({self.answer}, seed={cases.value})"
        return f"The cases were random. To meet the same ones again: {call}." if cases.used else ""


def exercise(
    id: str,
    *,
    points: int,
    difficulty: int,
    minutes: int,
    hints: tuple[str, ...],
    answer: str | None = None,
    returns: bool = True,
) -> Callable[[Callable[[Any], None]], Exercise]:
    """Turn a checking function into an exercise; raise ValueError for a malformed one.

    `answer` is the name of the learner's object in the notebook, `my_<name>` unless said otherwise.
    Write `returns=False` when the learner's function changes its argument and returns nothing.
    """
    _names.check_id(id, '"10.pack_bits"')
    if points < 1 or minutes < 1:
        raise ValueError(f"{id}: points and minutes are at least 1.")
    if not 1 <= difficulty <= 5:
        raise ValueError(f"{id}: difficulty is {difficulty}; it goes from 1 to 5.")
    if len(hints) != HINTS or not all(text.strip() for text in hints):
        raise ValueError(f"{id}: give {HINTS} hints, from a nudge to nearly the solution.")

    def register(check: Callable[[Any], None]) -> Exercise:
        old = _registry.get(id)
        if old is not None and _origin(old.check) != _origin(check):
            raise ValueError(f"{id} is already the id of {'.'.join(_origin(old.check))}.")
        name = answer or f"my_{id.split('.')[1]}"
        made = Exercise(id, check, points, difficulty, minutes, hints, name, returns)
        _registry[id] = made
        return made

    return register


def generator() -> "torch.Generator":
    """Return a torch generator for the random cases of the running check; the seed is noted."""
    import torch

    cases = _seed.get()
    if cases is None:
        raise RuntimeError("generator() belongs inside a check; outside, make your own generator.")
    cases.used = True
    return torch.Generator().manual_seed(cases.value)


def hint(id: str, n: int = 1) -> None:
    """Show hint `n` (1 to 3) of an exercise; the third also names the solutions notebook."""
    chosen = _find(id)
    if not 1 <= n <= HINTS:
        raise ValueError(f"There are {HINTS} hints: ask for 1, 2 or 3, not {n}.")
    if n < HINTS:
        after = f'More: lab.hint("{id}", {n + 1}).'
    else:
        after = f"Still stuck? Open {_solutions(id[:2])} and compare."
    _display.note(f"Hint {n} of {HINTS} for {id}", chosen.hints[n - 1], after)


def exercises(lab: str) -> _display.Table:
    """Return the exercises of a lab ("10_mobiletl") as rows: id, points, difficulty, minutes."""
    _import_checks(lab[:2])
    return _display.Table(
        {
            "id": one.id,
            "points": one.points,
            "difficulty": one.difficulty,
            "minutes": one.minutes,
        }
        for one in _of_lab(lab)
    )


def grade(
    answers: ModuleType | Mapping[str, Any] | Callable[..., Any], lab: str | None = None
) -> list[Result]:
    """Check answers by their names in the notebook, without touching the progress file.

    `answers` is a module or a mapping of names (then all exercises of `lab` are checked, missing
    ones as not attempted), or one function or class (then the exercises that ask for its name).
    """
    if lab is not None:
        _import_checks(lab[:2])
    chosen = list(_registry.values()) if lab is None else _of_lab(lab)
    if isinstance(answers, ModuleType):
        answers = vars(answers)
    if not isinstance(answers, Mapping):
        name = getattr(answers, "__name__", "")
        chosen = [one for one in chosen if one.answer == name]
        if not chosen:
            raise ValueError(f"No exercise asks for an object named '{name}'.")
        answers = {name: answers}
    return [one.try_out(answers.get(one.answer)) for one in chosen]


def _of_lab(lab: str) -> list[Exercise]:
    return [one for one in _registry.values() if one.id.startswith(f"{lab[:2]}.")]


def _find(id: str) -> Exercise:
    _names.check_id(id, '"10.pack_bits"')
    if id not in _registry:
        _import_checks(id[:2])
    if id not in _registry:
        known = ", ".join(sorted(one.id for one in _of_lab(id))) or "none"
        raise ValueError(f"There is no exercise '{id}'. Lab {id[:2]} has: {known}.")
    return _registry[id]


def _import_checks(number: str) -> None:
    """Import the checks of a lab, which registers them; a lab may have none."""
    name = f"course_lib.lab.checks.lab{number}"
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name != name:
            raise


def _solutions(number: str) -> str:
    current = _names.current()
    name = current if current and current.startswith(number) else f"{number}_…"
    return f"notebooks/solutions/{name}.ipynb"


def _origin(check: Callable[..., Any]) -> tuple[str, str]:
    return check.__module__, check.__qualname__


def _points(count: int) -> str:
    return f"{count} point" if count == 1 else f"{count} points"
