"""A list of any length with a cursor, drawn line by line."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from khotool.tui.text import Line
from khotool.tui.widgets.tokens import strip_of, style_of

Source = Callable[[int], Line]
"""Gives a line by its number; called for visible lines only."""


class LineView(ScrollView, can_focus=True):
    """A list whose lines are made when they are seen.

    Args:
        title: in the border, plain text.
        empty: what is shown where there is no line.
        has_cursor: whether a line can be chosen.
        can_focus: whether it takes keys, for a list without a cursor.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="nav.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="nav.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="nav.pageup"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="nav.pagedown"),
        Binding("home", "edge(0)", "Top", show=False, id="nav.top"),
        Binding("end,G", "edge(1)", "Bottom", show=False, id="nav.bottom"),
        Binding("enter", "choose", "Choose", show=False, id="list.choose"),
    ]

    cursor: reactive[int] = reactive(0, repaint=False)

    class Moved(Message):
        """The cursor moved to a line."""

        def __init__(self, view: LineView, line: int) -> None:
            super().__init__()
            self.view = view
            self.line = line

        @property
        def control(self) -> LineView:
            """The list."""
            return self.view

    class Chosen(Moved):
        """A line was chosen by enter or a double click."""

    def __init__(
        self,
        *,
        id: str | None = None,
        classes: str | None = None,
        title: str = "",
        empty: str = "",
        has_cursor: bool = True,
        can_focus: bool = False,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.set_title(title)
        self.empty = empty
        self.has_cursor = has_cursor
        self.count = 0
        self.header: Line = []
        self.headings: Container[int] = ()
        self._source: Source | None = None
        self._quiet = False
        self.can_focus = has_cursor or can_focus

    def set_title(self, text: str) -> None:
        """Show a plain text in the border."""
        self.border_title = Content(text)

    def show(
        self,
        count: int,
        source: Source,
        cursor: int | None = None,
        header: Line | None = None,
        headings: Container[int] = (),
    ) -> None:
        """Show ``count`` lines; without ``cursor`` the cursor stays, as far as it can.

        Args:
            header: a line above them that does not scroll.
            headings: lines that the cursor passes over; a line that is none follows each.
        """
        self.count, self._source, self.header = count, source, header or []
        self.headings = headings
        self.virtual_size = Size(self.size.width, count + self._head)
        self._quiet = True
        self.cursor = min(max(self.cursor if cursor is None else cursor, 0), max(count - 1, 0))
        self._quiet = False
        if cursor is not None:
            self._reveal()
        self.refresh()

    @property
    def _head(self) -> int:
        """Lines of the view that do not scroll."""
        return 1 if self.header else 0

    def show_lines(self, lines: Sequence[Line], cursor: int | None = None) -> None:
        """Show lines that are there already."""
        self.show(len(lines), lines.__getitem__, cursor)

    def on_resize(self) -> None:
        """The lines are as wide as the view."""
        self.virtual_size = Size(self.size.width, self.count + self._head)
        if self.has_cursor and self.count:
            self.call_after_refresh(self._reveal)

    def point(self, line: int) -> None:
        """Put the cursor on a line without a message."""
        self._quiet = True
        self.cursor = min(max(line, 0), max(self.count - 1, 0))
        self._quiet = False
        self._reveal()

    def validate_cursor(self, line: int) -> int:
        """Not on a heading."""
        if line not in self.headings:
            return line
        return line - 1 if 0 < line < self.cursor else line + 1

    def watch_cursor(self, old: int, new: int) -> None:
        """Redraw two lines and say so."""
        self.refresh()
        if not self._quiet and old != new:
            self._reveal()
            self.post_message(self.Moved(self, new))

    def _reveal(self) -> None:
        if self.size.height:
            above = self.cursor - 1 in self.headings
            region = Region(0, self.cursor - above, 1, 1 + self._head + above)
            self.scroll_to_region(region, animate=False, force=True, x_axis=False)

    def render_line(self, y: int) -> Strip:
        """One line of the view."""
        width = self.size.width
        number = y + self.scroll_offset.y - self._head
        base = self.rich_style
        if y < self._head:
            return strip_of(self, self.header, base, width)
        if self._source is None or number >= self.count:
            if y == 0 and not self.count and self.empty:
                return strip_of(self, [(" " + self.empty, "dim")], base, width)
            return Strip.blank(width, base)
        if self.has_cursor and number == self.cursor:
            base += self._cursor_style()
            return strip_of(self, self._source(number), base, width).apply_style(
                Style(bgcolor=base.bgcolor, bold=base.bold, reverse=base.reverse)
            )
        return strip_of(self, self._source(number), base, width)

    def _cursor_style(self) -> Style:
        return style_of(self, "cursor" if self.has_focus else "blurred")

    def notify_style_update(self) -> None:
        """The theme has changed."""
        super().notify_style_update()
        self.refresh()

    def action_move(self, step: int) -> None:
        """Up or down."""
        if not self.has_cursor:
            self.scroll_relative(y=step, animate=False)
        else:
            self.cursor = min(max(self.cursor + step, 0), max(self.count - 1, 0))

    def action_page(self, step: int) -> None:
        """A screen up or down."""
        self.action_move(step * max(self.size.height - 1, 1))

    def action_edge(self, end: int) -> None:
        """To the first or last line."""
        if not self.has_cursor:
            self.scroll_to(y=self.max_scroll_y if end else 0, animate=False)
        else:
            self.cursor = max(self.count - 1, 0) if end else 0

    def action_choose(self) -> None:
        """Choose the line under the cursor."""
        if self.count:
            self.post_message(self.Chosen(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor, a second one chooses."""
        number = event.get_content_offset(self)
        if number is None or not self.has_cursor:
            return
        line = number.y + int(self.scroll_offset.y) - self._head
        if number.y >= self._head and line < self.count:
            self.cursor = line
            if event.chain == 2:
                self.action_choose()
