"""Texts by name: what Python itself carries, and at full scale a sample of RedPajama."""

import inspect
import json
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from course_lib._paths import cache_dir
from course_lib.assets._errors import AssetError, unknown


REDPAJAMA = "togethercomputer/RedPajama-Data-1T-Sample"
REDPAJAMA_PARTS = ("arxiv", "book", "c4", "cc_2023-06", "github", "stackexchange", "wikipedia")
BLANK_LINE = "\n\n"


def text(name: str, **options) -> str:
    """Return a text of the course.

    "python_docs": the help topics of Python in the order of their names (about 465 kB of English).
    "python_source": the top-level modules of the standard library in that order (about 5 MB).
    Both are those of the running Python, so they differ a little between its versions.
    "redpajama_sample" (full scale): `documents` random ones of the sample of RedPajama-1T, drawn
    with `seed`, through huggingface_hub. The parts are joined by blank lines.
    Raises AssetError for an unknown name and for files that cannot be had, TypeError for an option
    that the text does not have, ValueError for a number of documents that cannot be drawn.
    """
    if name not in TEXTS:
        raise AssetError(unknown("text", name, TEXTS))
    known = list(inspect.signature(TEXTS[name]).parameters)
    for option in options:
        if option not in known:
            raise TypeError(f"The text {name} has no option {option!r}; it has {known or 'none'}.")
    return TEXTS[name](**options)


def python_docs() -> str:
    """Return the help topics that `help("topics")` lists."""
    from pydoc_data.topics import topics

    return BLANK_LINE.join(topics[name] for name in sorted(topics))


def python_source() -> str:
    """Return the top-level modules of the standard library; files of this machine stay out."""
    folder = Path(sysconfig.get_path("stdlib"))
    known = sorted(sys.stdlib_module_names)
    files = [file for name in known if (file := folder / f"{name}.py").is_file()]
    if not files:
        raise AssetError(
            f"{folder} holds no source of the standard library; use a Python that brings its "
            "source, for example from python.org, conda or uv."
        )
    return BLANK_LINE.join(file.read_text(encoding="utf-8") for file in files)


def redpajama_sample(documents: int = 500, seed: int = 1) -> str:
    """Return random documents of the sample of RedPajama-1T, as the paper's ten sequences use."""
    import numpy as np

    if documents < 1:
        raise ValueError(f"documents is {documents}; ask for at least 1.")
    files = [_hub_file(f"{part}_sample.jsonl") for part in REDPAJAMA_PARTS]
    counts = [_lines(file) for file in files]
    if documents > sum(counts):
        raise ValueError(f"The sample has {sum(counts):,} documents, not {documents:,}.")
    picked = np.random.default_rng(seed).choice(sum(counts), documents, replace=False)
    wanted = set(picked.tolist())
    found: dict[int, str] = {}
    first = 0
    for file, count in zip(files, counts, strict=True):
        with file.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, first):
                if number in wanted:
                    found[number] = json.loads(line)["text"]
        first += count
    return BLANK_LINE.join(found[number] for number in picked.tolist())


def _lines(file: Path) -> int:
    with file.open(encoding="utf-8") as stream:
        return sum(1 for _ in stream)


def _hub_file(filename: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    folder = cache_dir() / "hub"
    try:
        return Path(hf_hub_download(REDPAJAMA, filename, repo_type="dataset", cache_dir=folder))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise AssetError(
            f"Cannot fetch {filename} of {REDPAJAMA} into {folder}; "
            "connect to the internet and run this again."
        ) from error


TEXTS: dict[str, Callable[..., str]] = {
    "python_docs": python_docs,
    "python_source": python_source,
    "redpajama_sample": redpajama_sample,
}
