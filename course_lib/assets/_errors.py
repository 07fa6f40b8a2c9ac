"""The one error and the one warning of this package."""

import difflib
from collections.abc import Iterable


class AssetError(RuntimeError):
    """An asset is missing, damaged or unknown; the message names the file and the mend."""


class AssetWarning(UserWarning):
    """A damaged file was found and is replaced, or a rendering could not be kept."""


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """Return a sentence that names close matches of `name`, or else all that is known."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=5, cutoff=0.6)
    if close:
        return f"Unknown {what} {name!r}; did you mean {' or '.join(map(repr, close))}?"
    return f"Unknown {what} {name!r}; known are {', '.join(known)}."
