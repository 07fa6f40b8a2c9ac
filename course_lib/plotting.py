"""Figures: one palette, one style, and alt text that reaches the reader.

How the alt text travels (read in the installed sources of JupyterLab 4.6 and nbconvert 7.17):
an `image/png` output cannot carry it. JupyterLab builds its `<img>` from source, width and height
and ignores `alt` in the metadata; nbconvert's default template ignores it as well (only its
`classic` template reads it). Both prefer `text/html` to `image/png`, and JupyterLab's sanitizer
keeps `alt` and a `data:` source on `<img>`. So a figure is written as `text/html` with
`<img alt="…" src="data:image/png;base64,…">`, and its `text/plain` is the alt text itself, for
terminals and for viewers without HTML. A PNG beside it would only double the size of the file.
"""

import base64
import html
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from cycler import cycler
from jaxtyping import UInt8
from matplotlib.figure import Figure
from torch import Tensor

from course_lib import _frontend


__all__ = [
    "HATCHES",
    "LINESTYLES",
    "MARKERS",
    "PALETTE",
    "STYLE",
    "figure",
    "show",
    "thumbnails",
    "to_html",
    "to_png",
]

# Okabe and Ito's colors, which readers with any color vision can tell apart. In grey some are
# close, so that lines also differ in their dashes, and bars and points can take these too.
PALETTE = (
    "#0072B2",  # blue
    "#E69F00",  # orange
    "#009E73",  # green
    "#CC79A7",  # purple
    "#56B4E9",  # sky blue
    "#D55E00",  # vermilion
    "#F0E442",  # yellow
    "#000000",  # black
)
HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "++", "--")
LINESTYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2, 2, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

STYLE: Any = {  # matplotlib: rcParams
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=PALETTE) + cycler(linestyle=LINESTYLES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.alpha": 0.3,
    "hatch.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}

DPI = 110
WIDTH, HEIGHT = 6.4, 3.4  # inches
CSS_PIXELS = 96  # per inch, as browsers count
SIZE_LIMIT = 38_000  # bytes of a PNG; larger ones are reduced to fewer pixels


@contextmanager
def figure(
    *,
    alt: str,
    width: float | int = WIDTH,
    height: float | int = HEIGHT,
    rows: int = 1,
    cols: int = 1,
) -> Iterator[tuple[Figure, Any]]:
    """Yield `(fig, ax)`; on exit show the figure with its alt text in the notebook.

    `alt` says in one or two sentences what a reader should see. `width` and `height` are inches.
    With several rows or columns `ax` is an array of axes, as in matplotlib. The figure belongs to
    nobody else: pyplot does not know it, so that nothing stays open. Outside a notebook nothing is
    shown, and `fig` stays usable. Raises ValueError when `alt` is empty.
    """
    _check_alt(alt)
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(width, height), layout="constrained")
        yield fig, fig.subplots(rows, cols)
        show(fig, alt=alt)


def show(fig: Figure, *, alt: str) -> None:
    """Show `fig` with its alt text in the notebook, and close it; outside a notebook only close it.

    Raises ValueError when `alt` is empty.
    """
    _check_alt(alt)
    if _frontend.in_notebook():
        _frontend.show(to_html(fig, alt=alt), alt)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(fig)


def thumbnails(
    images: UInt8[Tensor, "count channels height width"],
    titles: Sequence[str] | None = None,
    *,
    alt: str,
    cols: int = 8,
) -> None:
    """Show pictures (1 or 3 channels) in a grid, each under its title.

    Raises ValueError for no pictures, other channels, or another number of titles.
    """
    count, channels, _, _ = images.shape
    if count == 0:
        raise ValueError("There is no picture to show: images has the length 0.")
    if channels not in (1, 3):
        raise ValueError(f"A picture has 1 or 3 channels; these have {channels}.")
    if titles is not None and len(titles) != count:
        raise ValueError(f"There are {count} pictures but {len(titles)} titles.")
    cols = min(cols, count)
    rows = -(-count // cols)
    each = 0.8 if titles is None else 1.0
    width = max(each * cols, 2.0)
    with figure(alt=alt, width=width, height=each * rows + 0.1, rows=rows, cols=cols) as (fig, _):
        for ax in fig.axes:
            ax.axis("off")
        for index, image in enumerate(images):
            ax = fig.axes[index]
            # (channels, height, width) -> (height, width, channels)
            picture = image.permute(1, 2, 0).cpu().numpy()
            ax.imshow(
                picture.squeeze(-1) if channels == 1 else picture, cmap="gray", vmin=0, vmax=255
            )
            if titles is not None:
                ax.set_title(_shorten(titles[index]), fontsize=9, fontweight="normal")


def to_html(fig: Figure, *, alt: str) -> str:
    """Return `<img>` with the figure inside and its alt text."""
    data = base64.b64encode(to_png(fig)).decode()
    width = round(fig.get_figwidth() * CSS_PIXELS)
    return f'<img alt="{html.escape(alt)}" width="{width}" src="data:image/png;base64,{data}">'


def to_png(fig: Figure) -> bytes:
    """Return the figure as PNG of 256 colors, at most about 38,000 bytes."""
    data = b""
    for dpi in (DPI, 95, 80, 60, 45):
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        data = _few_colors(buffer.getvalue())
        if len(data) <= SIZE_LIMIT:
            break
    return data


def _few_colors(png: bytes) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _check_alt(alt: str) -> None:
    if not alt.strip():
        raise ValueError(
            "A figure needs alt text: say in one sentence what it shows, for readers who cannot "
            'see it. For example: alt="Bars: activations take 5 times the memory of parameters."'
        )


def _shorten(title: str) -> str:
    return title if len(title) <= 14 else title[:13] + "…"
