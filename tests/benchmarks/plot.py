"""Horizontal bars as SVG, with nothing but text."""

from __future__ import annotations

from html import escape

LINE = 22
LABELS = 260
WIDTH = 380


def bars(title: str, values: list[tuple[str, float]]) -> str:
    """A picture of labelled values, which are at least 0."""
    top = max((value for _, value in values), default=0) or 1
    height = LINE * (len(values) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + WIDTH + 70}" '
        f'height="{height}" font-family="sans-serif" font-size="13">',
        f'<text x="8" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    for row, (label, value) in enumerate(values):
        y = LINE * (row + 2)
        length = value / top * WIDTH
        parts += [
            f'<text x="{LABELS - 8}" y="{y}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LABELS}" y="{y - 12}" width="{length:.1f}" height="15" fill="#4477aa"/>',
            f'<text x="{LABELS + length + 6:.1f}" y="{y}">{value:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
