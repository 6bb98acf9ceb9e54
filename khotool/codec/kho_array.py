"""kho_array: a sparse array of words, in pages linked by address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, FieldType, Holds, Shape
from khotool.abi.record import encode_record
from khotool.codec.base import Pointer, register
from khotool.codec.chain import Chain
from khotool.codec.contexts import Builder, Walk
from khotool.codec.problems import Read, ShapeProblem
from khotool.codec.tables import TableCodec, begin_table, claim_rows, list_pages, merge_pages
from khotool.errors import EncodeError
from khotool.handover.values import Rows
from khotool.model.node import Node, Table
from khotool.records import dataclass, field

U64 = np.ndarray[Any, np.dtype[np.uint64]]
TOP = 1 << 64
PAGE = "kho_array_page"
"""Struct of a page of words."""
POSITION = Field(
    "index", FieldType("int", "u64", 8), role="page-index", unique=True, doc="position in the array"
)


@dataclass(slots=True)
class Words:
    """The words of an array that are not 0, in the order of the pages.

    Args:
        pages: physical addresses of the pages, in list order.
        position: (n,) uint64, position in the array of each word.
        address: (n,) uint64, physical address of each word.
        word: (n,) uint64 as stored.
        problems: what stopped or disturbed the walk.
    """

    pages: list[int]
    position: U64
    address: U64
    word: U64
    problems: list[ShapeProblem] = field(default_factory=list)


def walk_array(read: Read, first: int, page: CompiledStruct, *, max_pages: int) -> Words:
    """Follow the pages of an array.

    Args:
        read: physical address and length in bytes to bytes; raises MemoryFault.
        first: physical address of the first page, 0 for an empty array.
        page: compiled struct of a page, with fields labelled ``next``, ``startpos`` and
            ``entries``.
        max_pages: links followed at most.
    """
    link, start, slots = (page.by_label(label) for label in ("next", "startpos", "entries"))
    kind = np.dtype(f"{page.geometry.prefix}u8")
    chain = Chain(
        "word page",
        lambda address: read(address, page.size),
        lambda data: int(np.frombuffer(data, kind, 1, link.offset)[0]),
        page.geometry.page_size,
        max_pages,
    )
    pages: list[int] = []
    empty = np.empty(0, np.uint64)
    parts: list[tuple[U64, U64, U64]] = [(empty, empty, empty)]
    for place, data in chain.pieces(first):
        pages.append(place)
        base = int(np.frombuffer(data, kind, 1, start.offset)[0])
        if base % slots.count or base > TOP - slots.count:
            text = f"startpos is {base}, no position of a page of {slots.count} words"
            chain.add("unaligned", place, text)
            base = min(base, TOP - slots.count)
        entries = np.frombuffer(data, kind, slots.count, slots.offset)
        used = np.flatnonzero(entries).astype(np.uint64)
        places = np.uint64(place + slots.offset) + used * np.uint64(kind.itemsize)
        words = entries[used.astype(np.int64)].astype(np.uint64)
        parts.append((np.uint64(base) + used, places, words))
    position, address, word = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Words(pages, position, address, word, chain.problems)


@register(Shape.KHO_ARRAY)
class KhoArrayCodec(TableCodec):
    """A sparse array of words, of which the node is the descriptor; a word's place is a value."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """The words that are not 0 as a table, and the pages that hold them."""
        scene = walk.scene
        descriptor, compiled, _ = begin_table(walk, node, pointer)
        page = scene.struct(descriptor, PAGE)
        empty = np.empty(0, np.uint64)
        none = np.empty((0, 2), np.uint64)
        node.table = Table(compiled, np.empty(0, compiled.dtype), none, 0, POSITION, empty)
        first = next((c for c in node.children if c.field and c.field.points_to), None)
        if first is None or not first.value or not isinstance(first.value, int):
            return
        limit = min(scene.limits.chain, max(1, walk.recorder.bytes_left // page.size))
        found = walk_array(scene.space.read, first.value, page, max_pages=limit)
        if not list_pages(walk, node, "pages", page, found.pages, descriptor):
            return
        walk.problems(node, found.problems)
        records = np.zeros(len(found.word), compiled.dtype)
        records[compiled.fields[0].field.name] = found.word
        extents = merge_pages(found.address, compiled.size, len(found.address) * compiled.size)
        node.table = Table(compiled, records, extents, len(records), POSITION, found.position)
        claim_rows(walk, node, node.table)

    def empty(self, builder: Builder, pointer: Pointer) -> dict[str, Any]:
        """The numbers that every descriptor has."""
        _, fields = _descriptor(builder, pointer)
        return {field.label: field.expect for field in fields if field.expect is not None}

    def lay_out(
        self, builder: Builder, pointer: Pointer, holds: Holds, rows: Rows
    ) -> dict[str, Any]:
        """The pages of words, in ascending order."""
        owner, fields = _descriptor(builder, pointer)
        first = next(f for f in fields if f.points_to and f.points_to.shape is Shape.KHO_ARRAY)
        position, words = _words(builder, pointer.definition, holds, rows, pointer.path)
        page = builder.registry.compile(owner, PAGE, builder.geometry)

        def allocate(count: int) -> list[int]:
            return [builder.alloc_preserve(page.size, pointer.path) for _ in range(count)]

        address, writes = build(position, words, page, allocate)
        for place, written in writes:
            builder.write(place, written)
        return self.empty(builder, pointer) | {first.label: address}


def _descriptor(builder: Builder, pointer: Pointer) -> tuple[Definition, tuple[Field, ...]]:
    """The definition of an array's descriptor, and its fields."""
    assert pointer.field.type is not None
    name = pointer.field.type.struct
    owner = builder.registry.owner_of_struct(pointer.definition, name)
    return owner, owner.structs[name].fields


def build(
    position: U64, word: U64, page: CompiledStruct, allocate: Callable[[int], list[int]]
) -> tuple[int, Iterator[tuple[int, bytes]]]:
    """Lay an array out: a page for each part of it that has words, in ascending order.

    Args:
        position: (n,) uint64, distinct positions of words; word: (n,) uint64.
        page: as for ``walk_array``.
        allocate: number of pages to their physical addresses.

    Returns:
        Physical address of the first page, 0 without words; address and bytes of each page.
    """
    fits = page.by_label("entries").count
    order = np.argsort(position, kind="stable")
    position, word = position[order], word[order]
    starts, first = np.unique(position // np.uint64(fits), return_index=True)
    addresses = allocate(len(starts))
    ends = [*first[1:].tolist(), len(position)]

    def writes() -> Iterator[tuple[int, bytes]]:
        for number, address in enumerate(addresses):
            low, high = int(first[number]), int(ends[number])
            base = int(starts[number]) * fits
            entries = np.zeros(fits, np.uint64)
            entries[(position[low:high] - np.uint64(base)).astype(np.int64)] = word[low:high]
            following = addresses[number + 1] if number + 1 < len(addresses) else 0
            values = {"next": following, "startpos": base, "entries": entries.tolist()}
            yield address, encode_record(page, values, "kho_array")

    return (addresses[0] if addresses else 0), writes()


def _words(
    builder: Builder, definition: Definition, holds: Holds, rows: Rows, path: str
) -> tuple[U64, U64]:
    """Positions and words, uint64 (n,) each, of a table; its payload is placed."""
    columns = dict(rows.columns)
    position = columns.pop(POSITION.label, None)
    if position is None:
        position = np.arange(len(rows), dtype=np.uint64)
    if len(np.unique(position)) < len(position):
        raise EncodeError(path, f"two rows have the same {POSITION.label}")
    compiled = builder.registry.compile(definition, holds.of, builder.geometry)
    data = builder.table(compiled, Rows(columns, rows.payload, rows.used), path)
    words = np.frombuffer(data, f"{builder.geometry.prefix}u8").astype(np.uint64)
    if rows.used is None:
        return position, words
    # An unused position has no word.
    return position[rows.used], words[rows.used]
