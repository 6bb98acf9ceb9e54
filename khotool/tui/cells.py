"""A map of physical memory that can be zoomed: who holds most of each cell."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from khotool.absent import Absent
from khotool.model.image import UNPLACED, Image
from khotool.pages.runs import merge_columns
from khotool.records import dataclass
from khotool.render.memory_cells import (
    LEAK,
    SCRATCH,
    UNPRESERVED,
    Group,
    Layer,
    groups_of,
    largest,
)
from khotool.tui.memory_view import MemoryView, Section, Use

PRESERVED = "preserved"
HUES = 12
"""Owners that look different on the map."""
MOST_KNOWN = 1 << 16
"""Ranges of known memory by which empty rows are found."""
MAX_RANGES = 300
"""Ranges listed for one cell."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Args:
        start: physical address in bytes.
        group: index of the group that holds most of it, -1 for none.
        filled: part of the cell that is preserved, scratch or referenced, 0 to 1.
        captured: whether the capture has any byte of it.
    """

    start: int
    group: int
    filled: float
    captured: bool


def _joined(spans: NDArray[np.uint64], gap: int) -> NDArray[np.uint64]:
    """Ranges in ascending order, gaps shorter than ``gap`` filled; of many, longer ones, too."""
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    ends = np.maximum.accumulate(spans[:, 1])
    least, found = gap, spans
    while len(spans):
        apart = spans[1:, 0] >= ends[:-1] + np.uint64(least)
        found = np.stack([spans[np.append(True, apart), 0], ends[np.append(apart, True)]], axis=1)
        if len(found) <= MOST_KNOWN:
            break
        least *= 4
    return found


class Rows:
    """Rows of cells, of which those in empty memory are folded to one line.

    Args:
        runs: (n, 2) first row with anything in it and the row after the last, ascending, apart.
    """

    def __init__(self, runs: NDArray[np.int64]) -> None:
        before = np.concatenate(([0], runs[:-1, 1])) if len(runs) else runs[:, 1]
        first = np.stack([before, runs[:, 0]], axis=1).ravel()
        count = np.stack([runs[:, 0] - before, runs[:, 1] - runs[:, 0]], axis=1).ravel()
        folded = (np.arange(len(count)) % 2 == 0) & (count > 1)
        lines = np.where(folded, 1, count)
        kept = count > 0
        self._first, self._count, self._folded = first[kept], count[kept], folded[kept]
        self._line = (np.cumsum(lines) - lines)[kept]
        self.lines = int(lines.sum())

    def line_of(self, row: int) -> int:
        """The line that shows a row."""
        at = max(int(np.searchsorted(self._first, row, side="right")) - 1, 0)
        inside = 0 if self._folded[at] else row - int(self._first[at])
        return int(self._line[at]) + inside

    def at(self, line: int) -> tuple[int, int]:
        """First row of a line, and how many rows it folds: 0 for a row that is shown."""
        at = max(int(np.searchsorted(self._line, line, side="right")) - 1, 0)
        if self._folded[at]:
            return int(self._first[at]), int(self._count[at])
        return int(self._first[at]) + line - int(self._line[at]), 0


def _unowned(image: Image) -> list[Group]:
    """What is preserved, by whomever, and scratch."""
    found = {}
    if not isinstance(image.map, Absent):
        found[PRESERVED] = image.map.blocks.ranges()
    if not isinstance(image.scratch, Absent):
        areas = sorted((area.address, area.end) for area in image.scratch.areas)
        found[SCRATCH] = np.array(areas, np.uint64).reshape(-1, 2)
    return [Group(name, ranges) for name, ranges in found.items() if len(ranges)]


LEAST_COLUMNS = 8
"""Cells that every row of the map has at least."""


class PageMap:
    """Groups of owners and where they are.

    Args:
        image: its owners are computed if they are not yet.
        owned: whether owners are told apart; without them all that is preserved is one group.
    """

    def __init__(self, image: Image, *, owned: bool = True) -> None:
        self.page_size = image.geometry.page_size
        self.groups: list[Group] = groups_of(image) if owned else _unowned(image)
        self.view = MemoryView(image, image.ownership() if owned else None)
        self._layers = [Layer(group.ranges) for group in self.groups]
        extents = image.space.extents()
        extents = extents[extents[:, 1] < UNPLACED]
        self._captured = Layer(extents)
        ends = [int(group.ranges[-1, 1]) for group in self.groups if len(group.ranges)]
        if len(extents):
            ends.append(int(extents[-1, 1]))
        self.end = max(ends, default=0)
        spans = [group.ranges for group in self.groups if len(group.ranges)]
        self._known = _joined(
            np.concatenate([extents, *spans]).reshape(-1, 2), LEAST_COLUMNS * self.page_size
        )

    def color(self, group: int) -> str:
        """Token of a group: a colour for an owner, a meaning for the rest."""
        name = self.groups[group].name
        if name == UNPRESERVED:
            return "error"
        if name in (LEAK, PRESERVED):
            return "warning" if name == LEAK else "dim"
        return "scratch" if name == SCRATCH else f"owner{group % HUES}"

    def glyph(self, cell: Cell) -> str:
        """One character: fuller blocks for fuller cells."""
        if cell.group < 0:
            return "·" if cell.captured else " "
        name = self.groups[cell.group].name
        if name == UNPRESERVED:
            return "!"
        if name == LEAK:
            return "o"
        if name == SCRATCH:
            return "="
        return "░▒▓█"[min(int(cell.filled * 4), 3)]

    def fit(self, columns: int, lines: int) -> int:
        """Bytes of a cell, a power of two, so that all memory is on so many lines."""
        size = self.page_size
        while self.count_lines(columns * size) > max(lines, 1):
            size *= 2
        return size

    def _runs(self, row: int) -> NDArray[np.int64]:
        """Rows of ``row`` bytes with anything in them, as half-open runs; each a row apart."""
        first = (self._known[:, 0] // np.uint64(row)).astype(np.int64)
        end = ((self._known[:, 1] - np.uint64(1)) // np.uint64(row)).astype(np.int64) + 1
        return np.stack(merge_columns(first, end), axis=1)

    def count_lines(self, row: int) -> int:
        """Lines of ``row`` bytes that memory takes with its empty parts folded."""
        runs = self._runs(row)
        if not len(runs):
            return 0
        gaps = len(runs) - 1 + int(runs[0, 0] > 0)
        return int((runs[:, 1] - runs[:, 0]).sum()) + gaps

    def rows(self, row: int) -> Rows:
        """The lines of rows of ``row`` bytes."""
        return Rows(self._runs(row))

    def cells(self, start: int, size: int, count: int) -> list[Cell]:
        """``count`` cells of ``size`` bytes from a physical address on."""
        edges = start + np.arange(count + 1, dtype=np.float64) * size
        captured = self._captured.held(edges) > 0
        group, filled = np.full(count, -1), np.zeros(count)
        if self._layers:
            held = np.stack([layer.held(edges) for layer in self._layers])
            group, filled = largest(held, [group.name for group in self.groups], size)
        return [
            Cell(start + number * size, whose, part, known)
            for number, (whose, part, known) in enumerate(
                zip(group.tolist(), filled.tolist(), captured.tolist(), strict=True)
            )
        ]

    def ranges(self, start: int, end: int) -> list[Section]:
        """Sections of what is not plain free memory in ``start..end``, at most MAX_RANGES."""
        found: list[Section] = []
        address = start
        steps = 0
        while address < end and len(found) < MAX_RANGES and steps < 4 * MAX_RANGES:
            section = self.view.section(address)
            if section.use not in (Use.FREE, Use.UNKNOWN):
                found.append(section)
            if section.end <= address:
                break
            address = section.end
            steps += 1
        return found

    def next_edge(self, address: int, step: int) -> int | None:
        """Start of the nearest range of any group after or before an address."""
        edges = [_next_edge(layer, address, step) for layer in self._layers]
        found = [edge for edge in edges if edge is not None]
        if not found:
            return None
        return min(found) if step > 0 else max(found)


def _next_edge(layer: Layer, address: int, step: int) -> int | None:
    """Start of the next or previous range of a layer."""
    side: Literal["left", "right"] = "right" if step > 0 else "left"
    at = int(np.searchsorted(layer.start, float(address), side=side)) - (step < 0)
    return int(layer.start[at]) if 0 <= at < len(layer.start) else None
