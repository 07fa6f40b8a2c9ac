"""Small pieces of HTML with a plain-text twin: tables and notes."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from course_lib import _frontend


COLORS = {"good": "#009E73", "bad": "#D55E00", "plain": "#7F7F7F"}


class Table(list):
    """A list of rows (one mapping per row) that shows itself as a table."""

    def __repr__(self) -> str:
        """Return the table as aligned text."""
        columns = columns_of(self)
        cells = [columns, *([cell(row.get(name)) for name in columns] for row in self)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in cells
        )

    def _repr_html_(self) -> str:
        columns = columns_of(self)
        head = "".join(f'<th style="text-align:left">{html.escape(name)}</th>' for name in columns)
        body = "".join(
            "<tr>"
            + "".join(
                f'<td style="text-align:left">{html.escape(cell(row.get(name)))}</td>'
                for name in columns
            )
            + "</tr>"
            for row in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of all columns, in the order in which they first appear."""
    return list(dict.fromkeys(name for row in rows for name in row))


def cell(value: object) -> str:
    """Return a value as a reader wants it in a table."""
    if value is None:
        return ""
    return number(value) if isinstance(value, float) else str(value)


def number(value: float | int) -> str:
    """Return a number with at most four significant digits, or all digits of a whole number."""
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def quantity(value: float | int, unit: str) -> str:
    """Return a number with its unit."""
    return f"{number(value)} {unit}".rstrip()


def note_html(title: str, lines: Sequence[str], tone: str = "plain") -> str:
    """Return a titled note with a colored bar at its left, readable in a light and a dark theme."""
    body = "".join(f"<br>{html.escape(line)}" for line in lines if line)
    return (
        f'<div role="status" style="border-left:4px solid {COLORS[tone]};padding-left:8px">'
        f"<b>{html.escape(title)}</b>{body}</div>"
    )


def note_text(title: str, lines: Sequence[str]) -> str:
    """Return the same note as plain text."""
    return "\n".join([title, *(f"  {line}" for line in lines if line)])


def note(title: str, *lines: str, tone: str = "plain") -> None:
    """Show a titled note in the notebook, or print it."""
    _frontend.show(note_html(title, lines, tone), note_text(title, lines))


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Show rows as a table in the notebook, or print it."""
    shown = Table(rows)
    _frontend.show(shown._repr_html_(), repr(shown))
