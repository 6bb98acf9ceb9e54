"""A scan as one self-contained HTML page: totals, plots and short lists."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from khotool.render.fleet import cell_text
from khotool.render.html import STYLE
from khotool.version import version
from khotool.view.notation import size_text

if TYPE_CHECKING:
    from khotool.fleet.query import Answer, Cell
    from khotool.fleet.summary import Summary

TONES = {
    "accept": "#2f7d4f",
    "partial": "#d9a441",
    "ignore": "#b26a00",
    "not-judged": "#8b93a1",
    "corrupt": "#d0563c",
    "hang": "#a03030",
    "panic": "#8f1d1d",
}
HUES = ("#3d6fb6", "#c0552b", "#2f8f7d", "#8a5bb0", "#a58b1f", "#b0477a")
PLOT = """
.plot { width: 100%; height: auto; font: 11px system-ui, sans-serif; }
.plot text { fill: var(--quiet); } .plot .axis { stroke: var(--line); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem; }
.tiles b { display: block; font-size: 1.5rem; font-weight: 650; }
"""
BYTES = frozenset({"bytes", "bytes_gained", "preserved_bytes"})

HEADINGS = {
    "refused": "Not accepted",
    "rules": "Rules that fire",
    "leaks": "Leaks",
    "growth": "Growth",
    "outliers": "Outliers: far from the fleet's usual size",
    "handlers": "Handlers",
    "versions": "Kernels and formats",
    "errors": "Images that could not be examined",
}


def fleet_html(folder: str, summary: Summary) -> str:
    """The page; its size does not depend on the number of images."""
    name = escape(folder.rstrip("/").rpartition("/")[2] or folder)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{name} - khotool fleet</title><style>{STYLE}{PLOT}</style></head><body><main>",
        f'<header><p class="quiet">Fleet report</p><h1>{name}</h1></header>',
        *_totals(summary),
        *_verdicts(summary.verdicts),
        *_rules_by_day(summary.rules_by_day),
        *_sizes(summary.sizes),
    ]
    for key, heading in HEADINGS.items():
        parts.extend(_list(heading, summary.lists[key], summary.lengths[key]))
    parts.append(f"<footer>khotool {escape(version())}</footer></main></body></html>")
    return "\n".join(parts) + "\n"


def _totals(summary: Summary) -> Iterator[str]:
    totals = summary.totals
    tiles = [
        ("images", totals["images"]),
        ("hosts", totals["hosts"]),
        ("could not be examined", totals["unreadable"]),
        ("with errors", totals["with_errors"]),
        ("with leaks", totals["with_leaks"]),
        ("preserved", size_text(_number(totals["preserved_bytes"]))),
        ("sessions", totals["sessions"] or 0),
        ("files", totals["files"] or 0),
    ]
    yield '<section><div class="tiles">'
    for label, value in tiles:
        yield f"<div><b>{escape(str(value))}</b>{escape(label)}</div>"
    yield "</div>"
    if totals["first"]:
        yield (
            f'<p class="quiet">Images from {escape(str(totals["first"]))} to '
            f"{escape(str(totals['last']))}.</p>"
        )
    yield "</section>"


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


# -- plots -------------------------------------------------------------------------------


def _verdicts(answer: Answer) -> Iterator[str]:
    """One bar for each kernel, cut by outcome."""
    kernels: dict[str, list[tuple[str, int]]] = {}
    for kernel, outcome, images in answer.rows:
        kernels.setdefault(str(kernel), []).append((str(outcome), _number(images)))
    if not kernels:
        return
    yield "<section><h2>Verdicts</h2>"
    height = 30 * len(kernels) + 24
    yield f'<svg class="plot" viewBox="0 0 800 {height}" role="img" aria-label="verdicts">'
    for row, (kernel, outcomes) in enumerate(kernels.items()):
        total = sum(count for _, count in outcomes) or 1
        x, y = 90.0, 30 * row
        yield f'<text x="0" y="{y + 17}">{escape(kernel)}</text>'
        for outcome, count in sorted(outcomes, key=lambda o: list(TONES).index(o[0])):
            width = 700 * count / total
            label = f"{kernel}: {outcome}, {count} of {total}"
            yield (
                f'<rect x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="22" '
                f'fill="{TONES[outcome]}"><title>{escape(label)}</title></rect>'
            )
            x += width
    x = 90
    for outcome, tone in TONES.items():
        yield f'<rect x="{x}" y="{height - 16}" width="10" height="10" fill="{tone}"/>'
        yield f'<text x="{x + 14}" y="{height - 7}">{outcome}</text>'
        x += 95
    yield "</svg></section>"


def _rules_by_day(answer: Answer) -> Iterator[str]:
    """A line for each of the most frequent rules."""
    days = sorted({str(row[0]) for row in answer.rows})
    if len(days) < 2:
        return
    most = max(_number(row[2]) for row in answer.rows)
    at = {day: 60 + 700 * number / (len(days) - 1) for number, day in enumerate(days)}
    lines: dict[str, list[tuple[float, float]]] = {}
    for day, rule, images in answer.rows:
        y = 180 - 160 * _number(images) / most
        lines.setdefault(str(rule), []).append((at[str(day)], y))
    yield "<section><h2>Rules over time, images a day</h2>"
    yield '<svg class="plot" viewBox="0 0 800 230" role="img" aria-label="rules over time">'
    yield '<line class="axis" x1="60" y1="180" x2="760" y2="180"/>'
    yield f'<text x="0" y="24">{most}</text><text x="60" y="198">{escape(days[0][:10])}</text>'
    yield f'<text x="760" y="198" text-anchor="end">{escape(days[-1][:10])}</text>'
    for number, (rule, points) in enumerate(lines.items()):
        tone = HUES[number % len(HUES)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline fill="none" stroke="{tone}" stroke-width="2" points="{path}"/>'
        yield f'<rect x="{60 + 115 * number}" y="212" width="10" height="10" fill="{tone}"/>'
        yield f'<text x="{74 + 115 * number}" y="221">{escape(rule)}</text>'
    yield "</svg></section>"


def _sizes(answer: Answer) -> Iterator[str]:
    """Images by the power of two of their preserved bytes."""
    if not answer.rows:
        return
    counts = {_number(exponent): _number(images) for exponent, images in answer.rows}
    low, high = min(counts), max(counts)
    most = max(counts.values())
    width = 700 / (high - low + 1)
    yield "<section><h2>Preserved memory by image</h2>"
    yield '<svg class="plot" viewBox="0 0 800 210" role="img" aria-label="sizes">'
    yield '<line class="axis" x1="60" y1="180" x2="760" y2="180"/>'
    for exponent in range(low, high + 1):
        count = counts.get(exponent, 0)
        height = 160 * count / most
        x = 60 + width * (exponent - low)
        label = f"{count} images from {size_text(1 << exponent)}"
        yield (
            f'<rect x="{x + 1:.1f}" y="{180 - height:.1f}" width="{max(width - 2, 1):.1f}" '
            f'height="{height:.1f}" fill="{HUES[0]}"><title>{escape(label)}</title></rect>'
        )
    for exponent in {low, high}:
        x = 60 + width * (exponent - low)
        yield f'<text x="{x:.1f}" y="198">{escape(size_text(1 << exponent))}</text>'
    yield f'<text x="0" y="24">{most}</text></svg></section>'


# -- lists -------------------------------------------------------------------------------


def _list(heading: str, answer: Answer, length: int) -> Iterator[str]:
    if not answer.rows:
        return
    yield f'<section><h2>{escape(heading)}</h2><div class="scroll"><table><thead><tr>'
    for column in answer.columns:
        yield f"<th>{escape(column.replace('_', ' '))}</th>"
    yield "</tr></thead><tbody>"
    for row in answer.rows:
        cells = "".join(_cell(c, v) for c, v in zip(answer.columns, row, strict=True))
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table></div>"
    if length > len(answer.rows):
        yield (
            f'<p class="quiet">{length - len(answer.rows)} more of {length}; '
            "khotool fleet ask shows all.</p>"
        )
    yield "</section>"


def _cell(column: str, value: Cell) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = size_text(int(value)) if column in BYTES and value >= 0 else cell_text(value)
        return f'<td class="number">{escape(text)}</td>'
    return f"<td>{escape(cell_text(value))}</td>"
