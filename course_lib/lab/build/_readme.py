"""The map of labs in README.md: one row per lab, from the committed notebooks.

A lab writes its headline with `lab.scoreboard(headline=…)` and its verdicts with `lab.claim`. The
build keeps both in the notebook's metadata, so README repeats what that run measured. A cell tagged
`cover` lends its picture to README.
"""

import base64
import html
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib._files import write_bytes, write_text
from course_lib.lab.build._source import Lab, SourceError


BEGIN = "<!-- The map of labs is written by `make notebooks`. -->"
END = "<!-- End of the map. -->"
_IMAGE = re.compile(r'<img alt="([^"]*)"[^>]*src="data:image/png;base64,([^"]+)"')


def results(folder: Path, lab: str) -> dict:
    """Read what a run wrote to `folder`: the headline, and how many claims got which verdict."""
    progress = folder / "progress.json"
    book = json.loads(progress.read_text(encoding="utf-8")) if progress.is_file() else {}
    row = book.get("scoreboard", {}).get(lab, {}).get("row", {})
    verdicts: Counter[str] = Counter()
    for file in sorted(folder.rglob("claims/*.json")):
        rows = json.loads(file.read_text(encoding="utf-8")).values()
        verdicts.update(one["verdict"] for one in rows)
    return {"headline": row.get("headline", ""), "verdicts": dict(sorted(verdicts.items()))}


def update_readme(root: Path, labs: Sequence[Lab]) -> bool:
    """Write the map and the cover pictures; tell whether README.md changed."""
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if BEGIN not in text or END not in text:
        return False
    labs = [lab for lab in labs if (root / "notebooks" / f"{lab.name}.ipynb").is_file()]
    for lab in labs:
        _write_cover(root, lab)
    fresh = with_map(text, root, labs)
    if fresh == text:
        return False
    write_text(readme, fresh)
    return True


def with_map(text: str, root: Path, labs: Sequence[Lab]) -> str:
    """Return the text of README.md with the map as the committed notebooks give it."""
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    rows = [_row(root, lab) for lab in labs]
    table = [
        "| lab | minutes | memory | in one line | paper and here |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([before + BEGIN, "", *table, *rows, "", END + after])


def _row(root: Path, lab: Lab) -> str:
    name = f"[{lab.number} · {lab.title}](notebooks/{lab.name}.ipynb)"
    kept = _notebook(root, lab).metadata["small_memory"].get("results", {})
    verdicts = ", ".join(f"{count} {word}" for word, count in kept.get("verdicts", {}).items())
    cells = [
        name,
        lab.header.minutes,
        lab.header.memory,
        kept.get("headline", ""),
        verdicts or "no claim",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _write_cover(root: Path, lab: Lab) -> None:
    covers = [c for c in _notebook(root, lab).cells if "cover" in c.metadata.get("tags", ())]
    if not covers:
        return
    for output in covers[0].get("outputs", ()):
        if found := _IMAGE.search(output.get("data", {}).get("text/html", "")):
            target = root / "docs" / f"{lab.name}.png"
            picture = base64.b64decode(found[2])
            if not target.is_file() or target.read_bytes() != picture:
                write_bytes(target, picture)
                print(f"docs/{target.name}: {html.unescape(found[1])}")
            return
    raise SourceError(f"{lab.name}: the cell tagged `cover` shows no picture.")


def _notebook(root: Path, lab: Lab) -> NotebookNode:
    return nbformat.read(root / "notebooks" / f"{lab.name}.ipynb", as_version=4)
