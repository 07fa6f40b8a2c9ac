"""`make book`: the labs as web pages that need no server and no network."""

import html
from collections.abc import Sequence
from pathlib import Path

from course_lib._files import write_text


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
  body {{ font: 1.05rem/1.6 system-ui, sans-serif; max-width: 46rem;
         margin: 3rem auto; padding: 0 1rem }}
  td, th {{ text-align: left; padding: .3rem .8rem .3rem 0; vertical-align: top }}
</style>
<h1>{title}</h1>
<p>Read the labs here; to run them, clone the repository and type <code>make lab</code>.</p>
<table>
<tr><th>lab</th><th>as the learner gets it</th><th>solved</th></tr>
{rows}
</table>
</html>
"""


def main(root: Path) -> Path:
    """Write `build/book/index.html` with one page per lab and one per solution; return its path."""
    folder = root / "build" / "book"
    labs = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    for notebook in labs:
        _render(notebook, folder / f"{notebook.stem}.html")
        _render(root / "notebooks" / "solutions" / notebook.name, folder / _solved(notebook))
        print(f"{notebook.stem}: two pages", flush=True)
    index = folder / "index.html"
    write_text(index, _index(labs))
    return index


def _solved(notebook: Path) -> str:
    return f"{notebook.stem}_solutions.html"


def _index(labs: Sequence[Path]) -> str:
    rows = [
        f'<tr><td>{html.escape(lab.stem[:2])}</td><td><a href="{lab.stem}.html">'
        f'{html.escape(_title(lab))}</a></td><td><a href="{_solved(lab)}">solutions</a></td></tr>'
        for lab in labs
    ]
    return _PAGE.format(title="Small Memory", rows="\n".join(rows))


def _title(notebook: Path) -> str:
    import nbformat

    cells = nbformat.read(notebook, as_version=4).cells
    headings = [line for cell in cells for line in cell.source.splitlines() if line[:2] == "# "]
    return headings[0][2:].strip() if headings else notebook.stem


def _render(notebook: Path, target: Path) -> None:
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter(embed_images=True).from_filename(str(notebook))
    write_text(target, page.replace(".ipynb", ".html"))
