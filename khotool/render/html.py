"""What the HTML pages have in common: style, text, tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from khotool.render.text import visible

STYLE = """
:root {
  --paper: #fbfaf7; --ink: #20242a; --quiet: #6b7280; --line: #e3e0d8; --card: #ffffff;
  --good: #2f7d4f; --warn: #b26a00; --bad: #c0352b; --empty: #eeece6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --ink: #e6e8eb; --quiet: #98a1ad; --line: #2b3038; --card: #1b1f26;
    --good: #6cc48f; --warn: #e3a44a; --bad: #f0776d; --empty: #232830;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif;
}
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; margin: 0; font-weight: 650; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .8rem; font-weight: 650; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1.2rem 1.4rem; margin-top: 1.2rem;
}
code, .mono { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
.quiet { color: var(--quiet); }
.badge {
  display: inline-block; padding: .1rem .6rem; border-radius: 999px; font-size: .85rem;
  font-weight: 600; border: 1px solid currentColor;
}
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.facts { display: grid; gap: .4rem 2rem; margin: 1rem 0 0; padding: 0;
  grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); }
.facts div { border-top: 1px solid var(--line); padding-top: .4rem; }
.facts dt { color: var(--quiet); font-size: .8rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--quiet); font-size: .8rem; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
td { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
.map { display: grid; gap: .25rem; margin-top: 1.2rem; }
.window { display: grid; grid-template-columns: 9.5rem 1fr; gap: .8rem; align-items: start; }
.gap { color: var(--quiet); font-size: .75rem; padding: 0 0 .25rem 10.3rem; }
svg { display: block; max-width: 100%; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: 0; padding: 0;
  list-style: none; font-size: .9rem; }
.swatch { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px;
  margin-right: .45rem; vertical-align: -1px; }
.empty { fill: var(--empty); }
.g0 { --c: #3b76c4; } .g1 { --c: #d5812a; } .g2 { --c: #3f9a61; } .g3 { --c: #8a5fc0; }
.g4 { --c: #c2578a; } .g5 { --c: #2f9c9c; } .g6 { --c: #a08a2e; } .g7 { --c: #6d7fd6; }
.g8 { --c: #9a5b3d; } .g9 { --c: #5f8f3a; } .others { --c: #8b929c; }
.scratch { --c: #c9c3b2; } .leak { --c: #e0a800; } .lost { --c: #d8362a; }
rect.fill { fill: var(--c); } .swatch { background: var(--c); }
@media (prefers-color-scheme: dark) { .scratch { --c: #4d5361; } }
footer { margin-top: 2rem; color: var(--quiet); font-size: .8rem; }
@media (max-width: 40rem) { .window { grid-template-columns: 1fr; } .gap { padding-left: 0; } }
@media print { body { background: white; } section { break-inside: avoid; } }
"""
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
