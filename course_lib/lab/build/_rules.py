"""The rules that a finished notebook keeps; the build and the gates use the same ones."""

import re
from collections.abc import Iterator, Sequence

from nbformat import NotebookNode


LONGEST_CELL = 40  # lines of code
LARGEST_FILE = 500_000  # bytes

# The first folders of absolute paths, on Linux, macOS and Windows.
_FOLDERS = "home|root|work|tmp|usr|opt|var|mnt|private|Users|content|srv|etc"
_ABSOLUTE = re.compile(rf"(?<![\w.~/:>-])/(?:{_FOLDERS})/[\w.]|\b[A-Z]:\\\\?\w")
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{5,}")
_IMAGE_TAG = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_ALT = re.compile(r"""\balt\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_REMOTE = re.compile(
    r"!\[[^\]]*\]\(\s*(?:https?:|data:)|<img\b[^>]*\bsrc\s*=\s*[\"'](?:https?:|data:)"
)


def complaints(notebook: NotebookNode) -> list[str]:
    """Return one sentence per broken rule of an executed notebook; none when all is well."""
    found = [f"cell {n}: {text}" for n, text in _in_cells(notebook)]
    if "widgets" in notebook.metadata:
        found.append("metadata: holds the state of widgets")
    if (size := len(as_text(notebook).encode())) >= LARGEST_FILE:
        found.append(
            f"file: {size} bytes, the limit is {LARGEST_FILE}; show fewer or smaller figures"
        )
    return found


def as_text(notebook: NotebookNode) -> str:
    """Return the notebook as it stands in its file: keys sorted, one space of indentation."""
    import nbformat

    return nbformat.writes(notebook) + "\n"


def _in_cells(notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "markdown":
            if _REMOTE.search(cell.source):
                yield number, "shows a picture that is not a local file"
            continue
        if (lines := len(cell.source.splitlines())) > LONGEST_CELL:
            yield number, f"{lines} lines of code, the limit is {LONGEST_CELL}"
        if cell.execution_count is None:
            yield number, "was never executed"
        for output in cell.outputs:
            for text in _in_output(output, cell.metadata.get("tags", ())):
                yield number, text


def _in_output(output: NotebookNode, tags: Sequence[str]) -> Iterator[str]:
    if output.output_type == "error":
        yield f"ends in an error: {output.ename}: {output.evalue}"
        return
    if output.output_type == "stream":
        if output.name == "stderr" and "stderr" not in tags:
            said = output.text.strip()[:200]
            yield f"writes to stderr: {said!r}; mend it or tag the cell `stderr`"
        yield from _in_text(output.text)
        return
    for kind, value in output.get("data", {}).items():
        if "widget" in kind:
            yield "shows a live widget"
        elif kind.startswith("image/"):
            yield "shows a figure that cannot carry alt text; draw it in `plotting.figure(alt=...)`"
        elif kind.startswith("text/"):
            if kind == "text/html":
                yield from _without_alt(value)
            yield from _in_text(value)


def _without_alt(html: str) -> Iterator[str]:
    for tag in _IMAGE_TAG.findall(html):
        alt = _ALT.search(tag)
        if not alt or not (alt[1] or alt[2] or "").strip():
            yield "shows a picture without alt text"


def _in_text(text: str) -> Iterator[str]:
    shown = re.sub(r"data:[\w/+.-]+;base64,[\w+/=\s]+", "", text)
    if path := _ABSOLUTE.search(shown):
        yield f"prints a path of this machine: {shown[path.start() : path.start() + 60]!r}"
    if address := _ADDRESS.search(shown):
        start = max(0, address.start() - 40)
        yield f"prints a bare object: {shown[start : address.end()]!r}; end the line with `;`"
