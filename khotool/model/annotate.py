"""A range of memory cut into pieces, each with the value it holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from khotool.absent import Absent
from khotool.fdt.blob import HEADER_WORDS
from khotool.model.image import Image, Node, NodeKind, Span
from khotool.model.lookup import table_row
from khotool.model.places import Places, Spans
from khotool.model.region import FdtRegion
from khotool.records import dataclass

STEP = 1 << 16
"""Bytes of a range that are looked at together."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Bytes with a meaning.

    Args:
        address: physical address in bytes; size: bytes.
        nodes: values that share these bytes: one, or the parts of a bit-field word.
        text: what the bytes are where they are not a value, such as a token of a device tree.
    """

    address: int
    size: int
    nodes: tuple[Node, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """Contiguous bytes with one meaning, none, or no bytes.

    Args:
        address: physical address; size: bytes.
        state: ``data``, or why there are no bytes: ``zero``, ``hole``, ``error``.
        data: the bytes.
        mark: the meaning; its bytes may begin before the piece and end after it.
    """

    address: int
    size: int
    state: str
    data: bytes = b""
    mark: Mark | None = None


def ranges_of(node: Node) -> list[Span]:
    """The bytes of a node: what a pointer leads to, else where the value is."""
    if node.table is not None and len(node.table):
        return [Span(address, size) for address, size in node.table.extents.tolist()]
    if (
        node.target is not None
        and node.target.size
        and (node.children or node.kind in (NodeKind.ENTRY, NodeKind.LIST))
    ):
        return [node.target]
    return [node.span] if node.span is not None and node.span.size else []


def annotate(image: Image, places: Places, start: int, size: int) -> Iterator[Piece]:
    """Pieces of ``[start, start + size)``, ascending and without a gap between them.

    Args:
        start: physical address in bytes.
        size: bytes; read a step at a time, so a range may be larger than memory; a gap is passed
            over at once.
    """
    end = start + size
    at = start
    trees = tree_index(places, start, end)
    extents = image.space.extents()
    while at < end:
        # A step ends where a page does, so that rows do not straddle steps needlessly.
        stop = min(end, (at // STEP + 1) * STEP)
        following = int(np.searchsorted(extents[:, 1], np.uint64(at), side="right"))
        captured = int(extents[following, 0]) if following < len(extents) else end
        if captured > stop:
            # A gap, which may have almost 2^64 bytes, is one step.
            stop = min(end, captured)
        marks = marks_in(places, trees, at, stop)
        known = image.space.known(at, stop - at)
        for index, (address, data, state) in enumerate(known):
            following = known[index + 1][0] if index + 1 < len(known) else stop
            if data is None:
                yield Piece(address, following - address, state)
            else:
                yield from _cut(address, bytes(data), marks)
        at = stop


def _cut(start: int, data: bytes, marks: list[Mark]) -> Iterator[Piece]:
    end = start + len(data)
    at = start
    for mark in marks:
        low, high = max(mark.address, at), min(mark.address + mark.size, end)
        if low >= high:
            continue
        if at < low:
            yield Piece(at, low - at, "data", data[at - start : low - start])
        yield Piece(low, high - low, "data", data[low - start : high - start], mark)
        at = high
    if at < end:
        yield Piece(at, end - at, "data", data[at - start :])


def marks_in(places: Places, trees: Spans[Mark], start: int, end: int) -> list[Mark]:
    """Meanings of the bytes of a range, ascending; they do not overlap."""
    found: list[Mark] = []
    shared: dict[tuple[int, int], list[Node]] = {}
    for node in places.values.overlapping(start, end):
        assert node.span is not None
        shared.setdefault((node.span.address, node.span.size), []).append(node)
    for (address, size), nodes in shared.items():
        found.append(Mark(address, size, tuple(nodes)))
    for node, first, last in places.rows_at(start, end):
        for index in range(first, last):
            found.extend(row_marks(node, index))
    found.extend(trees.overlapping(start, end))
    return without_overlap(found)


def tree_index(places: Places, start: int, end: int) -> Spans[Mark]:
    """Tokens of the device trees that meet a range."""
    return Spans(
        (mark.address, mark.address + mark.size, mark)
        for region in places.trees
        if region.address < end and start < region.address + len(region.blob.data)
        for mark in tree_marks(region)
    )


def without_overlap(marks: list[Mark]) -> list[Mark]:
    """Sorted marks; of two that overlap the one with values, else the smaller one, stays."""
    marks.sort(key=lambda mark: (mark.address, not mark.nodes, mark.size))
    kept: list[Mark] = []
    for mark in marks:
        if not kept or mark.address >= kept[-1].address + kept[-1].size:
            kept.append(mark)
    return kept


def row_marks(node: Node, index: int) -> list[Mark]:
    """Fields of one record of a table."""
    row = table_row(node, index)
    shared: dict[tuple[int, int], list[Node]] = {}
    for child in row.children if row is not None else []:
        if child.span is None:
            # The place of a word in its array is not stored.
            continue
        shared.setdefault((child.span.address, child.span.size), []).append(child)
    return [Mark(address, size, tuple(nodes)) for (address, size), nodes in shared.items()]


def tree_marks(region: FdtRegion) -> Iterator[Mark]:
    """Header words, tokens and strings of a device tree."""
    blob, base = region.blob, region.address
    for number in range(min(blob.header_size, len(blob.data)) // 4):
        word = int.from_bytes(blob.data[number * 4 : number * 4 + 4], "big")
        yield Mark(base + number * 4, 4, (), f"{HEADER_WORDS[number]} {word:#x}, big-endian")
    yield Mark(base + blob.off_mem_rsvmap, 16 * (len(blob.reservations) + 1), (), "reservations")
    for depth, node in blob.root.walk() if blob.root is not None else ():
        name = node.name if depth else "/"
        length = (len(node.name) + 1 + 3) // 4 * 4
        yield Mark(base + node.tag_offset, 4, (), f"FDT_BEGIN_NODE {name}")
        yield Mark(base + node.tag_offset + 4, length, (), f"name of node {name}")
        for prop in node.properties:
            size = len(prop.value)
            text = f"FDT_PROP {prop.name}, {size} bytes"
            yield Mark(base + prop.tag_offset, prop.value_offset - prop.tag_offset, (), text)
            if size:
                yield Mark(base + prop.value_offset, size, (), f"value of {prop.name}")
    if blob.strings:
        yield Mark(base + blob.off_dt_strings, len(blob.strings), (), "strings")


def page_facts(image: Image, address: int) -> dict[str, Any]:
    """What the page at a physical address is: its frame, preserved block and owners."""
    frame = address >> image.geometry.page_shift
    facts: dict[str, Any] = {"pfn": frame, "order": None, "block": None, "owners": []}
    if not isinstance(image.map, Absent):
        block = image.map.blocks.block_of(address)
        if block is not None:
            facts["block"], facts["order"] = block
        facts["owners"] = image.owners_of(address)
    return facts
