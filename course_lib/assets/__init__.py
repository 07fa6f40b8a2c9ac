"""Models and data sets by name: verified, kept in one cache, usable offline.

The table `data/assets.toml` says what there is. `load` and `model` return tensors and networks;
`path` and `fetch` work on files. PyTorch is imported only when `load`, `model`, `to_input` or
`Pictures` is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from course_lib.assets._errors import AssetError, AssetWarning
from course_lib.assets._fetch import Status, fetch, path, status
from course_lib.assets._manifest import names


if TYPE_CHECKING:
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
    "load",
    "model",
    "names",
    "path",
    "status",
    "text",
    "to_input",
]

_LATE = {
    "Pictures": "_pictures",
    "load": "_load",
    "model": "_models",
    "text": "_text",
    "to_input": "_pictures",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    globals()[name] = value
    return value
