"""Which values of the model stand where: lookups by physical address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from khotool.abi.compile import PlacedField
from khotool.image.model import UNPLACED, Image, Node, NodeKind
from khotool.image.region import FdtRegion

U64 = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True, slots=True)
class Spans:
    """Nodes by a range of bytes, sorted by start.

    Args:
        start, end: uint64 (n,), physical addresses in bytes; end is exclusive.
        nodes: the node of each row.
    """

    start: U64
    end: U64
    nodes: list[Node]

    @classmethod
    def of(cls, found: list[tuple[int, int, Node]]) -> Spans:
        """Rows of (start, end, node), without those that have no place in memory."""
        rows = sorted(
            (row for row in found if row[0] < row[1] <= UNPLACED), key=lambda row: (row[0], row[1])
        )
        return cls(
            np.array([row[0] for row in rows], np.uint64),
            np.array([row[1] for row in rows], np.uint64),
            [row[2] for row in rows],
        )

    def overlapping(self, start: int, end: int) -> list[Node]:
        """Nodes whose bytes meet ``[start, end)``, smallest first."""
        last = int(np.searchsorted(self.start, np.uint64(min(end, UNPLACED)), side="left"))
        rows = np.flatnonzero(self.end[:last] > np.uint64(start))
        size = (self.end[rows] - self.start[rows]).tolist()
        order = sorted(range(len(rows)), key=lambda i: (size[i], int(rows[i])))
        return [self.nodes[int(rows[i])] for i in order]


class Places:
    """Index of an image's values by where their bytes are; made by one pass over the model."""

    def __init__(self, image: Image) -> None:
        """Index an image."""
        values: list[tuple[int, int, Node]] = []
        targets: list[tuple[int, int, Node]] = []
        self.tables: list[Node] = []
        for node in image.tree.walk():
            span = node.span
            if span is not None and node.kind in (NodeKind.VALUE, NodeKind.RAW, NodeKind.LIST):
                if not (node.kind is NodeKind.VALUE and node.value is None):
                    values.append((span.address, span.end, node))
            if node.target is not None and node.target.size:
                targets.append((node.target.address, node.target.end, node))
            if node.table is not None:
                self.tables.append(node)
        self.values = Spans.of(values)
        self.targets = Spans.of(targets)
        self.trees = [r for r in image.regions if isinstance(r, FdtRegion) and r.address < UNPLACED]

    def rows_at(self, start: int, end: int) -> Iterator[tuple[Node, int, int]]:
        """Rows of tables whose bytes meet ``[start, end)``: table, first row, row behind the last."""
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
