"""The published measurements of Pythia: readers of their files, and of a long table of them.

Data: hub data set Aimpoint-Digital/pythia-massive-activations (MIT), by the authors of arXiv
2508.03616. A file holds one checkpoint of one model: for each of ten sequences four rows (the three
largest |h| and the median of |h|) with one number per block.
"""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from course_lib._paths import cache_dir
from course_lib.assets import AssetError, AssetWarning


DATA_SET = "Aimpoint-Digital/pythia-massive-activations"
VALUES = ("top1", "top2", "top3", "median")
COLUMNS = ("model", "step", "seq", "layer", *VALUES)
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)")


def parse_stats(text: str) -> Float64[np.ndarray, "sequences 4 blocks"]:
    """Return the numbers of one published file: nested lists, one of 4 x blocks per sequence.

    The four rows are top1, top2, top3 and median. Raises ValueError for text of another form.
    """
    rows = [
        [float(number) for number in NUMBER.findall(row)]
        for row in re.findall(r"\[([^\[\]]+)\]", text)
    ]
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


def load_release(size: str, steps: list[int] | None = None) -> pd.DataFrame:
    """Fetch the published files of one Pythia size ("70m") and return them as one long table.

    `steps`: which checkpoints; None: all that are published. Files come through huggingface_hub
    and stay in the cache. One that is malformed is named in a warning and left out. Raises
    AssetError for an unknown size or step, and for files that cannot be had.
    """
    published = _published(size)
    chosen = sorted(published) if steps is None else steps
    tables = []
    for step in chosen:
        if step not in published:
            raise AssetError(
                f"Step {step} of pythia-{size} is not published; published are "
                f"{', '.join(map(str, sorted(published)))}."
            )
        text = _hub_file(published[step]).read_text(encoding="utf-8")
        try:
            tables.append(stats_table(parse_stats(text), model=size, step=step))
        except ValueError as error:
            warnings.warn(f"{published[step]} is left out. {error}", AssetWarning, stacklevel=2)
    if not tables:
        raise AssetError(f"No published file of pythia-{size} can be read.")
    return pd.concat(tables, ignore_index=True)


def _published(size: str) -> dict[int, str]:
    """Return the file of each published step of one size."""
    from huggingface_hub import list_repo_files
    from huggingface_hub.errors import HfHubHTTPError

    try:
        files = list_repo_files(DATA_SET, repo_type="dataset")
    except (HfHubHTTPError, OSError) as error:
        raise AssetError(
            f"Cannot list the files of {DATA_SET}; connect to the internet and run this again."
        ) from error
    form = re.compile(r"pythia_(.+)/stats/exp2_pythia_\1_step(\d+)$")
    found = [(match[1], int(match[2]), file) for file in files if (match := form.search(file))]
    sizes = sorted({name for name, _, _ in found})
    if size not in sizes:
        raise AssetError(f"Unknown size {size!r}; published are {', '.join(sizes)}.")
    return {step: file for name, step, file in found if name == size}


def _hub_file(filename: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    folder = cache_dir() / "hub"
    try:
        return Path(hf_hub_download(DATA_SET, filename, repo_type="dataset", cache_dir=folder))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise AssetError(
            f"Cannot fetch {filename} of {DATA_SET} into {folder}; "
            "connect to the internet and run this again."
        ) from error
