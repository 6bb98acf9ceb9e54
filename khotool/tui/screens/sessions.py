"""Sessions: every session with its files, bytes, pages and findings."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from khotool.tui.screens.dialogs import Lookup
from khotool.tui.screens.mode import ListScreen, bindings
from khotool.tui.session import Change, Cursor
from khotool.tui.session_list import (
    SORTS,
    Row,
    arranged,
    header,
    matching,
    name_room,
    row_line,
    session_rows,
)
from khotool.tui.text import count_text, visible
from khotool.tui.widgets.line_view import LineView

SHOWN = 500
"""Sessions that the filter's dialog lists."""


class SessionsScreen(ListScreen):
    """A table that can be sorted and filtered."""

    mode = "sessions"
    names: ClassVar[dict[str, str]] = {"sessions": "Sessions"}
    BINDINGS: ClassVar[list[BindingType]] = bindings("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.sort = 0
        self.text = ""
        self.rows: list[Row] = []
        self._all: list[Row] = []
        self._of: object = None

    def body(self) -> ComposeResult:
        yield LineView(id="sessions", classes="pane", empty="no session")

    def show_session(self) -> None:
        session = self.session
        assert session is not None
        state = (session, session.view, session.findings)
        if state != self._of:
            self._of = state
            self._all = session_rows(session)
        self._fill()

    def _fill(self) -> None:
        self.rows = arranged(matching(self._all, self.text), self.sort)
        rows, room = self.rows, name_room(self.main.size.width or 80)
        self.main.show(len(rows), lambda number: row_line(rows[number], room), header=header(room))
        shown = f"{count_text(len(self.rows))} of {count_text(len(self._all))}"
        title = f"Sessions  {shown}  by {SORTS[self.sort][0]}"
        if self.text:
            title += f"  with {visible(self.text)}"
        self.main.set_title(title)

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    def session_changed(self, change: Change) -> None:
        super().session_changed(change)
        if change in (Change.OWNERS, Change.FINDINGS) and self.session is not None:
            self.show_session()

    def action_sort(self) -> None:
        self.sort = (self.sort + 1) % len(SORTS)
        self._fill()

    def action_filter(self) -> None:
        """Show only sessions with a text in their name; the table follows the typing."""
        if self.session is None:
            return
        before = self.text

        def look(dialog: Lookup, text: str) -> None:
            self.text = text
            self._fill()
            note = f"{count_text(len(self.rows))} of {count_text(len(self._all), 'session')}"
            dialog.show([row_line(row, 60)[:1] for row in self.rows[:SHOWN]], note)

        def done(index: int | None) -> None:
            if index is None:
                self.text = before
                self._fill()
            else:
                self.main.point(index)

        self.app.push_screen(Lookup("Sessions with", look, value=before), done)

    def leave_view(self) -> bool:
        if self.zoomed is None and self.text:
            self.text = ""
            self._fill()
            return True
        return super().leave_view()

    def cursor_here(self) -> Cursor | None:
        row, session = self.chosen(self.rows), self.session
        return None if session is None or row is None else session.cursor_at(row.place)

    def under_cursor(self) -> dict[str, str]:
        row = self.chosen(self.rows)
        return {} if row is None else {"value": row.name, "path": row.place.path}
