"""Where things lie: the repository, the data it carries, the cache."""

import os
from pathlib import Path


_PACKAGE = Path(__file__).resolve().parent


def repo_root() -> Path | None:
    """Return the folder of the checkout, or None when `course_lib` was installed from a wheel."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() else None


def data_dir() -> Path:
    """Return the folder that holds `assets.toml`, `claims.toml` and `checkpoints/`.

    In a checkout this is `data/`; a wheel carries the same folder inside the package.
    """
    root = repo_root()
    return _PACKAGE / "_data" if root is None else root / "data"


def cache_dir() -> Path:
    """Return the folder of fetched assets; the environment variable `COURSE_CACHE` moves it."""
    chosen = os.environ.get("COURSE_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "small-memory"
