"""From the tokens of a line to the styles of the theme."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget

from khotool.tui.text import Line

NAMES = (
    "name", "key", "value", "string", "address", "pointer", "type", "text", "dim", "absent",
    "unknown", "error", "warning", "note", "owner", "scratch", "zero", "printable", "other", "hole",
    "border", "page", "field", "record", "title", "accent", "added", "removed", "hit",
)  # fmt: skip
OWNERS = 8
"""Colours that tell owners apart."""
TOKENS = {f"t-{name}" for name in NAMES} | {f"t-owner{number}" for number in range(OWNERS)}


def style_of(widget: Widget, token: str) -> Style:
    """Style of a token, or of several with blanks between them, over nothing."""
    style = Style.null()
    for name in token.split():
        style += component(widget, f"t-{name}")
    return style


def component(widget: Widget, name: str) -> Style:
    """What a component class says and no more; transparent colours mixed with the background."""
    styles = widget.get_component_styles(name)
    behind = widget.background_colors[1]
    color = bgcolor = None
    if styles.has_rule("background") and styles.background.a:
        behind = behind + styles.background
        bgcolor = behind.rich_color
    if styles.has_rule("color"):
        color = (behind + styles.color).rich_color
    return Style(color=color, bgcolor=bgcolor) + styles.text_style


def segments(widget: Widget, line: Line, base: Style) -> list[Segment]:
    """A line over a base style."""
    return [
        Segment(text, base + style_of(widget, token) if token else base)
        for text, token in line
        if text
    ]


def strip_of(widget: Widget, line: Line, base: Style, width: int) -> Strip:
    """A line cut or filled to a width in cells; a cut one ends in an ellipsis."""
    strip = Strip(segments(widget, line, base))
    if strip.cell_length > width > 0:
        strip = Strip([*strip.crop(0, width - 1), Segment("…", base)])
    return strip.adjust_cell_length(width, base)


def text_of(widget: Widget, line: Line) -> Text:
    """A line as rich text."""
    text = Text(no_wrap=True, end="")
    for piece, token in line:
        text.append(piece, style_of(widget, token) if token else None)
    return text


def wrap(line: Line, width: int) -> list[Line]:
    """A line broken at blanks into lines of at most ``width`` cells."""
    from rich.cells import cell_len, chop_cells

    lines: list[Line] = [[]]
    room = width
    for text, token in line:
        for number, word in enumerate(text.split(" ")):
            lead = " " if number else ""
            if cell_len(lead + word) > room and lines[-1]:
                lines.append([])
                room, lead = width, ""
            parts = chop_cells(lead + word, max(width, 1)) if lead + word else [""]
            for part in parts[:-1]:
                lines[-1].append((part, token))
                lines.append([])
            room = width if len(parts) > 1 else room
            lines[-1].append((parts[-1], token))
            room -= cell_len(parts[-1])
    return lines
