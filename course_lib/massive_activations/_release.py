"""The published measurements of Pythia: readers of their files, and of a long table of them.

Data: hub data set Aimpoint-Digital/pythia-massive-activations (MIT), by the authors of arXiv
2508.03616. A file holds one checkpoint of one model: for each of ten sequences four rows (the three
largest |h| and the median of |h|) with one number per block.
"""

import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from course_lib._paths import cache_dir
from course_lib.assets import AssetError, AssetWarning


DATA_SET = "Aimpoint-Digital/pythia-massive-activations"
SIZES = ("14m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")
VALUES = ("top1", "top2", "top3", "median")
COLUMNS = ("model", "step", "seq", "layer", *VALUES)


def parse_stats(text: str) -> Float64[np.ndarray, "sequences 4 blocks"]:
    """Return the numbers of one published file: nested lists, one of 4 x blocks per sequence.

    The four rows are top1, top2, top3 and median. Raises ValueError for text of another form.
    """
    try:
        rows = [
            [float(number) for number in re.split(r"[,\s]+", row.strip())]
            for row in re.findall(r"\[([^\[\]]+)\]", text)
        ]
    except ValueError as error:
        raise ValueError(f"A file of statistics holds numbers only; {error}.") from error
    blocks = len(rows[0]) if rows else 0
    if not rows or len(rows) % 4 or any(len(row) != blocks for row in rows):
        raise ValueError(
            "A file of statistics holds lists of 4 rows of equal length; this text has rows of "
            f"{sorted({len(row) for row in rows})} numbers, {len(rows)} in all."
        )
    # (sequences * 4, blocks) -> (sequences, 4, blocks)
    stats = np.array(rows).reshape(-1, 4, blocks)
    if not np.isfinite(stats).all():
        raise ValueError("This file of statistics holds NaN or infinity.")
    return stats


def stats_table(
    stats: Float64[np.ndarray, "sequences 4 blocks"], *, model: str, step: int
) -> pd.DataFrame:
    """Return the numbers of one file as a long table: one row per sequence and block."""
    sequences, _, blocks = stats.shape
    table = pd.DataFrame(
        {
            "model": model,
            "step": step,
            "seq": np.repeat(np.arange(sequences), blocks),
            "layer": np.tile(np.arange(blocks), sequences),
        }
    )
    for column, name in enumerate(VALUES):
        # (sequences, blocks) -> (sequences * blocks,)
        table[name] = stats[:, column].reshape(-1)
    return table


def read_excerpt(file: str | Path) -> pd.DataFrame:
    """Read a long table (CSV) of published measurements; numbers that it lacks become NaN.

    Columns: model ("14m"), step, seq, layer (both from 0), top1, top2, top3, median. Raises
    ValueError for other columns, FileNotFoundError for a missing file.
    """
    table: pd.DataFrame = pd.read_csv(file)
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise ValueError(f"{Path(file).name} lacks the columns {', '.join(missing)}.")
    return table.loc[:, list(COLUMNS)]


def mean_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over sequences of top1 / median (Eq. 7): one row per model, layer and step.

    Rows without a median are left out. Raises ValueError for a median of 0.
    """
    if 0 in table["median"].to_numpy():
        raise ValueError("A median of 0 stands in the table; the ratio does not exist there.")
    ratios = table.assign(ratio=table["top1"] / table["median"]).dropna(subset="ratio")
    return ratios.groupby(["model", "layer", "step"], as_index=False).agg({"ratio": "mean"})


def load_release(size: str, steps: Iterable[int] | None = None) -> pd.DataFrame:
    """Fetch the published files of one Pythia size ("70m") and return them as one long table.

    `steps`: which checkpoints; None: all that are published. Files come through huggingface_hub
    and stay in the cache. One that is malformed is named in a warning and left out. Raises
    AssetError for an unknown size or step, and for files that cannot be had.
    """
    if size not in SIZES:
        raise AssetError(f"Unknown size {size!r}; published are {', '.join(SIZES)}.")
    tables = []
    for step in _published(size) if steps is None else steps:
        file = _hub_file(size, step)
        try:
            stats = parse_stats(file.read_text(encoding="utf-8"))
        except ValueError as error:
            warnings.warn(f"{file.name} is left out. {error}", AssetWarning, stacklevel=2)
        else:
            tables.append(stats_table(stats, model=size, step=step))
    if not tables:
        raise AssetError(f"None of the files of pythia-{size} that were asked for can be read.")
    return pd.concat(tables, ignore_index=True)


def _published(size: str) -> list[int]:
    """Return the steps of one size whose files are published."""
    from huggingface_hub import list_repo_files
    from huggingface_hub.errors import HfHubHTTPError

    try:
        files = list_repo_files(DATA_SET, repo_type="dataset")
    except (HfHubHTTPError, OSError) as error:
        raise AssetError(
            f"Cannot list the files of {DATA_SET}; connect to the internet and run this again, "
            "or name the steps that are in the cache."
        ) from error
    name = re.escape(_name(size, 0).removesuffix("0"))
    return sorted(int(found[1]) for file in files if (found := re.fullmatch(f"{name}(\\d+)", file)))


def _name(size: str, step: int) -> str:
    return f"pythia_{size}/stats/exp2_pythia_{size}_step{step}"


def _hub_file(size: str, step: int) -> Path:
    """Return one published file: from the cache without any network, else from the hub."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
    )

    folder, name = cache_dir() / "hub", _name(size, step)
    options: dict[str, Any] = {"repo_type": "dataset", "cache_dir": folder}
    try:
        return Path(hf_hub_download(DATA_SET, name, local_files_only=True, **options))
    except LocalEntryNotFoundError:
        missing = f"Cannot fetch {name} of {DATA_SET} into {folder}"
    try:
        return Path(hf_hub_download(DATA_SET, name, **options))
    except (HfHubHTTPError, OSError, ValueError) as error:
        there_is_none = isinstance(error, EntryNotFoundError)
        if there_is_none and not isinstance(error, LocalEntryNotFoundError):
            raise AssetError(f"Step {step} of pythia-{size} is not published.") from error
        raise AssetError(f"{missing}; connect to the internet and run this again.") from error
