"""What the gates look at: the files of the house."""

import ast
import subprocess
from pathlib import Path


ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "notebooks" / "source").glob("*.py"))
LEARNER = [ROOT / "notebooks" / f"{path.stem}.ipynb" for path in SOURCES]
SOLUTIONS = [ROOT / "notebooks" / "solutions" / f"{path.stem}.ipynb" for path in SOURCES]
NAMES = [path.stem for path in SOURCES]


def tracked_files() -> list[Path]:
    """Files that git holds or would take; without git, all outside of hidden folders."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        hidden = (".", "build", "dist")
        found = [p for p in ROOT.rglob("*") if not p.relative_to(ROOT).parts[0].startswith(hidden)]
    else:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    return sorted({path for path in found if path.is_file()})


def library_files() -> list[Path]:
    """The Python files of course_lib."""
    return sorted((ROOT / "course_lib").rglob("*.py"))


def parse(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def at(path: Path, line: int | None = None) -> str:
    """`folder/file.py:12`, as an editor opens it."""
    place = path.relative_to(ROOT).as_posix()
    return place if line is None else f"{place}:{line}"


def assert_none(offenders: list[str], rule: str) -> None:
    """Fail with the rule and everything that breaks it."""
    assert not offenders, f"{rule}\n  " + "\n  ".join(offenders)
