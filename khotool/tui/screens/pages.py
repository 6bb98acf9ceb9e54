"""Pages: which physical memory is preserved, by whom, and what is orphaned."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content

from khotool.tui.cells import PageMap
from khotool.tui.memory_view import Section, Use
from khotool.tui.screens.mode import ModeScreen, bindings
from khotool.tui.session import Change, Cursor, Session
from khotool.tui.text import Line, count_text, size_text, visible
from khotool.tui.widgets.line_view import LineView
from khotool.tui.widgets.page_map import PageMapView, letter

LEGEND: list[Line] = [
    [("  ░▒▓█ ", "owner0"), ("preserved, by owner", "dim")],
    [("  o    ", "warning"), ("preserved, no owner", "dim")],
    [("  !    ", "error"), ("referenced, not preserved", "dim")],
    [("  =    ", "scratch"), ("scratch", "dim")],
    [("  ·    ", "dim"), ("captured, not preserved", "dim")],
]
USES = {
    Use.OWNED: "owner",
    Use.UNOWNED: "warning",
    Use.UNPRESERVED: "error",
    Use.SCRATCH: "scratch",
    Use.PRESERVED: "text",
}


class PagesScreen(ModeScreen):
    """Map, legend of owners, ranges of the chosen cell."""

    mode = "pages"
    names: ClassVar[dict[str, str]] = {"map": "Map", "legend": "Owners", "ranges": "Ranges"}
    BINDINGS: ClassVar[list[BindingType]] = bindings("pages")

    def __init__(self) -> None:
        super().__init__()
        self.map: PageMap | None = None
        self.ranges: list[Section] = []
        self._of: tuple[Session, bool] | None = None
        self._seen: object = None

    def body(self) -> ComposeResult:
        with Vertical():
            with Horizontal():
                yield PageMapView(id="map")
                yield LineView(
                    id="legend", classes="pane", title="Owners", empty="finding owners …"
                )
            yield LineView(id="ranges", classes="pane", empty="nothing preserved in this cell")

    def show_session(self) -> None:
        """Make the map in a worker: without owners until they are known."""
        session = self.session
        assert session is not None
        wanted = session, session.owners_known
        if self._of == wanted:
            self._from_cursor()
            return
        again = self._of is not None and self._of[0] is session
        self._of = wanted
        if not again:
            self.map = self.query_one(PageMapView).map = None

        def job(stop: Callable[[], bool]) -> None:
            found = PageMap(session.image, owned=wanted[1])
            if not stop():
                self.app.call_from_thread(self._show_map, found, again)

        self.shell.run_job("map", "drawing the map", job)

    def _show_map(self, found: PageMap, again: bool) -> None:
        self.map = found
        if not self.is_mounted:
            return
        self.query_one(PageMapView).show_map(found, again=again)
        lines: list[Line] = []
        mono = self.app.no_color
        for number, group in enumerate(found.groups):
            lines.append(
                [
                    (f" {letter(number)}  " if mono else " ██ ", found.color(number)),
                    (visible(group.name), "name"),
                    (f"  {size_text(group.size)}", "dim"),
                ]
            )
        waits = [] if self._of is None or self._of[1] else [[(" finding owners …", "dim")]]
        self.list_of("legend").show_lines([*lines, *waits, [], *LEGEND])
        self._from_cursor()

    def _from_cursor(self) -> None:
        """The cell of the session's cursor."""
        view = self.query_one(PageMapView)
        address = self.session.cursor.address if self.session is not None else None
        if view.map is not None and (self.session, address) != self._seen:
            self._seen = self.session, address
            if address is not None and address < view.map.end:
                view.go(address)
        self._cell()

    def _titles(self) -> None:
        view = self.query_one(PageMapView)
        only = ""
        if self.map is not None and view.only >= 0:
            only = f"  only {visible(self.map.groups[view.only].name)}"
        view.border_title = Content(f"{view.title()}{only}")

    def _cell(self) -> None:
        """Ranges of the chosen cell."""
        view, pane = self.query_one(PageMapView), self.list_of("ranges")
        self._titles()
        if self.map is None or self.session is None:
            return
        low, high = view.at, view.at + view.cell
        self.ranges = self.map.ranges(low, high)
        size = self.session.image.geometry.page_size
        lines: list[Line] = []
        for section in self.ranges:
            pages = (section.end - section.start) // size
            order = f"order {section.order}" if section.order >= 0 else ""
            owner = section.owner or {Use.UNOWNED: "no owner", Use.SCRATCH: "scratch"}.get(
                section.use, "preserved"
            )
            note = "referenced, not preserved  " if section.use is Use.UNPRESERVED else ""
            lines.append(
                [
                    (f" {section.start:#x}-{section.end - 1:#x} ".ljust(30), "address"),
                    (f"{size_text(section.end - section.start):>9} ", "value"),
                    (f"{count_text(pages, 'page'):>12}  {order:<9} ", "dim"),
                    (f"{note}{visible(owner)}", USES.get(section.use, "text")),
                ]
            )
        pane.show_lines(lines, 0)
        pane.set_title(f"Ranges in cell {low:#x}  {size_text(view.cell)}")

    def session_changed(self, change: Change) -> None:
        super().session_changed(change)
        if change is Change.OWNERS and self.session is not None:
            self.show_session()
        elif change is Change.CURSOR and self.map is not None:
            self._from_cursor()

    def on_page_map_view_moved(self, event: PageMapView.Moved) -> None:
        self._cell()
        if event.chosen:
            self.action_show()

    def on_line_view_chosen(self, event: LineView.Chosen) -> None:
        """A range is shown in Explore, an owner alone on the map."""
        if event.view.id == "ranges":
            self.action_show()
        elif self.map is not None and event.line < len(self.map.groups):
            self._only(event.line)

    def _only(self, group: int) -> None:
        view = self.query_one(PageMapView)
        view.only = -1 if view.only == group else group
        view.refresh()
        self._titles()

    def action_show(self) -> None:
        """The range under the cursor in Explore, or the cell."""
        self.explore(self.cursor_here())

    def cursor_here(self) -> Cursor | None:
        """Where the range under the cursor starts, or the cell."""
        if self.session is None or self.map is None:
            return None
        at, view = self.list_of("ranges").cursor, self.query_one(PageMapView)
        start = max(self.ranges[at].start, view.at) if at < len(self.ranges) else view.at
        return self.session.cursor_at_address(start)

    def under_cursor(self) -> dict[str, str]:
        at = self.list_of("ranges").cursor
        if at >= len(self.ranges):
            return {}
        found = self.ranges[at]
        text = f"{found.start:#x}-{found.end - 1:#x}"
        return {"value": text, "path": found.owner, "address": f"{found.start:#x}"}

    def action_fit(self) -> None:
        self.query_one(PageMapView).fit()
        self._cell()

    def action_filter(self) -> None:
        view = self.query_one(PageMapView)
        if self.map is not None and self.map.groups:
            view.only = view.only + 1 if view.only + 1 < len(self.map.groups) else -1
            view.refresh()
            self._titles()

    def action_region(self, step: int) -> None:
        view = self.query_one(PageMapView)
        if self.map is not None:
            base = view.at + view.cell - 1 if step > 0 else view.at
            found = self.map.next_edge(base, step)
            if found is not None:
                view.go(found)
