"""Paper says, we measured: the figures of the papers held against those of this run.

`data/claims.toml` holds the papers' side. A verdict is one of four:
*reproduced* (within the stated tolerance of the paper's value), *same direction* (not within it,
but on the paper's side of the value that would mean no effect; where none is given, better than the
paper), *not shown at this scale* (the lab says so itself), *does not hold*.
"""

import json
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_lib._files import write_text
from course_lib._paths import data_dir, repo_root
from course_lib.lab import _display, _names
from course_lib.lab._numbers import finite
from course_lib.lab._scale import scale


if TYPE_CHECKING:
    import pandas


__all__ = ["Claim", "claim", "gather_claims", "read_claims", "verdict"]

REPRODUCED = "reproduced"
SAME_DIRECTION = "same direction"
NOT_SHOWN = "not shown at this scale"
DOES_NOT_HOLD = "does not hold"


@dataclass(frozen=True)
class Claim:
    """One figure of a paper, as it stands in `data/claims.toml`."""

    id: str
    what: str  # what is claimed, in one line
    paper: float  # in `unit`
    unit: str
    where: str  # table, figure or section
    setting: str  # model, data, batch
    lab: str
    no_effect: float | None = None  # the value that would mean: no effect
    better: str | None = None  # "higher" or "lower"


def claim(
    id: str, *, measured: object, tolerance: float | int, shown: bool = True, note: str = ""
) -> None:
    """Show paper, here and verdict for one claim, and keep them as JSON for `make claims`.

    `measured` and `tolerance` (absolute) have the unit of the claim; `measured` comes from this
    run. With `shown=False` the lab says that this scale cannot show the claim; `measured` may then
    be None. Raises ValueError for an unknown id or a number that is not finite.
    """
    known = read_claims()
    if id not in known:
        raise ValueError(f"There is no claim '{id}' in data/claims.toml. It has: {_list(known)}.")
    one = known[id]
    fix = "Pass the number that this run measured"
    here = None if measured is None and not shown else finite(measured, "measured", fix)
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance is {tolerance}; give a number of at least 0 in {one.unit}.")
    words = verdict(one, here, tolerance) if shown else NOT_SHOWN
    lab = _names.current() or one.lab
    row = {**asdict(one), "lab": lab, "here": here, "tolerance": tolerance, "verdict": words}
    row |= {"note": note, "scale": scale()}
    _keep(lab, row)
    _display.table([_for_reader(row)])


def verdict(one: Claim, here: float | None, tolerance: float | int) -> str:
    """Return the verdict on a measured value, as the module's head defines it."""
    if here is None:
        return NOT_SHOWN
    if abs(here - one.paper) <= tolerance:
        return REPRODUCED
    if one.no_effect is not None:
        ours, theirs = here - one.no_effect, one.paper - one.no_effect
        return SAME_DIRECTION if ours * theirs > 0 else DOES_NOT_HOLD
    if one.better is not None:
        gain = here - one.paper if one.better == "higher" else one.paper - here
        return SAME_DIRECTION if gain > 0 else DOES_NOT_HOLD
    return DOES_NOT_HOLD


def read_claims(file: Path | None = None) -> dict[str, Claim]:
    """Return all claims of `data/claims.toml` by id; raise ValueError that names a wrong entry."""
    file = data_dir() / "claims.toml" if file is None else file
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        f"{group}.{name}": _parse(f"{group}.{name}", entry)
        for group, entries in tables.items()
        for name, entry in entries.items()
    }


def gather_claims(folder: str | Path) -> "pandas.DataFrame":
    """Return one table of all claims that the labs wrote below `folder`.

    Raises FileNotFoundError when no lab has written any.
    """
    import pandas

    files = sorted(Path(folder).rglob("claims/*.json"))
    rows = [row for file in files for row in json.loads(file.read_text(encoding="utf-8")).values()]
    if not rows:
        raise FileNotFoundError(f"No lab has written a claim below {folder}. Run a lab first.")
    return pandas.DataFrame([{"lab": row["lab"], **_for_reader(row)} for row in rows])


def _for_reader(row: Mapping[str, Any]) -> dict[str, str]:
    here = "not measured" if row["here"] is None else _display.quantity(row["here"], row["unit"])
    return {
        "claim": row["what"],
        "paper": _display.quantity(row["paper"], row["unit"]),
        "here": here,
        "verdict": row["verdict"],
        "where": row["where"],
        "note": row["note"],
    }


def _parse(id: str, entry: object) -> Claim:
    if not isinstance(entry, dict):
        raise ValueError(f"claims.toml: {id} is no table; write it as [{id}].")
    known = Claim.__dataclass_fields__.keys() - {"id"}
    missing = known - {"no_effect", "better"} - entry.keys()
    if missing or (extra := entry.keys() - known):
        wrong = f"lacks {_list(missing)}" if missing else f"has unknown fields: {_list(extra)}"
        raise ValueError(f"claims.toml: {id} {wrong}.")
    if entry.get("better") not in (None, "higher", "lower"):
        raise ValueError(f"claims.toml: {id} has better = '{entry['better']}': higher or lower.")
    numbers = {
        key: finite(entry[key], f"claims.toml: {id}.{key}", "Write a number")
        for key in ("paper", "no_effect")
        if key in entry
    }
    return Claim(id=id, **{**entry, **numbers})


def _list(names: Any) -> str:
    return ", ".join(sorted(names))


def _keep(lab: str, row: Mapping[str, Any]) -> None:
    """Add one row to the lab's JSON file, atomically."""
    if chosen := os.environ.get("COURSE_BUILD"):
        build = Path(chosen).expanduser()
    else:
        root = repo_root()
        build = Path.cwd() / ".small-memory" if root is None else root / "build"
    file = build / "claims" / f"{lab}.json"
    rows = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    rows[row["id"]] = row
    write_text(file, json.dumps(rows, indent=1))
