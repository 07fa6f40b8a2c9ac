"""Scale: two words, laptop and full, and no third."""

import os
from types import SimpleNamespace
from typing import Any


SCALES = ("laptop", "full")


def scale() -> str:
    """Return "laptop", or "full" when the environment variable `COURSE_SCALE` says so.

    Raises ValueError for any other word.
    """
    word = os.environ.get("COURSE_SCALE") or "laptop"
    if word not in SCALES:
        raise ValueError(
            f"COURSE_SCALE is '{word}'. It knows two words: laptop (the default) and full."
        )
    return word


def settings(*, laptop: dict[str, Any], full: dict[str, Any]) -> SimpleNamespace:
    """Return the settings of the present scale; both scales must name the same ones.

    Raises ValueError that lists the names which only one side has.
    """
    missing = [
        f"{side} lacks {', '.join(sorted(names))}"
        for side, names in (
            ("laptop", full.keys() - laptop.keys()),
            ("full", laptop.keys() - full.keys()),
        )
        if names
    ]
    if missing:
        raise ValueError(
            f"Both scales need the same settings: {'; '.join(missing)}. Add what lacks."
        )
    return SimpleNamespace(**(laptop if scale() == "laptop" else full))
