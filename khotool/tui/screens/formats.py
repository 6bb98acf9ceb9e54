"""Formats: what the ABI definitions say; two of them side by side."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from khotool.abi.definition import Definition
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry, load_registry
from khotool.tui.layout import compare_lines, definition_lines
from khotool.tui.screens.dialogs import Lookup, Picker
from khotool.tui.screens.mode import ListScreen, bindings
from khotool.tui.text import Line
from khotool.tui.widgets.line_view import LineView
from khotool.tui.widgets.tokens import wrap

BARRED = 76
"""Columns from which on a field has a bar beside its name."""


class FormatsScreen(ListScreen):
    """Definitions on the left, the layout of one on the right."""

    mode = "formats"
    names: ClassVar[dict[str, str]] = {"formats": "Formats", "layout": "Layout"}
    needs_image = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("formats")

    def __init__(self) -> None:
        super().__init__()
        self.definitions: list[Definition] = []
        self.second: Definition | None = None
        self._shipped: Registry | None = None
        self._shown: object = None

    def body(self) -> ComposeResult:
        with Horizontal():
            yield LineView(id="formats", classes="pane", title="Formats", empty="no definition")
            yield LineView(id="layout", classes="pane", has_cursor=False, can_focus=True)

    @property
    def registry(self) -> Registry:
        """The image's definitions, or those shipped."""
        if self.session is not None:
            return self.session.image.registry
        if self._shipped is None:
            self._shipped = load_registry([])
        return self._shipped

    def show_session(self) -> None:
        """Fill the list; start on the format under the cursor."""
        cursor = self.session.cursor.place if self.session is not None else None
        state = (self.session, cursor.node.format if cursor is not None else "")
        if state == self._shown:
            return
        self._shown = state
        used = {d.id for d in self.session.image.used} if self.session is not None else set()
        order = sorted(
            self.registry, key=lambda d: (d.id not in used, d.status != "merged", d.kind, d.id)
        )
        self.definitions = order
        lines: list[Line] = []
        for definition in order:
            mark = (" ● ", "added") if definition.id in used else ("   ", "")
            lines.append([mark, (definition.id, "name"), (f"  {definition.kind}", "dim")])
        at = 0
        place = self.session.cursor.place if self.session is not None else None
        if place is not None and place.node.format:
            at = next((i for i, d in enumerate(order) if d.id == place.node.format), 0)
        self.second = None
        self.main.show_lines(lines, at)
        self._layout()

    def _layout(self) -> None:
        view, first = self.list_of("layout"), self.chosen(self.definitions)
        if first is None:
            return
        geometry = self.session.image.geometry if self.session is not None else Geometry()
        if self.second is not None:
            found = compare_lines(self.registry, first, self.second, geometry)
            view.set_title(f"{first.id} and {self.second.id}")
        else:
            found = definition_lines(self.registry, first, geometry, bars=view.size.width >= BARRED)
            view.set_title(first.id)
        width = max((view.size.width or 80) - 1, 30)
        lines: list[Line] = []
        for line in found:
            lines.extend(wrap(line, width) if len(line) < 3 else [line])
        view.show_lines(lines)
        view.scroll_to(y=0, animate=False)

    def on_resize(self) -> None:
        self.call_after_refresh(self._layout)

    def on_line_view_moved(self, event: LineView.Moved) -> None:
        self.second = None
        self._layout()

    def action_show(self) -> None:
        """A definition is in no place of an image."""

    def action_compare(self) -> None:
        """Pick a second definition, or leave the comparison."""
        first = self.chosen(self.definitions)
        if self.second is not None or first is None:
            self.second = None
            self._layout()
            return
        stem = first.id.rpartition("-v")[0] or first.id
        others = sorted(
            (d for d in self.definitions if d is not first),
            key=lambda d: (not d.id.startswith(stem), d.kind != first.kind, d.id),
        )

        def done(index: int | None) -> None:
            if index is not None:
                self.second = others[index]
                self._layout()

        lines: list[Line] = [[(f" {d.id}", "name"), (f"  {d.title}", "dim")] for d in others]
        self.app.push_screen(Picker(f"Compare {first.id} with", lines), done)

    def action_filter(self) -> None:
        """Find a definition by a part of its id, its title or a struct."""
        found: list[int] = []

        def look(dialog: Lookup, text: str) -> None:
            wanted = text.strip().casefold()
            found[:] = [
                number
                for number, definition in enumerate(self.definitions)
                if any(wanted in word.casefold() for word in _words(definition))
            ]
            shown = [self.definitions[number] for number in found]
            dialog.show([[(f" {d.id}", "name"), (f"  {d.title}", "dim")] for d in shown])

        def done(index: int | None) -> None:
            if index is not None:
                self.main.point(found[index])
                self._layout()

        self.app.push_screen(Lookup("Definitions with", look, hint="id, title or struct"), done)

    def under_cursor(self) -> dict[str, str]:
        definition = self.chosen(self.definitions)
        return {} if definition is None else {"value": definition.id}


def _words(definition: Definition) -> tuple[str, ...]:
    """What a definition is looked for by."""
    return definition.id, definition.title, *definition.structs
