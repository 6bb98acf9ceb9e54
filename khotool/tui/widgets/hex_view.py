"""Bytes of memory with the field, the record and the pages they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from khotool.model.image import UNPLACED, Span
from khotool.records import dataclass
from khotool.tui.byte_facts import names_between
from khotool.tui.hexlines import HexLine, HexLines, Key, LineKind
from khotool.tui.memory_view import Use, address_text, section_text
from khotool.tui.minimap import COLUMNS, mini_cells
from khotool.tui.session import Session
from khotool.tui.text import Line, Piece, count_text, size_text, visible
from khotool.tui.widgets.tokens import segments, strip_of

GUTTERS = ("physical", "page", "record")
WIDTHS = (0, 8, 16, 32)
"""Bytes per row; 0 for what fits."""


NAMES = 18
"""Columns that the names of fields need at least."""
KEPT = 4000
"""Rows whose names are remembered."""
NOTHING = (-1, -1)


def _columns(width: int) -> int:
    """Columns that a row of bytes takes, with its characters and the scroll bar."""
    return 4 * width + width // 8 + 2


def _edges(span: Span | None) -> tuple[int, int]:
    return NOTHING if span is None else (span.address, span.end)


@dataclass(frozen=True, slots=True)
class Marks:
    """What the cursor marks among the bytes.

    Args:
        field: first byte of the selected field and the byte after it.
        record: the same of the record around it.
        cursor: the byte under the cursor, where the view has the focus.
        edited: bytes that differ from those of the file.
    """

    field: tuple[int, int]
    record: tuple[int, int]
    cursor: int | None
    edited: Sequence[Span] = ()

    def token(self, address: int, kind: str) -> str:
        """Token of a byte; ``kind`` is that of its value."""
        if any(span.address <= address < span.end for span in self.edited):
            kind = "edited"
        if self._in_field(address):
            return f"{kind} field hit" if address == self.cursor else f"{kind} field"
        return f"{kind} record" if self._in_record(address) else kind

    def gap(self, address: int, column: int) -> tuple[str, str]:
        """The blanks before a byte, with a bracket where the field begins or ends."""
        low, high = self.field
        inner = column > 0
        blanks = "  " if inner and not column % 8 else " "
        if self._in_field(address) and (address == low or not inner):
            return blanks[:-1] + "[", ""
        if inner and low < address == high:
            return "]" + blanks[1:], ""
        if inner and self._in_field(address):
            return blanks, "field"
        tinted = inner and self._in_record(address) and address > self.record[0]
        return blanks, "record" if tinted else ""

    def goes_on(self, last: int) -> bool:
        """Whether the field goes on beyond a row that ends before ``last``."""
        return self.field[0] <= last - 1 < self.field[1] - 1

    def _in_field(self, address: int) -> bool:
        return self.field[0] <= address < self.field[1]

    def _in_record(self, address: int) -> bool:
        return self.record[0] <= address < self.record[1]


class HexView(Widget, can_focus=True):
    """Memory, 16 bytes a line; the cursor is a byte, its field is in brackets."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "line(-1)", "Up", show=False, id="nav.up"),
        Binding("down,j", "line(1)", "Down", show=False, id="nav.down"),
        Binding("left,h", "byte(-1)", "Left", show=False, id="nav.left"),
        Binding("right,l", "byte(1)", "Right", show=False, id="nav.right"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="nav.pageup"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="nav.pagedown"),
        Binding("home", "edge(0)", "Top", show=False, id="nav.top"),
        Binding("end,G", "edge(1)", "Bottom", show=False, id="nav.bottom"),
        Binding("enter", "screen.follow", "Follow", show=True, id="ref.follow"),
    ]

    class Moved(Message):
        """The user moved to a byte, or selected ``size`` bytes."""

        def __init__(self, address: int, size: int = 0, *, follow: bool = False) -> None:
            super().__init__()
            self.address = address
            self.size = size
            self.follow = follow

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.session: Session | None = None
        self.lines: HexLines | None = None
        self.top: Key = (0, 0)
        self.gutter_form = GUTTERS[0]
        self.wanted_width = 0
        self._drag: int | None = None
        self._visible: list[HexLine] = []
        self._named: dict[tuple[object, int, int], str] = {}
        self._mini: tuple[object, list[Piece]] = None, []

    # -- contents --------------------------------------------------------------------------

    def show_session(self, session: Session) -> None:
        """Show the memory of an image."""
        self.session = session
        self._named.clear()
        self.lines = HexLines(session.image.space, session.image.geometry.page_size, self._section)
        self._fit()
        self.show_cursor(center=True)

    def _section(self, address: int) -> tuple[int, int]:
        assert self.session is not None
        section = self.session.view.section(address)
        return section.start, section.end

    def sections_changed(self) -> None:
        """Owners are known now."""
        if self.lines is not None:
            self.lines.refresh()
            self.show_cursor()

    def _fit(self) -> None:
        """Bytes per row for the width there is."""
        if self.lines is None:
            return
        room = self.size.width - self._gutter_width() - 1
        wanted = self.wanted_width or (32 if room >= _columns(32) + NAMES else 16)
        width = next((w for w in WIDTHS[:0:-1] if w <= wanted and _columns(w) <= room), 8)
        if width != self.lines.width:
            self.lines.set_width(width)

    def on_resize(self) -> None:
        """Another width may hold more bytes."""
        self._fit()
        self.show_cursor(center=True)

    def show_cursor(self, *, center: bool = False) -> None:
        """Scroll to the session's cursor if it is not seen."""
        lines, session = self.lines, self.session
        if lines is None or session is None or lines.empty:
            self.refresh()
            return
        cursor = session.cursor
        if cursor.span is not None:
            lines.keep(cursor.span.address, cursor.span.end)
        address = cursor.address
        if address is not None:
            key = lines.key_of(address)
            height = max(self.size.height, 1)
            at = lines.distance(self.top, key, height)
            if center or at is None:
                above = -1 if self._is_next(key) else -(height // 3)
                self.top = lines.step(key, above)
            else:
                self.top = lines.line_at(self.top)[0].lines[lines.line_at(self.top)[1]].key
        self.refresh()

    def _is_next(self, key: Key) -> bool:
        """Whether a line is just above the first visible one."""
        assert self.lines is not None
        return self.lines.step(self.top, -1) == key

    # -- drawing ---------------------------------------------------------------------------

    def _gutter_width(self) -> int:
        lines = self.lines
        if lines is None or lines.empty:
            return 12
        return len(f"{min(lines.extents[-1][1], UNPLACED):x}") + 1

    def _gutter_text(self, line: HexLine) -> str:
        assert self.session is not None
        width = self._gutter_width()
        address = line.address
        if address >= UNPLACED:
            return f"?+{address - UNPLACED:x}".rjust(width)
        if self.gutter_form == "page":
            size = self.session.image.geometry.page_size
            return f"{address // size:x}:{address % size:03x}".rjust(width)
        group = self.session.group()
        if self.gutter_form == "record" and group is not None:
            offset = address - group.address
            if abs(offset) < 1 << 20:
                return f"{'-' if offset < 0 else '+'}{abs(offset):x}".rjust(width)
        return f"{address:0{width - 1}x}".rjust(width)

    def render_line(self, y: int) -> Strip:
        """One line of the view."""
        base = self.rich_style
        width = self.size.width
        lines = self.lines
        if y == 0:
            self._visible = [] if lines is None else lines.window(self.top, self.size.height)
        if lines is None or lines.empty:
            text = "" if lines is None else " this image holds no memory"
            return strip_of(self, [(text, "dim")] if not y else [], base, width)
        if y >= len(self._visible):
            text = " nothing more is captured " if y == len(self._visible) else ""
            line = self._rule(text, width - 1, "hole", "╌") if text else []
            return strip_of(self, line, base, width)
        width -= self._aside
        strip = strip_of(self, self._line(self._visible[y], width), base, width)
        return Strip([*strip, *segments(self, self._bar(y), base)])

    def _bar(self, y: int) -> Line:
        """A line of the scroll bar, which is how far the view is, and of the map beside it."""
        lines, session = self.lines, self.session
        assert lines is not None
        assert session is not None
        height = max(self.size.height, 1)
        at = min(int(lines.fraction(self.top[0]) * height), height - 1)
        bar: Line = [("┃", "accent") if y == at else ("│", "dim")]
        if self._aside == 1:
            return bar
        state = (lines, session.index, session.findings, height)
        if self._mini[0] != state:
            self._mini = state, mini_cells(session, lines, height * COLUMNS)
        row = self._mini[1][y * COLUMNS : (y + 1) * COLUMNS]
        here = int(lines.fraction(self._here()) * height * COLUMNS) - y * COLUMNS
        return bar + [(g, f"{t} hit" if n == here else t) for n, (g, t) in enumerate(row)]

    @property
    def _aside(self) -> int:
        """Columns beside the bytes: of the scroll bar, and of the map where there is room."""
        room = self.size.width - self._gutter_width() - 1 - COLUMNS
        wide = self.lines is not None and room >= _columns(self.lines.width) + NAMES
        return 1 + COLUMNS if wide else 1

    def _line(self, line: HexLine, width: int) -> Line:
        if line.kind is LineKind.DATA:
            return self._data(line)
        lead = self._gutter_text(line)
        if line.kind is LineKind.ZERO:
            text = f"{size_text(line.size)} of zero"
            return [(lead, "dim"), ("  · ", "dim"), (text, "zero")]
        if line.kind is LineKind.HOLE:
            return self._rule(f" hole {size_text(line.size)} not captured ", width, "hole", "╌")
        if line.kind is LineKind.ERROR:
            return [(lead, "dim"), (f"  {size_text(line.size)} unreadable", "error")]
        return self._border(line, width)

    def _border(self, line: HexLine, width: int) -> Line:
        assert self.session is not None
        size = self.session.image.geometry.page_size
        if line.address >= UNPLACED:
            return self._rule(" blob, its place is not captured ", width, "border", "─")
        frame = line.address // size
        if line.kind is LineKind.PAGE:
            return self._rule(f" page {frame:#x} ", width, "page", "┄")
        section = self.session.view.section(line.address)
        pages = (section.end - section.start) // size
        span = f"page {frame:#x}" if pages == 1 else f"pages {frame:#x} +{count_text(pages)}"
        if section.use is Use.FREE or section.use is Use.UNKNOWN:
            span = f"page {frame:#x}"
        text = f" {span}  {visible(section_text(section, size))} "
        bad = section.use in (Use.UNOWNED, Use.UNPRESERVED)
        return self._rule(text, width, "warning" if bad else "border", "─")

    def _rule(self, text: str, width: int, token: str, glyph: str) -> Line:
        room = width - len(text) - 2
        if room < 0:
            text = text[: width - 4] + "… "
            room = 0
        return [(glyph * 2 + text + glyph * room, token)]

    def _data(self, line: HexLine) -> Line:
        """Address, bytes, characters; the selected field in brackets."""
        assert self.lines is not None
        data, states = self.lines.read_row(line)
        marks = self._marks()
        first = line.address - line.address % self.lines.width
        last = first + self.lines.width
        out: Line = [(self._gutter_text(line), "dim"), (" ", "")]
        chars: Line = []
        for address in range(first, last):
            at = address - line.address
            known = 0 <= at < len(data)
            text, char, kind = self._cell(data[at], states[at]) if known else ("  ", " ", "dim")
            kind = marks.token(address, kind)
            out += [marks.gap(address, address - first), (text, kind)]
            chars.append((char, kind))
        closed = marks.field[0] < last == marks.field[1]
        row: Line = [*out, ("]" if closed or marks.goes_on(last) else " ", ""), (" ", ""), *chars]
        return [*row, ("  ", ""), (self._names(line.address, last), "name")] if self.named else row

    @property
    def named(self) -> bool:
        """Whether there is room for the names of fields beside the bytes."""
        room = self.size.width - self._gutter_width() - 1
        return self.lines is not None and room >= _columns(self.lines.width) + NAMES

    def _names(self, first: int, last: int) -> str:
        """Names of the fields that begin in a row."""
        session = self.session
        assert session is not None
        key = (session.index, first, last)
        found = self._named.get(key)
        if found is None:
            if len(self._named) > KEPT:
                self._named.clear()
            found = self._named[key] = names_between(session, first, last)
        return found

    def _marks(self) -> Marks:
        """What is marked for the session's cursor."""
        assert self.session is not None
        span, group = self.session.cursor.span, self.session.group()
        field = _edges(span)
        place = self.session.cursor.place
        if place is not None and (place.value is None or (place.row >= 0 and not place.label)):
            # A group is tinted as a whole; only a value is put in brackets.
            group, field = span, NOTHING
        address = self.session.cursor.address if self.has_focus else None
        return Marks(field, _edges(group), address, self.session.edited)

    @staticmethod
    def _cell(byte: int, state: int) -> tuple[str, str, str]:
        """Two digits, a character, and a token of one byte."""
        if state == ord("h"):
            return "··", " ", "hole"
        if state == ord("e"):
            return "??", "?", "error"
        if not byte:
            return "00", ".", "zero"
        if 0x20 <= byte < 0x7F:
            return f"{byte:02x}", chr(byte), "printable"
        return f"{byte:02x}", ".", "other"

    # -- moves -----------------------------------------------------------------------------

    def _go(self, address: int, size: int = 0) -> None:
        if self.lines is not None and not self.lines.empty:
            self.post_message(self.Moved(self.lines.clamp(address), size))

    def _here(self) -> int:
        cursor = self.session.cursor if self.session is not None else None
        return cursor.address if cursor is not None and cursor.address is not None else self.top[0]

    def action_line(self, step: int) -> None:
        """A line up or down; folds and borders are stepped over."""
        lines = self.lines
        if lines is None or lines.empty:
            return
        here = self._here()
        column = here % lines.width
        key = lines.key_of(here)
        while True:
            following = lines.step(key, 1 if step > 0 else -1)
            if following == key:
                return
            key = following
            group, at = lines.line_at(key)
            line = group.lines[at]
            if line.kind is LineKind.DATA:
                first = line.address - line.address % lines.width
                last = line.address + line.size - 1
                self._go(min(max(first + column, line.address), last))
                return
            if line.kind in (LineKind.ZERO, LineKind.HOLE, LineKind.ERROR):
                self._go(line.address)
                return

    def action_byte(self, step: int) -> None:
        """A byte to the left or right; over a hole to its other side."""
        lines = self.lines
        if lines is None or lines.empty:
            return
        address = lines.clamp(self._here() + step)
        if not lines.contains(address):
            group = lines.group_at(address)
            address = group.end if step > 0 else group.start - 1
        self._go(address)

    def action_page(self, step: int) -> None:
        """A screen up or down."""
        if self.lines is not None and not self.lines.empty:
            amount = max(self.size.height - 2, 1) * step
            key = self.lines.step(self.lines.key_of(self._here()), amount)
            self.top = self.lines.step(self.top, amount)
            self._go(key[0])

    def action_edge(self, end: int) -> None:
        """To the first or last byte."""
        if self.lines is not None and not self.lines.empty:
            self._go(self.lines.extents[-1][1] - 1 if end else self.lines.extents[0][0])

    def scroll_lines(self, step: int) -> None:
        """Scroll without moving the cursor."""
        if self.lines is not None and not self.lines.empty:
            self.top = self.lines.step(self.top, step)
            self.refresh()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel scrolls."""
        event.stop()
        self.scroll_lines(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel scrolls."""
        event.stop()
        self.scroll_lines(-3)

    def address_at(self, x: int, y: int) -> int | None:
        """The byte drawn at a cell of the contents."""
        if self.lines is None or not 0 <= y < len(self._visible):
            return None
        line = self._visible[y]
        if line.kind is not LineKind.DATA:
            return line.address
        width, left = self.lines.width, self._gutter_width() + 1
        first = line.address - line.address % width
        offset = x - left - 1
        chars = left + 3 * width + (width // 8 - 1) + 2
        # Eight bytes take 25 cells: three each, and a gap.
        column = x - chars if x >= chars else (offset - offset // 25) // 3
        address = first + min(max(column, 0), width - 1)
        return min(max(address, line.address), line.address + line.size - 1)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Select a byte, or jump by the scroll bar."""
        if self.lines is None or self.lines.empty:
            return
        spot = event.get_content_offset(self)
        if spot is None:
            return
        column = spot.x - self.size.width + self._aside
        if column >= 0:
            part = spot.y / max(self.size.height - 1, 1)
            if column:
                part = (spot.y + (column - 1) / COLUMNS) / self.size.height
            self.top = self.lines.key_of(self.lines.at_fraction(part))
            self.refresh()
            return
        address = self.address_at(spot.x, spot.y)
        if address is not None:
            self._drag = address
            self.capture_mouse()
            self._go(address)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Dragging selects bytes."""
        if self._drag is None:
            return
        spot = event.get_content_offset(self)
        address = self.address_at(spot.x, spot.y) if spot is not None else None
        if address is not None and address != self._drag:
            low, high = sorted((self._drag, address))
            self._go(low, high - low + 1)

    def on_mouse_up(self) -> None:
        """End of a drag."""
        self._drag = None
        self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        """A double click follows."""
        if event.chain == 2 and self.session is not None:
            self.post_message(self.Moved(self._here(), follow=True))

    def title(self) -> str:
        """Text of the border: where the cursor is."""
        if self.session is None or self.session.cursor.address is None:
            return "Bytes"
        return f"Bytes  {address_text(self.session.cursor.address)}"
