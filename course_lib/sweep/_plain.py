"""Values that survive JSON: settings and results are made of them."""

import numbers
from typing import Any


def plain(value: Any) -> Any:
    """Return `value` in plain Python: numbers, texts, None, lists, dicts with text keys.

    Tuples become lists; NumPy's numbers and tensors without axes become Python's numbers.
    Raises TypeError for anything else.
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"a dict with the key {wrong[0]!r}, which is not a text")
        return {key: plain(part) for key, part in value.items()}
    raise TypeError(f"a {type(value).__name__}")


def plain_items(items: dict[str, Any], owner: str) -> dict[str, Any]:
    """Return `items` with plain values; a TypeError names `owner` and the key that is not."""
    found = {}
    for key, value in items.items():
        if not isinstance(key, str):
            raise TypeError(f"{owner} has the key {key!r}; keys must be texts.")
        try:
            found[key] = plain(value)
        except TypeError as error:
            raise TypeError(
                f"{owner} has under '{key}' {error}; give numbers, texts, lists or dicts of them."
            ) from error
    return found
