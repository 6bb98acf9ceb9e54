"""The map of physical memory, one character a cell."""

from __future__ import annotations

import string
from typing import ClassVar

import numpy as np
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from khotool.tui.cells import Cell, PageMap, Rows
from khotool.tui.text import Line, Piece, size_text
from khotool.tui.widgets.tokens import strip_of

GUTTER = 16
KEPT = 500
"""Rows whose cells are remembered."""


SHADES = "░▒▓█"
LETTERS = string.ascii_uppercase + string.digits


def letter(group: int) -> str:
    """What tells a group's cells from those of others where there are no colours."""
    return LETTERS[group % len(LETTERS)]


class PageMapView(Widget, can_focus=True):
    """Cells in rows; the cursor is a cell."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(0,-1)", "Up", show=False, id="nav.up"),
        Binding("down,j", "move(0,1)", "Down", show=False, id="nav.down"),
        Binding("left,h", "move(-1,0)", "Left", show=False, id="nav.left"),
        Binding("right,l", "move(1,0)", "Right", show=False, id="nav.right"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="nav.pageup"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="nav.pagedown"),
        Binding("home", "edge(0)", "Top", show=False, id="nav.top"),
        Binding("end,G", "edge(1)", "Bottom", show=False, id="nav.bottom"),
        Binding("plus,equals_sign", "zoom(-1)", "Finer", show=True, id="pages.finer"),
        Binding("minus", "zoom(1)", "Coarser", show=True, id="pages.coarser"),
    ]

    class Moved(Message):
        """The cursor moved to a cell, or chose it."""

        def __init__(self, *, chosen: bool = False) -> None:
            super().__init__()
            self.chosen = chosen

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, classes="pane")
        self.map: PageMap | None = None
        self.cell = 4096
        self.top = 0
        self.at = 0
        self.only = -1
        self.fitted = True
        self.folds = Rows(np.empty((0, 2), np.int64))
        self._cells: dict[int, list[Cell]] = {}

    @property
    def columns(self) -> int:
        """Cells in a row: a power of two of them fits, times three where there is room."""
        room = max(self.size.width - GUTTER - 1, 8)
        columns = 8
        while columns * 2 <= room:
            columns *= 2
        return columns * 3 // 2 if columns * 3 // 2 <= room and columns >= 16 else columns

    @property
    def row(self) -> int:
        """Bytes of a row of cells."""
        return self.columns * self.cell

    @property
    def height(self) -> int:
        """Lines of the view."""
        return max(self.size.height, 1)

    def show_map(self, found: PageMap, *, again: bool) -> None:
        """Show all of memory; ``again``, the scale that the user chose stays."""
        self.map, self.only = found, -1
        self.fitted |= not again
        self.on_resize()

    def fit(self) -> None:
        """The finest cells that show all of memory."""
        if self.map is not None:
            self.cell = self.map.fit(self.columns, self.height)
            self.top = 0
            self.fitted = True
            self._scaled()

    def _scaled(self) -> None:
        """Cells or rows have a new size."""
        assert self.map is not None
        self.folds = self.map.rows(self.row)
        self._cells = {}
        self._place(self.at)

    def on_resize(self) -> None:
        """Show all of memory in the new size, unless the user chose a scale."""
        if self.fitted:
            self.fit()
        elif self.map is not None:
            self._scaled()

    def _place(self, address: int) -> None:
        """Put the cursor on the cell of an address, and the address on the map."""
        assert self.map is not None
        self.at = min(max(address, 0), max(self.map.end - 1, 0)) // self.cell * self.cell
        line = self.folds.line_of(self.at // self.row) if self.folds.lines else 0
        if not self.top <= line < self.top + self.height:
            self.top = max(line - self.height // 3, 0)
        self.refresh()

    def go(self, address: int) -> None:
        """Move to an address, and say so."""
        if self.map is not None:
            self._place(address)
            self.post_message(self.Moved())

    def render_line(self, y: int) -> Strip:
        """One row of cells, or a line for many empty ones."""
        base, width = self.rich_style, self.size.width
        if self.map is None or not self.map.end:
            text = "" if self.map is None else " nothing is known of physical memory"
            return strip_of(self, [(text, "dim")] if not y else [], base, width)
        line = self.top + y
        if line >= self.folds.lines:
            beyond: Line = [(f"{self.map.end:#014x}  ", "dim"), ("╌╌ nothing beyond ╌╌", "hole")]
            return strip_of(self, beyond if line == self.folds.lines else [], base, width)
        row, folded = self.folds.at(line)
        start = row * self.row
        lead = f"{start:#014x}  "
        if folded:
            here = row <= self.at // self.row < row + folded
            text = f"╌╌ {size_text(folded * self.row)} of nothing ╌╌"
            return strip_of(
                self, [(lead, "dim"), (text, "cursor" if here else "hole")], base, width
            )
        cells = self._cells.get(row)
        if cells is None:
            if len(self._cells) > KEPT:
                self._cells = {}
            cells = self._cells[row] = self.map.cells(start, self.cell, self.columns)
        shown = [self._cell(cell) for cell in cells if cell.start < self.map.end]
        return strip_of(self, [(lead, "dim"), *shown], base, width)

    def _cell(self, cell: Cell) -> Piece:
        assert self.map is not None
        glyph = self.map.glyph(cell)
        if self.app.no_color and glyph in SHADES:
            glyph = letter(cell.group)
        token = "dim" if cell.group < 0 else self.map.color(cell.group)
        if self.only >= 0 and cell.group != self.only:
            token, glyph = "zero", "·" if glyph != " " else " "
        if cell.start == self.at:
            return glyph if glyph.strip() else "×", "accent hit"
        return glyph, token

    def title(self) -> str:
        """Extent and scale."""
        if self.map is None:
            return "Physical memory"
        return f"Physical memory  0 … {size_text(self.map.end)}  one cell is {size_text(self.cell)}"

    def action_move(self, right: int, down: int) -> None:
        """A cell to a side; what is folded is stepped over."""
        if self.map is None or not self.folds.lines:
            return
        if right:
            row, folded = self.folds.at(
                self.folds.line_of((self.at + right * self.cell) // self.row)
            )
            edge = (row + folded) * self.row if right > 0 else row * self.row - self.cell
            self.go(edge if folded else self.at + right * self.cell)
            return
        line = min(max(self.folds.line_of(self.at // self.row) + down, 0), self.folds.lines - 1)
        row, folded = self.folds.at(line)
        if folded:
            step = 1 if down > 0 else -1
            row = self.folds.at(min(max(line + step, 0), self.folds.lines - 1))[0]
        self.go(row * self.row + self.at % self.row)

    def action_page(self, step: int) -> None:
        """A screen up or down."""
        self.action_move(0, step * self.height)

    def action_edge(self, end: int) -> None:
        """To the first or last cell."""
        if self.map is not None:
            self.go(self.map.end - 1 if end else 0)

    def action_zoom(self, step: int) -> None:
        """Finer or coarser cells around the cursor."""
        if self.map is None:
            return
        self.fitted = False
        top = self.map.fit(self.columns, self.height)
        size = self.cell * 4 if step > 0 else self.cell // 4
        self.cell = min(max(size, self.map.page_size), max(top, self.map.page_size))
        self._scaled()
        self.top = 0
        self.go(self.at)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves by rows."""
        event.stop()
        self.action_move(0, 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves by rows."""
        event.stop()
        self.action_move(0, -1)

    def on_click(self, event: events.Click) -> None:
        """A click moves, a second one chooses."""
        spot = event.get_content_offset(self)
        inside = spot is not None and GUTTER <= spot.x < GUTTER + self.columns
        if spot is None or not inside or not self.folds.lines:
            return
        row, _ = self.folds.at(min(self.top + spot.y, max(self.folds.lines - 1, 0)))
        self.go(row * self.row + (spot.x - GUTTER) * self.cell)
        if event.chain == 2:
            self.post_message(self.Moved(chosen=True))
