"""From a byte to the field that holds it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from khotool.model.image import Image, Node, NodeKind
from khotool.pages.runs import merge_columns
from khotool.tui.place import Place, TableSpans, label_at

U64 = NDArray[np.uint64]
Stop = Callable[[], bool]
"""Asked now and then whether the work is no longer wanted."""

POINTERS = ("address", "pfn")
"""Roles of numbers that say where something is."""


class SpanMap:
    """Disjoint ranges of bytes, each with the smallest of the spans that cover it.

    Args:
        spans: start, end (physical addresses in bytes, end exclusive) and node of each span.
    """

    def __init__(self, spans: list[tuple[int, int, Node]]) -> None:
        spans = [span for span in spans if span[0] < span[1]]
        spans.sort(key=lambda span: (span[0], span[1]))
        meets = any(a[1] > b[0] for a, b in pairwise(spans))
        pieces = _flatten(spans) if meets else spans
        self.nodes = [node for _, _, node in pieces]
        self.starts: U64 = np.array([piece[0] for piece in pieces], np.uint64)
        self.ends: U64 = np.array([piece[1] for piece in pieces], np.uint64)

    def __len__(self) -> int:
        return len(self.nodes)

    def find(self, address: int) -> Node | None:
        """The node whose span covers an address."""
        if not 0 <= address < 1 << 64:
            return None
        at = int(np.searchsorted(self.starts, np.uint64(address), side="right")) - 1
        return self.nodes[at] if at >= 0 and address < int(self.ends[at]) else None


def _flatten(spans: list[tuple[int, int, Node]]) -> list[tuple[int, int, Node]]:
    """Cut overlapping spans, sorted by start; the smallest wins, then the first. O(n log n)."""
    edges = sorted({edge for span in spans for edge in span[:2]})
    heap: list[tuple[int, int]] = []
    pieces: list[tuple[int, int, Node]] = []
    following = 0
    for low, high in pairwise(edges):
        while following < len(spans) and spans[following][0] <= low:
            start, end, _ = spans[following]
            heapq.heappush(heap, (end - start, following))
            following += 1
        while heap and spans[heap[0][1]][1] <= low:
            heapq.heappop(heap)
        if not heap:
            continue
        node = spans[heap[0][1]][2]
        if pieces and pieces[-1][1] == low and pieces[-1][2] is node:
            pieces[-1] = (pieces[-1][0], high, node)
        else:
            pieces.append((low, high, node))
    return pieces


def _leads_on(node: Node) -> bool:
    """Whether a value points somewhere, or a column of a table does."""
    if node.table is not None:
        return any(field.role in POINTERS for field in node.table.fields())
    return bool(node.reference) or (node.target is not None and node.value is not None)


class ByteIndex:
    """Which place of the model holds a byte: fields first, then rows, then groups."""

    def __init__(self, image: Image, stop: Stop | None = None) -> None:
        """Index an image; gives up where ``stop`` says so."""
        fields: list[tuple[int, int, Node]] = []
        groups: list[tuple[int, int, Node]] = []
        tables: list[tuple[int, int, Node]] = []
        pointers: list[tuple[int, int, Node]] = []
        self.spans: dict[Node, TableSpans] = {}
        for number, node in enumerate(image.tree.walk()):
            if stop is not None and number % 4096 == 0 and stop():
                break
            span = node.span
            if node.table is not None and len(node.table):
                self.spans[node] = TableSpans(node.table)
                extents = node.table.extents.tolist()
                tables += [(address, address + size, node) for address, size in extents]
                pointers += tables[-len(extents) :] if _leads_on(node) else []
            if span is not None:
                leaf = node.kind in (NodeKind.VALUE, NodeKind.RAW) or node.value is not None
                (fields if leaf else groups).append((span.address, span.end, node))
                pointers += [(span.address, span.end, node)] if _leads_on(node) else []
            if node.target is not None and node.struct:
                groups.append((node.target.address, node.target.end, node))
        self.fields = SpanMap(fields)
        self.tables = SpanMap(tables)
        self.groups = SpanMap(groups)
        self.records = _merged([*fields, *tables, *groups])
        self.pointers = _merged(pointers)

    def find(self, address: int) -> Place | None:
        """The most specific place whose bytes include a physical address."""
        node = self.fields.find(address)
        if node is not None:
            return Place(node)
        node = self.tables.find(address)
        if node is not None and node.table is not None:
            found = self.spans[node].find(address)
            if found is not None:
                return Place(node, found[0], label_at(node.table, found[1]))
        node = self.groups.find(address)
        return None if node is None else Place(node)

    def next_region(self, address: int, step: int) -> int | None:
        """Start of the next (``step`` 1) or previous (-1) stretch of decoded bytes."""
        starts, point = self.records[0], np.uint64(address)
        if step > 0:
            at = int(np.searchsorted(starts, point, side="right"))
        else:
            at = int(np.searchsorted(starts, point, side="left")) - 1
        return int(starts[at]) if 0 <= at < len(starts) else None


def _merged(spans: Iterable[tuple[int, int, Node]]) -> tuple[U64, U64]:
    """Starts and ends of the stretches that spans cover without a gap."""
    table = np.array([span[:2] for span in spans], np.uint64).reshape(-1, 2)
    table = table[table[:, 0] < table[:, 1]]
    return merge_columns(table[:, 0], table[:, 1])
