"""The figure a person decides with: accuracy against bytes, and the front that nothing beats."""

from collections.abc import Mapping, Sequence
from typing import Any

from course_lib.measure import MiB


Row = Mapping[str, Any]


def in_words(rows: Sequence[Row]) -> str:
    """Name every method with its mean accuracy and its bytes, for the alt text of the figure."""
    return "; ".join(f"{r['method']} {mean(r):.1f} % at {r['kept'] / MiB:.2f} MiB" for r in rows)


def mean(row: Row) -> float:
    """Mean accuracy over the seeds, in percent."""
    return sum(row["accuracy"]) / len(row["accuracy"])


def draw_panel(
    axes: Any,
    rows: Sequence[Row],
    styles: Mapping[str, tuple[str, str]],
    *,
    size: str,
    arrow: tuple[str, str],
) -> None:
    """Draw accuracy against kept MiB; the area of a point grows with the column `size`.

    A row holds `method`, `accuracy` (one value in % per seed), `kept` (bytes) and `size`; `styles`
    holds the color and the marker of each method. The dashed line joins the points that no other
    point beats in both directions. An arrow leads from the first to the second method in `arrow`,
    and says what share of the bytes is saved.
    """
    front = sorted((row for row in rows if not _beaten(row, rows)), key=lambda row: row["kept"])
    line = dict(color="0.6", linestyle="--", linewidth=1.2, zorder=1)
    axes.plot([row["kept"] / MiB for row in front], [mean(row) for row in front], **line)
    most = max(row[size] for row in rows)
    for row in rows:
        x, y, (color, marker) = row["kept"] / MiB, mean(row), styles[row["method"]]
        reach = [[y - min(row["accuracy"])], [max(row["accuracy"]) - y]]
        axes.errorbar(x, y, reach, color="0.3", capsize=3, linewidth=1.2, zorder=2)
        point = dict(color=color, marker=marker, edgecolor="black", label=row["method"])
        axes.scatter(x, y, 40 + 340 * row[size] / most, alpha=0.85, zorder=3, **point)
    right = max(row["kept"] for row in rows) / MiB
    axes.set_xlim(-0.08 * right, 1.15 * right)
    _draw_arrow(axes, rows, arrow)


def _draw_arrow(axes: Any, rows: Sequence[Row], arrow: tuple[str, str]) -> None:
    """Draw the arrow above all points."""
    kept = {row["method"]: row["kept"] / MiB for row in rows}
    start, end = (kept[name] for name in arrow)
    low = min(min(row["accuracy"]) for row in rows)
    high = max(max(row["accuracy"]) for row in rows)
    height = high + 0.08 * (high - low)
    arrows = dict(arrowstyle="-|>", color="black", linewidth=1.6)
    axes.annotate("", xy=(end, height), xytext=(start, height), arrowprops=arrows)
    words = dict(ha="center", va="bottom", fontweight="bold", fontsize=10)
    axes.text((start + end) / 2, height, f"{100 * (end / start - 1):+.0f} % bytes", **words)
    axes.set_ylim(low - 0.06 * (high - low), high + 0.22 * (high - low))


def _beaten(row: Row, rows: Sequence[Row]) -> bool:
    return any(
        other["kept"] <= row["kept"] and mean(other) > mean(row)
        for other in rows
        if other is not row
    )
