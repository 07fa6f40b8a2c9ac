"""Finished runs on disk: one JSON file each."""

import hashlib
import json
import warnings
from pathlib import Path

from course_lib._files import write_text
from course_lib.sweep._run import Rows, Setting


FORMAT = 1


class Folder:
    """The finished runs of one experiment; other experiments may share the folder.

    A file holds the format's number, the experiment's name, the setting and the rows. NaN and
    infinity are written as Python's `json` does, beyond the standard.
    """

    def __init__(self, place: Path, experiment: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.place, self.experiment = place, experiment

    def load(self, setting: Setting) -> Rows | None:
        """Return the rows of a finished run, or None; warn of a file that cannot be read."""
        file = self._file(setting)
        if not file.exists():
            return None
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept["format"] != FORMAT:
                raise ValueError(f"format {kept['format']} instead of {FORMAT}")
            if not _same(kept["setting"], setting) or kept["experiment"] != self.experiment:
                raise ValueError("another run inside")
            rows = kept["rows"]
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise TypeError("rows that are no rows")
        except (ValueError, KeyError, TypeError) as error:
            warnings.warn(
                f"{file} is damaged ({type(error).__name__}: {error}); its run is repeated.",
                stacklevel=3,
            )
            return None
        return rows

    def save(self, setting: Setting, rows: Rows) -> None:
        """Write a finished run, atomically."""
        kept = {
            "format": FORMAT,
            "experiment": self.experiment,
            "setting": setting,
            "rows": rows,
        }
        write_text(self._file(setting), json.dumps(kept, indent=1) + "\n")

    def _file(self, setting: Setting) -> Path:
        text = f"{self.experiment}\n{fingerprint(setting)}"
        return self.place / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def fingerprint(setting: Setting) -> str:
    """Return one text per setting, whatever the order of its keys."""
    return json.dumps(setting, sort_keys=True)


def _same(one: Setting, other: Setting) -> bool:
    return fingerprint(one) == fingerprint(other)  # NaN is not equal to itself, its text is
