"""Diff: what changed between two images."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from khotool.tui import actions
from khotool.tui.changes import (
    GLYPHS,
    RESULTS,
    ChangeLine,
    Compared,
    compare_images,
    search_changes,
    side_lines,
)
from khotool.tui.place import resolve
from khotool.tui.screens.dialogs import Lookup
from khotool.tui.screens.mode import ListScreen, bindings
from khotool.tui.text import Line, count_text, plain, visible
from khotool.tui.widgets.line_view import LineView

SHOWN = 500
"""Changes that a search lists."""


class DiffScreen(ListScreen):
    """Changes, and the bytes of both sides."""

    mode = "diff"
    names: ClassVar[dict[str, str]] = {"changes": "Changes"}
    BINDINGS: ClassVar[list[BindingType]] = bindings("diff")

    def __init__(self) -> None:
        super().__init__()
        self.addresses = False
        self.fold = True
        self.changes: list[ChangeLine] | None = None
        self.compared: Compared | None = None
        self._of: tuple[object, object] = (None, None)

    def body(self) -> ComposeResult:
        yield LineView(id="changes", classes="pane", empty="")
        yield LineView(id="sides", classes="pane", has_cursor=False)

    def show_session(self) -> None:
        """Compare in a worker, once both images are open."""
        first, second = self.shell.sides
        if first is None or second is None:
            opening = "other" in self.shell.jobs
            none = "no image to compare with; c opens one"
            self._show_none("opening the other image …" if opening else none)
            return
        if self._of == (first, second):
            return
        self._of = (first, second)
        self._show_none("comparing …")
        addresses = self.addresses

        def job(stop: Callable[[], bool]) -> None:
            found = compare_images(first.image, second.image, addresses=addresses)
            if not stop():
                self.app.call_from_thread(self._show, found)

        self.shell.run_job("diff", "comparing", job)

    def _show_none(self, why: str) -> None:
        self.changes, self.main.empty = None, why
        self.main.show_lines([])
        self._titles()
        self._sides()

    def _show(self, compared: Compared) -> None:
        self.compared = compared
        self.changes = found = compared.lines
        if not self.is_mounted:
            return
        self.main.empty = "the same handover"
        width = self.app.size.width
        self.main.show(len(found), lambda number: self._line(found[number], width), 0)
        self._titles()
        self._sides()

    def job_failed(self, group: str) -> None:
        """Say that there is no comparison."""
        if group in ("diff", "other"):
            self._of = (None, None)
            self.main.empty = "not compared; a tries again, c opens a different image"
            self.main.refresh()

    def _titles(self) -> None:
        ignored = "addresses compared" if self.addresses else "addresses ignored"
        title = "Diff"
        if self.changes is not None and self.compared is not None:
            gaps = self.compared.gaps
            title = f"Diff  {RESULTS[self.compared.result][0]}  "
            title += count_text(len(self.changes) - gaps, "change")
            title += f", {count_text(gaps)} not compared" if gaps else ""
            title += f"  {ignored}"
        self.main.set_title(title)

    @staticmethod
    def _line(change: ChangeLine, width: int) -> Line:
        glyph, token = GLYPHS.get(change.kind, ("?", "dim"))
        path, room = visible(change.path), min(max(width // 2 - 4, 20), 70)
        side = min(max(width // 5, 12), 40)
        if len(path) > room:
            path = "…" + path[-room + 1 :]
        old = plain(change.old)[:side]
        return [
            (f" {glyph} ", token),
            (path.ljust(room), "name"),
            (" ", ""),
            (old.ljust(side), "removed" if change.kind == "removed" else "dim"),
            (" │ ", "dim"),
            *change.new,
        ]

    def _sides(self) -> None:
        pane, change = self.list_of("sides"), self.chosen(self.changes)
        first, second = self.shell.sides
        if first is None or second is None or change is None:
            pane.show_lines([])
            pane.set_title("Bytes")
            return
        pane.set_title(visible(f"Bytes of {change.path}"))
        width = pane.size.width or 80
        images = first.image, second.image
        pane.show_lines(side_lines(images, change.path, width, fold=self.fold))
        pane.scroll_to(y=0, animate=False)

    def on_resize(self) -> None:
        """As many bytes beside each other as fit."""
        self.call_after_refresh(self._sides)

    def action_swap(self) -> None:
        """The second image becomes the first: Explore shows it."""
        if not self.shell.swap():
            self.notify("No second image", timeout=2)

    def on_line_view_moved(self, event: LineView.Moved) -> None:
        self._sides()

    def under_cursor(self) -> dict[str, str]:
        change = self.chosen(self.changes)
        if change is None:
            return {}
        return {"value": f"{plain(change.old)} -> {plain(change.new)}", "path": change.path}

    def action_show(self) -> None:
        """The change in Explore, in the image that has it, the first one if both do."""
        self._explore(second=False)

    def action_show_second(self) -> None:
        """The change in Explore, in the second image."""
        self._explore(second=True)

    def _explore(self, *, second: bool) -> None:
        change = self.chosen(self.changes)
        if change is None:
            return
        for swap in (second, not second):
            session = self.shell.other if swap else self.session
            place = resolve(session.image.tree, change.path) if session is not None else None
            if session is not None and place is not None and (not swap or self.shell.swap()):
                self.explore(session.cursor_at(place))
                return
        self.notify("No image that can be explored has a place of this name", timeout=2)

    def action_unchanged(self) -> None:
        """Fold rows of bytes that are the same on both sides, or show them."""
        self.fold = not self.fold
        self._sides()

    def action_compare(self) -> None:
        actions.open_compare(self.shell)

    def action_gutter(self) -> None:
        """Compare addresses, or ignore them."""
        self.addresses = not self.addresses
        self._of = (None, None)
        self.show_session()

    def action_find_next(self, step: int) -> None:
        self.main.action_move(step)

    def _go(self, line: int) -> None:
        self.main.point(line)
        self._sides()

    def action_find(self) -> None:
        """Find changes by path, or by the values of either side."""
        changes = self.changes
        if self.session is None:
            return
        if not changes:
            self.notify("No changes to search", timeout=2)
            return
        origin = self.main.cursor
        found: list[int] = []

        def look(dialog: Lookup, text: str) -> None:
            found[:] = search_changes(changes, text)
            note = f"{len(found)} of {count_text(len(changes), 'change')}"
            lines = [self._line(changes[number], 76) for number in found[:SHOWN]]
            dialog.show(lines, note if text.strip() else "")

        def done(index: int | None) -> None:
            chosen = index is not None and index < len(found)
            self._go(found[index] if chosen and index is not None else origin)

        self.app.push_screen(
            Lookup(
                "Find in the changes",
                look,
                preview=lambda index: self._go(found[index]),
                hint="a part of a path, or of a value of either image",
            ),
            done,
        )
