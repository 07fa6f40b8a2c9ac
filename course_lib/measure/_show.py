"""Show numbers: a table, and a stacked bar per method or module."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from course_lib.measure._format import MiB, format_bytes


def table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return `rows` (one mapping per row, column name to value) as a table for the notebook."""
    if not rows:
        raise ValueError("table needs at least one row, such as [{'method': 'FT-3', 'MiB': 7.0}]")
    return pd.DataFrame(list(rows))


def stacked_bar(parts: Mapping[str, Mapping[str, int]], *, title: str, alt: str) -> None:
    """Draw one horizontal bar per entry of `parts`, stacked from its segments.

    `parts` maps a bar's name to {segment: bytes}. A segment has one color in all bars. Bars show
    MiB and end with their sum. `alt` is the text for readers who cannot see the figure.
    """
    from course_lib import plotting

    if not parts or not any(parts.values()):
        raise ValueError("stacked_bar needs at least one bar, such as {'plain': {'conv': 1024}}")
    segments = list(dict.fromkeys(name for bar in parts.values() for name in bar))
    with plotting.figure(alt=alt, height=1.6 + 0.5 * len(parts)) as (fig, axes):
        left = dict.fromkeys(parts, 0.0)
        for i, segment in enumerate(segments):
            widths = [bar.get(segment, 0) / MiB for bar in parts.values()]
            axes.barh(
                list(parts),
                widths,
                left=list(left.values()),
                label=segment,
                color=plotting.PALETTE[i % len(plotting.PALETTE)],
                hatch=plotting.HATCHES[i % len(plotting.HATCHES)],
                edgecolor="white",
            )
            for name, width in zip(parts, widths, strict=True):
                left[name] += width
        for name, bar in parts.items():
            total = format_bytes(sum(bar.values()))
            axes.text(left[name], name, f" {total}", va="center", fontsize=9)
        axes.set_xlim(0, max(left.values()) * 1.18 or 1)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("MiB")
        axes.set_title(title)
        fig.legend(loc="outside lower center", ncols=min(len(segments), 3))


def bytes_html(parts: Mapping[str, int], *, caption: str, header: str) -> str:
    """Return an HTML table of {name: bytes} with each row's share of the sum."""
    total = sum(parts.values())
    rows = "".join(
        f"<tr><td style='text-align:left'>{html.escape(name) or '(root)'}</td>"
        f"<td>{format_bytes(nbytes)}</td><td>{nbytes / total if total else 0:.1%}</td></tr>"
        for name, nbytes in parts.items()
    )
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>"
        f"<th style='text-align:left'>{html.escape(header)}</th><th>bytes</th><th>share</th>"
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )
