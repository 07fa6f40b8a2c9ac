"""Models and data sets by name: verified, kept in one cache, usable offline.

The table `data/assets.toml` says what there is. `load` and `text` return data, `model` and
`language_model` networks, `tokenizer` what goes with the latter; `path` and `fetch` work on files.
PyTorch is imported only when a tensor or a network is asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from course_lib.assets._download import fetch_url
from course_lib.assets._errors import AssetError, AssetWarning
from course_lib.assets._fetch import Status, fetch, path, status
from course_lib.assets._manifest import names


if TYPE_CHECKING:
    from course_lib.assets._language import language_model, tokenizer
    from course_lib.assets._load import load
    from course_lib.assets._models import model
    from course_lib.assets._pictures import Pictures, to_input
    from course_lib.assets._text import text


__all__ = [
    "AssetError",
    "AssetWarning",
    "Pictures",
    "Status",
    "fetch",
    "fetch_url",
    "language_model",
    "load",
    "model",
    "names",
    "path",
    "status",
    "text",
    "to_input",
    "tokenizer",
]

_LATE = {
    "Pictures": "_pictures",
    "language_model": "_language",
    "load": "_load",
    "model": "_models",
    "text": "_text",
    "to_input": "_pictures",
    "tokenizer": "_language",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    globals()[name] = value
    return value
