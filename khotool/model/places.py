"""Where the values of the model are: lookups by physical address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np

from khotool.abi.compile import PlacedField
from khotool.model.image import UNPLACED, Image, Node, NodeKind
from khotool.model.region import FdtRegion

T = TypeVar("T")
U64 = np.ndarray[Any, np.dtype[np.uint64]]


class Spans(Generic[T]):
    """Things by the range of bytes they are about, sorted by start."""

    def __init__(self, found: Iterable[tuple[int, int, T]]) -> None:
        """Index rows of (start, end, thing): physical addresses in bytes, end exclusive.

        Empty ranges, and those that have no place in memory, are left out.
        """
        rows = sorted(
            (row for row in found if row[0] < row[1] <= UNPLACED), key=lambda row: (row[0], row[1])
        )
        self.start: U64 = np.array([row[0] for row in rows], np.uint64)
        self.end: U64 = np.array([row[1] for row in rows], np.uint64)
        self.things = [row[2] for row in rows]
        # No row below the first whose reach passes an address can contain it.
        self._reach: U64 = np.maximum.accumulate(self.end)

    def overlapping(self, start: int, end: int) -> list[T]:
        """Things whose bytes meet ``[start, end)``, smallest first."""
        if start >= UNPLACED:
            return []
        low = int(np.searchsorted(self._reach, np.uint64(start), side="right"))
        high = int(np.searchsorted(self.start, np.uint64(min(end, UNPLACED)), side="left"))
        rows = np.flatnonzero(self.end[low:high] > np.uint64(start)) + low
        sizes = self.end[rows] - self.start[rows]
        return [self.things[row] for row in rows[np.argsort(sizes, kind="stable")].tolist()]


class Places:
    """Index of an image's values by where their bytes are; made by one pass over the model."""

    def __init__(self, image: Image) -> None:
        """Index an image."""
        values: list[tuple[int, int, Node]] = []
        targets: list[tuple[int, int, Node]] = []
        self.tables: list[Node] = []
        for node in image.tree.walk():
            span = node.span
            holds = node.kind is NodeKind.RAW or (
                node.kind in (NodeKind.VALUE, NodeKind.LIST) and node.value is not None
            )
            if span is not None and holds:
                values.append((span.address, span.end, node))
            if node.target is not None and node.target.size:
                targets.append((node.target.address, node.target.end, node))
            if node.table is not None:
                self.tables.append(node)
        self.values = Spans(values)
        self.targets = Spans(targets)
        self.trees = [r for r in image.regions if isinstance(r, FdtRegion) and r.address < UNPLACED]

    def rows_at(self, start: int, end: int) -> Iterator[tuple[Node, int, int]]:
        """Rows whose bytes meet ``[start, end)``: the table, first row, row after the last."""
        for node in self.tables:
            table = node.table
            assert table is not None
            if not len(table):
                continue
            extents = table.extents
            ends = extents[:, 0] + extents[:, 1]
            before = np.cumsum(extents[:, 1]) - extents[:, 1]
            low = np.maximum(extents[:, 0], np.uint64(start))
            high = np.minimum(ends, np.uint64(min(end, (1 << 64) - 1)))
            for piece in np.flatnonzero(low < high).tolist():
                base = int(extents[piece, 0])
                offset = int(before[piece])
                first = (int(low[piece]) - base + offset) // table.compiled.size
                last = -(-(int(high[piece]) - base + offset) // table.compiled.size)
                if first < min(last, len(table)):
                    yield node, first, min(last, len(table))


def field_at(node: Node, offset: int) -> PlacedField | None:
    """The field of a table's record at ``offset`` bytes from the record's start."""
    assert node.table is not None
    for placed in node.table.compiled.fields:
        if placed.offset <= offset < placed.offset + placed.size:
            return placed
    return None
