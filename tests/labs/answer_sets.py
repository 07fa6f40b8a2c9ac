"""The answers in `tests/labs/answers/labNN.py`, by lab.

Each file holds, by exercise id: `RIGHT`, a list of right answers; `WRONG`, a list of pairs of a
wrong answer and words of the message that it gets.
"""

import importlib
from types import ModuleType


def answers_of(number: str) -> tuple[dict, dict, ModuleType | None]:
    """Return `RIGHT`, `WRONG` and the module of one lab; empty when the lab has no file."""
    name = f"labs.answers.lab{number}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name not in (name, "labs.answers"):
            raise
        return {}, {}, None
    return module.RIGHT, module.WRONG, module
