"""From the tokens of a line to the styles of the theme."""

from __future__ import annotations

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.color import Color
from textual.strip import Strip
from textual.widget import Widget

from khotool.tui.text import Line

HUES = 12
"""Colours that tell owners apart: steps round the circle of hues from the theme's first colour."""
STRIDE = 5
"""Steps between neighbours, so that they look different."""
SATURATION = 0.55
"""Least saturation of these colours, where the theme's own is paler."""
TOKENS: dict[str, tuple[str, int, str, int, str]] = {
    "name": ("foreground", 100, "", 0, ""),
    "key": ("secondary", 100, "", 0, ""),
    "value": ("primary", 100, "", 0, ""),
    "string": ("success", 100, "", 0, ""),
    "address": ("primary", 100, "", 0, ""),
    "pointer": ("accent", 100, "", 0, ""),
    "type": ("secondary", 100, "", 0, ""),
    "text": ("foreground", 85, "", 0, ""),
    "dim": ("foreground", 52, "", 0, ""),
    "absent": ("warning", 100, "", 0, "italic"),
    "unknown": ("warning", 100, "", 0, ""),
    "error": ("error", 100, "", 0, "bold"),
    "warning": ("warning", 100, "", 0, "bold"),
    "note": ("secondary", 100, "", 0, ""),
    "owner": ("success", 100, "", 0, ""),
    "scratch": ("secondary", 100, "", 0, ""),
    "zero": ("foreground", 30, "", 0, ""),
    "printable": ("success", 100, "", 0, ""),
    "other": ("primary", 100, "", 0, ""),
    "hole": ("foreground", 45, "", 0, "italic"),
    "border": ("accent", 80, "", 0, ""),
    "page": ("foreground", 38, "", 0, ""),
    "field": ("foreground", 100, "accent", 40, "bold"),
    "record": ("", 0, "foreground", 9, ""),
    "title": ("accent", 100, "", 0, "bold"),
    "accent": ("accent", 100, "", 0, ""),
    "added": ("success", 100, "", 0, "bold"),
    "removed": ("error", 100, "", 0, ""),
    "edited": ("warning", 100, "", 0, "bold underline"),
    "hit": ("", 0, "", 0, "bold reverse"),
    "cursor": ("", 0, "accent", 35, "bold"),
    "blurred": ("", 0, "foreground", 8, ""),
    **{f"owner{n}": (f"hue{n}", 100, "", 0, "") for n in range(HUES)},
}
"""Per token: variable of the theme and per cent of it over the background, for text and for what
is behind it, and a style. No colour is named here."""


def style_of(widget: Widget, token: str) -> Style:
    """Style of a token, or of several with blanks between them, over nothing."""
    app = widget.app
    return _style(token, app.theme, widget.background_colors[1], _Variables(app.theme_variables))


class _Variables:
    """Variables of a theme, equal to any other: the theme's name tells them apart."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Variables)

    def __hash__(self) -> int:
        return 0


def _color(name: str, variables: _Variables) -> Color:
    """A variable of the theme, or ``hue0`` to ``hue11``: its first colour turned."""
    if not name.startswith("hue"):
        return Color.parse(variables.values[name])
    hue, saturation, lightness = Color.parse(variables.values["primary"]).hsl
    turned = hue + int(name[3:]) * STRIDE % HUES / HUES
    return Color.from_hsl(turned % 1, max(saturation, SATURATION), lightness)


@lru_cache(maxsize=4096)
def _style(token: str, theme: str, behind: Color, variables: _Variables) -> Style:
    """The style of a token in a theme over a background."""
    style = Style.null()
    for name in token.split():
        color, part, ground, share, text = TOKENS[name]
        base = behind
        bgcolor = None
        if ground:
            base = behind.blend(_color(ground, variables), share / 100)
            bgcolor = base.rich_color
        shown = None
        if color:
            shown = base.blend(_color(color, variables), part / 100).rich_color
        style += Style(color=shown, bgcolor=bgcolor) + Style.parse(text or "none")
    return style


def segments(widget: Widget, line: Line, base: Style) -> list[Segment]:
    """A line over a base style; neighbours of one token are one segment."""
    app = widget.app
    theme, behind = app.theme, widget.background_colors[1]
    variables = _Variables(app.theme_variables)
    found: list[Segment] = []
    pending: list[str] = []
    last = ""
    for text, token in line:
        if token != last and pending:
            style = base + _style(last, theme, behind, variables) if last else base
            found.append(Segment("".join(pending), style))
            pending = []
        last = token
        pending.append(text)
    if pending:
        style = base + _style(last, theme, behind, variables) if last else base
        found.append(Segment("".join(pending), style))
    return found


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
