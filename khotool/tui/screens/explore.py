"""Explore: the tree, the bytes and the field, with one cursor."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer

from khotool.tui import actions, editing, exports
from khotool.tui.byte_facts import byte_facts
from khotool.tui.describe import CELL, RADIXES, Fact, cell_text, facts, page_line
from khotool.tui.memory_view import address_text
from khotool.tui.place import Place, labels_of
from khotool.tui.rated import BADGES
from khotool.tui.screens.mode import ModeScreen, bindings
from khotool.tui.session import Change
from khotool.tui.text import Line, count_text, visible
from khotool.tui.widgets.hex_view import GUTTERS, WIDTHS, HexView
from khotool.tui.widgets.line_view import LineView
from khotool.tui.widgets.model_tree import ModelTree
from khotool.tui.widgets.tokens import wrap

DEBOUNCE = 0.03
"""Seconds the inspector waits for the cursor to rest."""
TABS = ("field", "rows", "found")
NARROW_TABS = ("field", "hex", "rows", "found")
INDEX = 12
"""Columns of the number of a row."""
TAB_GAP = "  "
TITLE_START = 3
"""Columns of the border before its title."""
TAB_NAMES = {"field": "Field", "hex": "Bytes", "rows": "Rows", "found": "Findings"}


class ExploreScreen(ModeScreen):
    """Tree, bytes, field, rows and findings of one cursor."""

    mode = "explore"
    names: ClassVar[dict[str, str]] = {"tree": "Model", **TAB_NAMES}
    BINDINGS: ClassVar[list[BindingType]] = bindings("explore")

    def __init__(self) -> None:
        super().__init__()
        self.tab = "field"
        self.radix = RADIXES[0]
        self.share = 0
        self._dragged = False
        self._shown: object = None
        self._timer: Timer | None = None
        self._rows_of: Place | None = None

    def body(self) -> ComposeResult:
        with Horizontal(id="panes"):
            yield ModelTree(id="tree")
            with Vertical(id="right"):
                yield HexView(id="hex")
                yield LineView(
                    id="field", has_cursor=False, can_focus=True, empty="no field at this place"
                )
                yield LineView(id="rows", empty="no array at this place")
                yield LineView(id="found", empty="no finding at this place or below")

    def on_mount(self) -> None:
        """Start with one of the lower panes."""
        self._show_tab()

    # -- following the session -------------------------------------------------------------

    def show_session(self) -> None:
        """Show a new session, or catch up with the cursor."""
        session = self.session
        assert session is not None
        if self._shown is not session:
            self._shown = session
            self._rows_of = None
            self.query_one(ModelTree).show_session(session)
            self.query_one(HexView).show_session(session)
        else:
            self.query_one(ModelTree).refresh_labels()
        self._follow_cursor()

    def session_changed(self, change: Change) -> None:
        super().session_changed(change)
        session = self.session
        if session is None or self._shown is not session or not self.is_mounted:
            return
        if change is Change.CURSOR:
            self._follow_cursor()
        elif change is Change.INDEX:
            self._inspect()
        elif change is Change.OWNERS:
            self.query_one(HexView).sections_changed()
            self._inspect()
        elif change in (Change.FINDINGS, Change.MARKS):
            self.query_one(ModelTree).refresh_labels()
            self._inspect()
        elif change is Change.FILTER:
            self.query_one(ModelTree).filter_changed(session)
            self._titles()

    def _follow_cursor(self) -> None:
        session = self.session
        assert session is not None
        tree = self.query_one(ModelTree)
        node = tree.cursor_node
        place = session.cursor.place
        if place is not None and (
            node is None or node.data is None or node.data.place != place or node.data.is_bucket
        ):
            tree.reveal(place)
        self.query_one(HexView).show_cursor()
        self._titles()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DEBOUNCE, self._inspect)

    def _titles(self) -> None:
        session = self.session
        if session is None:
            return
        tree, view = self.query_one(ModelTree), self.query_one(HexView)
        text = f"  filter: {visible(session.filter_text)}" if session.shown is not None else ""
        tree.border_title = Content(f"Model{text}")
        view.border_title = Content(self._strip("hex", view.title()))
        view.border_subtitle = "" if view.gutter_form == GUTTERS[0] else view.gutter_form
        for name in TABS:
            self.list_of(name).set_title(self._strip(name, ""))

    def _strip(self, name: str, title: str) -> str:
        """The tabs of the lower pane as a title; the one shown in brackets."""
        narrow = self.narrow
        if name == "hex" and not narrow:
            return title
        names = NARROW_TABS if narrow else TABS
        return TAB_GAP.join(f"[{TAB_NAMES[n]}]" if n == name else TAB_NAMES[n] for n in names)

    def _inspect(self) -> None:
        """Fill the lower panes for the cursor."""
        session = self.session
        if session is None or not self.is_mounted:
            return
        place = session.cursor.place
        pane = self.list_of("field")
        width = max((pane.size.width or 60) - 1, 20)
        lines: list[Line] = []
        told: list[Fact] = []
        if place is not None:
            lines.extend(wrap([(visible(place.path), "title")], width))
            found = [item.finding for item in session.badges.of(place)]
            told = facts(place, session.image, session.view, found, self.radix)
        elif session.cursor.address is not None:
            lines = self._bare(session.cursor.address)
        for label, line in [*told, *byte_facts(session)]:
            for number, part in enumerate(wrap(line, max(width - 9, 10))):
                head = label if not number else ""
                lines.append([(f" {head:<7} ", "dim"), *part])
        pane.show_lines(lines)
        pane.scroll_to(y=0, animate=False)
        self._fill_rows(place)
        self._fill_found(place)

    def _bare(self, address: int) -> list[Line]:
        session = self.session
        assert session is not None
        span = session.cursor.span
        size = span.size if span is not None else 1
        lines: list[Line] = [[(address_text(address), "title")]]
        view = self.query_one(HexView)
        inside = view.lines is not None and view.lines.contains(address)
        state = "no field of the model" if inside else "hole: not captured"
        lines.append([(" bytes   ", "dim"), (f"{size}", "value"), (f"  {state}", "hole")])
        if address < 1 << 63:
            lines.append([(" page    ", "dim"), *page_line(address, session.view)])
        if session.index is None:
            lines.append([("         ", ""), ("fields are still being indexed", "dim")])
        return lines

    def _fill_rows(self, place: Place | None) -> None:
        """The table that the place is, or is a row of."""
        pane = self.list_of("rows")
        if place is None or place.node.table is None:
            pane.show(0, lambda _: [])
            self._rows_of = None
            return
        holder = Place(place.node)
        table = place.node.table
        labels = labels_of(table)
        fields = {label: Place(place.node, 0, label).field for label in labels}

        def row(number: int) -> Line:
            values = table.row(number)
            line: Line = [(f" [{count_text(number)}]".ljust(INDEX), "key")]
            for label in labels:
                text = cell_text(fields[label], values[label])
                line.append((text.ljust(max(CELL, len(label))) + "  ", "value"))
            return line

        at = place.row if place.row >= 0 else (0 if self._rows_of != holder else None)
        self._rows_of = holder
        names = "".join(label.ljust(max(CELL, len(label))) + "  " for label in labels)
        pane.show(len(table), row, at, [(" " * INDEX + names, "dim")])

    def _fill_found(self, place: Place | None) -> None:
        session = self.session
        assert session is not None
        path = place.path if place is not None else "/"
        below = path.rstrip("/")
        self._found = [
            item
            for item in session.findings[:5000]
            if item.finding.path == path or item.finding.path.startswith((f"{below}/", f"{below}["))
        ]
        lines: list[Line] = []
        for item in self._found:
            glyph, token = BADGES[item.severity]
            lines.append(
                [
                    (f" {glyph} {item.finding.rule} ", token),
                    (visible(item.finding.message), "text"),
                ]
            )
        self.list_of("found").show_lines(lines, 0)

    # -- moves of the panes ----------------------------------------------------------------

    def on_model_tree_moved(self, event: ModelTree.Moved) -> None:
        """The tree moves the others."""
        if self.session is not None:
            self.session.select(event.place)

    def on_hex_view_moved(self, event: HexView.Moved) -> None:
        """The bytes move the others."""
        if self.session is None:
            return
        if event.follow:
            self.action_follow()
        else:
            self.session.select_address(event.address, event.size)

    def on_line_view_moved(self, event: LineView.Moved) -> None:
        """A row moves the others."""
        if event.view.id == "rows" and self.session is not None and self._rows_of is not None:
            self.session.select(Place(self._rows_of.node, event.line))

    def on_line_view_chosen(self, event: LineView.Chosen) -> None:
        """Go to a finding, or along a row's pointer."""
        session = self.session
        if session is None:
            return
        if event.view.id == "found" and event.line < len(self._found):
            session.show_finding(self._found[event.line])
        elif event.view.id == "rows" and self._rows_of is not None:
            table = self._rows_of.node.table
            assert table is not None
            for label in labels_of(table):
                found = session.target(Place(self._rows_of.node, event.line, label))
                if found is not None:
                    session.select(Place(self._rows_of.node, event.line, label))
                    session.follow()
                    break

    # -- actions ---------------------------------------------------------------------------

    def action_follow(self) -> None:
        session = self.session
        tree = self.query_one(ModelTree)
        if session is None:
            return
        on_tree = self.focused is tree and session.cursor.place is not None
        if on_tree and tree.open_or_follow():
            return
        if not session.follow():
            self.notify("Nothing to follow here", timeout=2)

    def action_tab(self) -> None:
        names = NARROW_TABS if self.narrow else TABS
        at = names.index(self.tab) if self.tab in names else -1
        self._choose_tab(names[(at + 1) % len(names)])

    def on_click(self, event: events.Click) -> None:
        """A click on a name in the border of the lower pane shows that tab."""
        pane, _ = self.get_widget_at(event.screen_x, event.screen_y)
        if pane.id not in NARROW_TABS or event.screen_y != pane.region.y:
            return
        at = event.screen_x - pane.region.x - TITLE_START
        for name in NARROW_TABS if self.narrow else TABS:
            width = len(TAB_NAMES[name]) + (2 if name == pane.id else 0)
            if 0 <= at < width:
                self._choose_tab(name)
            at -= width + len(TAB_GAP)

    def _choose_tab(self, name: str) -> None:
        focused = self.focused is not None and self.focused.id in NARROW_TABS
        self.tab = name
        self._show_tab()
        pane = self.query_one(f"#{name}")
        if self.zoomed is not None:
            self.zoom(pane)
        elif focused:
            pane.focus()

    def _show_tab(self) -> None:
        wide = not self.narrow
        if wide and self.tab == "hex":
            self.tab = "field"
        for name in NARROW_TABS:
            self.query_one(f"#{name}").set_class(
                name != self.tab and not (wide and name == "hex"), "-off"
            )
        self._titles()

    def zoom_changed(self) -> None:
        """Wrap for the new width, and keep the cursor in sight."""
        self._resized()
        self.query_one(HexView).show_cursor()

    def on_resize(self) -> None:
        """A new width may mean different tabs, and panes below each other."""
        self._arrange()
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        if self.is_mounted:
            self._show_tab()
            self._inspect()
            place = self.session.cursor.place if self.session is not None else None
            self.query_one(ModelTree).reveal(place)

    def action_inspector(self) -> None:
        self.toggle_class("-plain")
        self.call_after_refresh(self.query_one(HexView).show_cursor)

    def action_resize_tree(self, step: int) -> None:
        """A larger or smaller tree: a share of the width, or, on a narrow one, of the height."""
        now = self.share or (55 if self.narrow else 35)
        self.share = min(max(now + step, 20), 70)
        self._arrange()
        self.call_after_refresh(self._resized)

    def _on_edge(self, event: events.MouseEvent) -> bool:
        """Whether the mouse is on the border between the tree and the rest."""
        edge = self.query_one(ModelTree).region
        if self.zoomed is not None:
            return False
        if self.narrow:
            return edge.bottom - 1 <= event.screen_y <= edge.bottom - 1
        return edge.right - 1 <= event.screen_x <= edge.right and event.screen_y > edge.y

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take hold of the edge of the tree."""
        if self._on_edge(event):
            self._dragged = True
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """The edge goes with the mouse."""
        if self._dragged:
            panes = self.query_one("#panes").region
            at = event.screen_y - panes.y if self.narrow else event.screen_x - panes.x
            share = (at + 1) * 100 // (panes.height if self.narrow else panes.width)
            self.share = min(max(share, 20), 70)
            self._arrange()

    def on_mouse_up(self) -> None:
        """Let go of it."""
        if self._dragged:
            self._dragged = False
            self.release_mouse()
            self.call_after_refresh(self._resized)

    def _arrange(self) -> None:
        """Give the tree the share that the user chose, if one was chosen."""
        if self.share:
            width = "1fr" if self.narrow else f"{self.share}%"
            tree = self.query_one(ModelTree)
            tree.styles.width, tree.styles.max_width = width, "100%"
            self.query_one("#right").styles.height = (
                f"{100 - self.share}%" if self.narrow else "1fr"
            )

    def action_gutter(self) -> None:
        view = self.query_one(HexView)
        view.gutter_form = GUTTERS[(GUTTERS.index(view.gutter_form) + 1) % len(GUTTERS)]
        self._titles()
        view.refresh()

    def action_radix(self) -> None:
        self.radix = RADIXES[(RADIXES.index(self.radix) + 1) % len(RADIXES)]
        self._inspect()

    def action_width(self) -> None:
        """Bytes per row."""
        view = self.query_one(HexView)
        at = (WIDTHS.index(view.wanted_width) + 1) % len(WIDTHS)
        view.wanted_width = WIDTHS[at]
        view._fit()
        view.show_cursor()
        shown = view.lines.width if view.lines is not None else WIDTHS[at]
        text = f"{shown} bytes per row" if WIDTHS[at] else "as many bytes per row as fit"
        if WIDTHS[at] > shown:
            text += f"; {WIDTHS[at]} do not fit"
        self.notify(text, timeout=2)

    def copy(self, what: str) -> None:
        exports.copy_cursor(self.shell, what)

    def action_edit(self) -> None:
        editing.open_edit(self.shell)

    def action_mark(self) -> None:
        actions.toggle_mark(self.shell)

    def action_filter(self) -> None:
        actions.open_filter(self.shell)
