"""Names of labs and ids of their items, and which lab runs now."""

import re


_current: str | None = None


def set_current(name: str) -> None:
    """Remember the lab that `lab.start` opened."""
    global _current
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", name):
        raise ValueError(f"'{name}' is not the name of a lab; a name looks like 10_mobiletl.")
    _current = name


def current() -> str | None:
    """Return the lab that `lab.start` opened last, or None."""
    return _current


def demand_current(caller: str) -> str:
    """Return the running lab; raise RuntimeError, naming `caller`, when there is none."""
    if _current is None:
        raise RuntimeError(
            f"{caller} needs to know the lab. Run the first code cells of the notebook: "
            'lab.start("10_mobiletl").'
        )
    return _current


def check_id(id: str, example: str) -> str:
    """Return `id` if it looks like "10.pack_bits" (two digits, a dot, a name), else raise."""
    if not re.fullmatch(r"\d\d\.[a-z0-9_]+", id):
        raise ValueError(f"'{id}' is not an id; an id looks like {example}.")
    return id
