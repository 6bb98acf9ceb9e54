"""Answers about a fleet as aligned text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from khotool.render.text import visible

if TYPE_CHECKING:
    from khotool.fleet.compare import Comparison
    from khotool.fleet.query import Answer, Cell

WIDEST = 80
"""Columns of a cell but the last one; a longer text is cut."""


def cell_text(value: Cell) -> str:
    """A cell on one line; an empty one for null."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict | list):
        return visible(json.dumps(value, ensure_ascii=False))
    return visible(str(value))


def answer_text(answer: Answer) -> str:
    """A table with a line of names; numbers are aligned to the right."""
    rows = [[cell_text(cell) for cell in row] for row in answer.rows]
    last = len(answer.columns) - 1
    for row in rows:
        for index, cell in enumerate(row):
            if index != last and len(cell) > WIDEST:
                row[index] = cell[: WIDEST - 1] + "…"
    widths = [
        max(len(line[index]) for line in [answer.columns, *rows])
        for index in range(len(answer.columns))
    ]
    right = [
        bool(rows) and all(isinstance(row[index], int | float | None) for row in answer.rows)
        for index in range(len(answer.columns))
    ]
    lines = []
    for line in [list(answer.columns), *rows]:
        cells = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def comparison_text(found: Comparison) -> str:
    """What changed, part by part."""
    if found.equal:
        return "no differences\n"
    parts = [
        f"{name}\n{answer_text(answer)}" for name, answer in found.answers.items() if answer.rows
    ]
    return "\n".join(parts)
