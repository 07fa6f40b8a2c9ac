"""How large a model is on disk."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from course_lib.measure._graph import tensors_inside
from course_lib.measure._storages import plain_tensors


def file_size(state_dict_or_path: Mapping[str, Any] | str | os.PathLike) -> int:
    """Return bytes on disk: of a file, or of the tensors of a state dict (or nested dicts).

    A state dict counts each storage once and whole, as `torch.save` writes it; the file adds a few
    hundred bytes of names per tensor. A view of a large tensor therefore costs the large tensor.
    """
    if isinstance(state_dict_or_path, Mapping):
        storages = {
            storage._cdata: storage.nbytes()
            for tensor in tensors_inside(dict(state_dict_or_path))
            for storage in (plain.untyped_storage() for plain in plain_tensors(tensor))
        }
        return sum(storages.values())
    if not isinstance(state_dict_or_path, str | os.PathLike):
        raise TypeError(
            f"file_size needs a state dict or a path, got {type(state_dict_or_path).__name__}; "
            "write file_size(model.state_dict())"
        )
    path = Path(state_dict_or_path)
    if not path.is_file():
        raise FileNotFoundError(f"file_size: there is no file {path}")
    return path.stat().st_size
