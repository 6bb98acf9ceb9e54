"""Untrusted text in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from khotool.render.text import visible


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table; cells are plain text."""
    yield f"| {' | '.join(map(cell, heads))} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(map(cell, row))} |"


def cell(text: str) -> str:
    """Text that Markdown and HTML leave alone."""
    found = visible(text).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{c}" if c in "\\|`*_[]#~" else c for c in found)
