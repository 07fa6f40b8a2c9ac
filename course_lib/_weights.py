"""Weights and what describes them in one safetensors file; its metadata holds one JSON text."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from course_lib._files import write_bytes


@dataclass(frozen=True)
class WeightFile:
    """A kind of file: its entry in the metadata, its noun, and the function that writes it.

    One entry holds all that describes the weights: several would come in any order, and with them
    another sha256 each time.
    """

    key: str
    noun: str
    writer: str

    def write(self, file: str | Path, weights: dict[str, Tensor], about: dict[str, Any]) -> None:
        """Write weights and description atomically; `about` holds JSON values."""
        kept = {name: weight.contiguous() for name, weight in weights.items()}
        write_bytes(Path(file), save(kept, {self.key: json.dumps(about, sort_keys=True)}))

    def about(self, file: str | Path) -> dict[str, Any]:
        """Return the description.

        Raises FileNotFoundError for a missing file, ValueError for a damaged or foreign one.
        """
        if not Path(file).is_file():
            raise FileNotFoundError(
                f"There is no {self.noun} {file}; write one with {self.writer}."
            )
        with self.reading(file), safe_open(file, "pt") as opened:
            return json.loads((opened.metadata() or {})[self.key])

    def weights(self, file: str | Path) -> dict[str, Tensor]:
        """Return the weights by name, in the dtype they are kept in; errors as for `about`."""
        with self.reading(file):
            return load(Path(file).read_bytes())

    @contextmanager
    def reading(self, file: str | Path) -> Iterator[None]:
        """Turn what a damaged file makes a reader stumble over into one ValueError."""
        try:
            yield
        except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise ValueError(
                f"{file} is damaged, or not a {self.noun} that {self.writer} wrote; "
                "bring or write it again."
            ) from error
