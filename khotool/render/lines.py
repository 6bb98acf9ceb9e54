"""Lines of styled text: written plainly, or in colour through rich."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from khotool.records import dataclass, field

if TYPE_CHECKING:
    from rich.style import Style

Segment = tuple[str, str]
"""Text, and the name of a style: a key of ``STYLES`` or the empty string."""

STYLES = {
    "guide": "bright_black",
    "key": "cyan",
    "name": "bold",
    "entry": "bold cyan",
    "label": "cyan",
    "format": "green",
    "address": "yellow",
    "number": "",
    "text": "magenta",
    "dim": "bright_black",
    "note": "italic bright_black",
    "absent": "yellow",
    "error": "bold red",
    "warning": "yellow",
    "good": "green",
    "rule": "bright_black",
}
"""Styles by role, in the terminal's own 16 colours so that any theme keeps them legible."""


@dataclass(slots=True)
class Line:
    """One line before wrapping.

    Args:
        segments: text with styles.
        lead: text before the first row.
        hang: text before the rows that follow if the line is wrapped.
    """

    segments: list[Segment] = field(default_factory=list)
    lead: str = ""
    hang: str = ""

    def add(self, text: str, style: str = "") -> Line:
        """Append text; returns the line."""
        self.segments.append((text, style))
        return self


def width_of(text: str) -> int:
    """Columns of a terminal that ``text`` takes."""
    return len(text) if text.isascii() else _wide(text)


@lru_cache(maxsize=1 << 10)
def _wide(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def wrap(line: Line, width: int) -> Iterator[list[Segment]]:
    """Rows of at most ``width`` columns, broken between segments or at blanks in them.

    A piece that is wider than a row on its own, such as a long name, is not cut.
    """
    total = width_of(line.lead) + sum(width_of(text) for text, _ in line.segments)
    if total <= width:
        yield [(line.lead, "guide"), *line.segments]
        return
    room = max(width, 20)
    rows = [_Row(line.lead)]
    for group in _groups(line.segments):
        size = sum(width_of(text) for text, _ in group)
        if rows[-1].at + size <= room:
            rows[-1].take(group, size)
            continue
        if _fits(line.hang, group, room):
            rows.append(_Row(line.hang))
            group = _strip(group)
            rows[-1].take(group, sum(width_of(text) for text, _ in group))
            continue
        if not rows[-1].empty and rows[-1].at > width_of(line.hang):
            rows.append(_Row(line.hang))
            group = _strip(group)
        for piece in _words(group):
            size = width_of(piece[0].rstrip(" "))
            if rows[-1].at + size > room and not rows[-1].empty:
                rows.append(_Row(line.hang))
                piece = (piece[0].lstrip(" "), piece[1])
            rows[-1].take([piece], width_of(piece[0]))
    yield from (_joined(_trim(row.segments)) for row in rows)


class _Row:
    """A row under construction."""

    def __init__(self, lead: str) -> None:
        self.segments: list[Segment] = [(lead, "guide")]
        self.at = width_of(lead)
        self.empty = True

    def take(self, segments: list[Segment], size: int) -> None:
        self.segments += segments
        self.at += size
        self.empty = self.empty and not size


def _fits(hang: str, group: list[Segment], room: int) -> bool:
    """True if the group fits on an empty row."""
    size = sum(width_of(text) for text, _ in group)
    return width_of(hang) + size - 2 <= room


def _strip(group: list[Segment]) -> list[Segment]:
    return [(group[0][0].lstrip(" "), group[0][1]), *group[1:]] if group else group


def _groups(segments: list[Segment]) -> Iterator[list[Segment]]:
    """Segments that belong together: a group starts where a segment starts with two blanks."""
    group: list[Segment] = []
    for segment in segments:
        if segment[0].startswith("  ") and group:
            yield group
            group = []
        group.append(segment)
    if group:
        yield group


def _words(segments: list[Segment]) -> Iterator[Segment]:
    for text, style in segments:
        start = 0
        while start < len(text):
            # Blanks stay with the word before them.
            end = start
            while end < len(text) and text[end] == " ":
                end += 1
            while end < len(text) and text[end] != " ":
                end += 1
            while end < len(text) and text[end] == " ":
                end += 1
            yield text[start:end], style
            start = end


def _joined(row: list[Segment]) -> list[Segment]:
    """Neighbours of one style as one segment; the lead stays by itself."""
    joined = row[:1]
    for text, style in row[1:]:
        if len(joined) > 1 and joined[-1][1] == style:
            joined[-1] = (joined[-1][0] + text, style)
        else:
            joined.append((text, style))
    return joined


def _trim(row: list[Segment]) -> list[Segment]:
    while len(row) > 1 and not row[-1][0].strip(" "):
        row.pop()
    if row and len(row) > 1:
        row[-1] = (row[-1][0].rstrip(" "), row[-1][1])
    return row


def plain(lines: Iterable[Line], width: int) -> Iterator[str]:
    """Text of lines, each ending in a newline."""
    for line in lines:
        whole = line.lead + "".join([text for text, _ in line.segments])
        if len(whole) <= width and whole.isascii():
            yield whole.rstrip(" ") + "\n"
            continue
        for row in wrap(line, width):
            yield "".join(text for text, _ in row).rstrip(" ") + "\n"


def coloured(lines: Iterable[Line], width: int) -> Iterator[str]:
    """As ``plain``, with the escape sequences of the styles."""
    from rich.color import ColorSystem
    from rich.style import Style

    styles: dict[str, Style] = {name: Style.parse(text) for name, text in STYLES.items()}
    for line in lines:
        for row in wrap(line, width):
            parts = []
            for text, style in row:
                known = styles.get(style)
                if known and text:
                    parts.append(known.render(text, color_system=ColorSystem.STANDARD))
                else:
                    parts.append(text)
            yield "".join(parts).rstrip(" ") + "\n"
