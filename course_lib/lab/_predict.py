"""Predict first, measure later: a guess is kept and shown beside the measured number."""

from typing import Any

from course_lib.lab import _display, _names, progress
from course_lib.lab._numbers import finite


_asked: dict[str, dict[str, Any]] = {}


def predict(id: str, *, question: str, guess: object = None, unit: str = "") -> None:
    """Ask for a guess (a number in `unit`) and keep it; None means: not yet.

    Raises ValueError for a guess that is no number.
    """
    _names.check_id(id, '"10.saved_share"')
    _asked[id] = {"question": question, "unit": unit}
    if guess is not None:
        value = finite(guess, "guess", "Write it as guess=40, without the unit, or leave None")
        progress.record("predictions", id, {**_asked[id], "guess": value})
        _display.note(question, f"Your prediction: {_display.quantity(value, unit)}. It is kept.")
        return
    if earlier := _kept(id):
        kept = _display.quantity(earlier["guess"], unit)
        _display.note(question, f"You predicted {kept} earlier. A new guess replaces it.")
    else:
        _display.note(question, "No prediction yet: put a number in place of None and run again.")


def recall(id: str, *, measured: object) -> None:
    """Show the prediction beside the measured number (same unit), or say that there is none."""
    _names.check_id(id, '"10.saved_share"')
    value = finite(measured, "measured", "Pass the number that this run measured")
    asked = _kept(id) or _asked.get(id)
    if asked is None:
        raise ValueError(f'Nothing was asked as "{id}". Run the cell with lab.predict("{id}", …).')
    here = _display.quantity(value, asked["unit"])
    guess = asked.get("guess")
    if guess is None:
        _display.note(asked["question"], f"Measured: {here}. No prediction made.")
        return
    parts = [f"Predicted: {_display.quantity(guess, asked['unit'])}.", f"Measured: {here}."]
    if guess and value:
        ratio = guess / value
        parts.append(f"The prediction is {_display.number(round(ratio, 2))} times the measurement.")
    _display.note(asked["question"], " ".join(parts))


def _kept(id: str) -> dict[str, Any] | None:
    return progress.load()["predictions"].get(id)
