"""Record how the largest activations of small language models grow, and write the course's table.

    nice python -m course_lib.massive_activations.trajectories --folder runs --workers 2

Eight architectures, two seeds each, for the first 800 steps of a schedule of 4000. Before them
comes the reference, trained to the end of 8000 steps with a seed of its own. Finished runs stay in
`--folder`, so a second call runs only what is missing. Written are `trajectories.csv` with its
versions beside it, and the trained reference. A table that other settings made is kept unless
`--force` is given.
"""

import argparse
import csv
import hashlib
import io
import platform
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from course_lib._files import write_bytes
from course_lib._paths import cache_dir, data_dir
from course_lib.llm import lm_facts, load_lm, save_lm
from course_lib.massive_activations._trajectory import (
    SCHEDULE_STEPS,
    Row,
    checkpoint_steps,
    fixed_windows,
    measure,
    split,
    text_digest,
    training_text,
    trajectory,
)
from course_lib.sweep import sweep


__all__ = [
    "REFERENCE",
    "SCHEDULE_STEPS",
    "VARIANTS",
    "checkpoint_steps",
    "fixed_windows",
    "measure",
    "plan",
    "record",
    "split",
    "text_digest",
    "training_text",
    "trajectory",
]

BASE: dict[str, Any] = {
    "blocks": 6,
    "width": 128,
    "heads": 4,
    "positions": "rotary",
    "bos": True,
}
# Of the seeds 0, 1, 2 and 5, this one had the largest ratios at step 520.
REFERENCE = BASE | {"seed": 5, "steps": 8000, "schedule_steps": 8000}
VARIANTS: tuple[dict[str, Any], ...] = tuple(
    BASE | change
    for change in (
        {},
        {"blocks": 3},
        {"blocks": 3, "positions": "learned"},
        {"blocks": 3, "bos": False},
        {"blocks": 3, "positions": "learned", "bos": False},
        {"blocks": 3, "heads": 8},
        {"blocks": 4, "width": 96},
        {"width": 64},
    )
)
SEEDS = (0, 1)
STEPS = 800  # of all runs but the reference
DIGITS = 6  # significant ones in the table
COLUMNS = [
    *("blocks", "width", "heads", "positions", "bos", "seed", "step", "block"),
    *("top1", "median", "ratio", "at_start", "dimension", "val_loss"),
]
MODEL = "reference.safetensors"  # the trained reference, in the folder of the runs


def plan(
    variants: Iterable[dict[str, Any]] = VARIANTS,
    seeds: Iterable[int] = SEEDS,
    steps: int = STEPS,
    *,
    reference: dict[str, Any] = REFERENCE,
) -> list[dict[str, Any]]:
    """Return the settings of all runs: the reference, then each variant with each seed."""
    variants = list(variants)
    runs = [
        variant | {"seed": seed, "steps": steps, "schedule_steps": SCHEDULE_STEPS}
        for seed in seeds
        for variant in variants
    ]
    return [reference, *runs]


def record(
    settings: list[dict[str, Any]],
    table: Path,
    checkpoint: Path,
    *,
    folder: Path,
    workers: int = 1,
    force: bool = False,
) -> None:
    """Run what is missing in `folder`; write the table, its versions and the first run's model.

    Raises FileExistsError for a table of other settings without `force`, RuntimeError when a run
    failed: what is finished stays in `folder`.
    """
    about = _about(settings)
    _keep_others(table, about, force)
    first = settings[0] | {"keep": str(folder / MODEL)}
    found = sweep(trajectory, [first, *settings[1:]], folder=folder, workers=workers)
    if len(found.failed):
        raise RuntimeError(
            f"{len(found.failed)} of {len(settings)} runs failed; the first says: "
            f"{found.failed['error'].iloc[0]} Run the same command again to repeat them."
        )
    rows = found.table.to_dict("records")
    save_lm(checkpoint, load_lm(folder / MODEL), bits=8, facts=lm_facts(folder / MODEL))
    write_bytes(_beside(table), _toml(about))
    write_bytes(table, _csv(rows))


def _about(settings: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what makes the numbers: versions, the text, the settings of all runs."""
    text = training_text()
    return {
        "script": "python -m course_lib.massive_activations.trajectories",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "text_sha256": text_digest(text),
        "text_bytes": len(text.encode()),
        "runs": settings,
    }


def _beside(table: Path) -> Path:
    return table.with_suffix(".toml")


def _keep_others(table: Path, about: dict[str, Any], force: bool) -> None:
    if force or not table.exists():
        return
    beside = _beside(table)
    before = tomllib.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
    other = [name for name, value in about.items() if before.get(name) != value]
    if other:
        raise FileExistsError(
            f"{table} was made with other {', '.join(other)}; "
            "give --force to replace it, or --table another file."
        )


def _csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _short(row[name]) for name in COLUMNS})
    return text.getvalue().encode()


def _short(value: Any) -> Any:
    """Return a number with six significant digits, a truth value as 0 or 1."""
    if isinstance(value, bool):
        return int(value)
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else value


def _toml(about: dict[str, Any]) -> bytes:
    def value(item: Any) -> str:
        if isinstance(item, bool):
            return str(item).lower()
        return f'"{item}"' if isinstance(item, str) else str(item)

    lines = [f"{key} = {value(item)}" for key, item in about.items() if key != "runs"]
    for run in about["runs"]:
        pairs = ", ".join(f"{key} = {value(item)}" for key, item in run.items())
        lines.append(f"  {{ {pairs} }},")
    head = len(about) - 1
    return "\n".join([*lines[:head], "runs = [", *lines[head:], "]", ""]).encode()


def main(arguments: list[str] | None = None) -> None:
    """Run the grid, write its files, and print what `data/assets.toml` must say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=cache_dir() / "massive_activations")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--force", action="store_true")
    parser.add_argument(
        "--table", type=Path, default=data_dir() / "massive_activations" / "trajectories.csv"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=data_dir() / "checkpoints" / "massive_activations_lm.safetensors",
    )
    given = parser.parse_args(arguments)
    record(
        plan(steps=given.steps),
        given.table,
        given.checkpoint,
        folder=given.folder,
        workers=given.workers,
        force=given.force,
    )
    for file in (given.table, given.checkpoint):
        data = file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        print(f'{file.name}: sha256 = "{digest}" size = {len(data)}')


if __name__ == "__main__":
    main()
