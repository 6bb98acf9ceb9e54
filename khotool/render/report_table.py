"""Text and tables of the HTML report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from khotool.render.text import visible

MAX_ROWS = 2000
"""Rows of one table; the rest is counted."""


def text(value: object) -> str:
    """A string of the image as HTML: controls made visible, markup inert."""
    return escape(visible(str(value)))


def html_table(columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table; columns are (heading, right aligned), cells are HTML already."""
    yield '<div class="scroll"><table><thead><tr>'
    for heading, number in columns:
        yield f"<th{' class=number' if number else ''}>{escape(heading)}</th>"
    yield "</tr></thead><tbody>"
    left = 0
    for count, row in enumerate(rows):
        if count >= MAX_ROWS:
            left += 1
            continue
        cells = [
            f"<td{' class=number' if number else ''}>{cell}</td>"
            for cell, (_, number) in zip(row, columns, strict=True)
        ]
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"
    if left:
        yield f'<p class="quiet">{left} more rows are left out; khotool dump shows all.</p>'
