"""kho_array: a sparse array of words, in pages linked by address."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, FieldType, Holds, Shape
from khotool.abi.record import encode_record
from khotool.codec.base import Stored, as_number, register
from khotool.codec.contexts import Builder, Walk
from khotool.codec.problems import Read, ShapeProblem
from khotool.codec.tables import TableCodec, claim_rows, page_region
from khotool.errors import EncodeError
from khotool.handover.values import Rows
from khotool.memory.space import MemoryFault
from khotool.model.node import Node, NodeKind, Span, Table
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
    word = np.dtype(f"{page.geometry.prefix}u8")
    pages: list[int] = []
    seen: set[int] = set()
    parts: list[tuple[U64, U64, U64]] = []
    problems: list[ShapeProblem] = []
    address = first
    while address:
        if address in seen:
            problems.append(ShapeProblem("cycle", address, "the list of pages comes back to here"))
            break
        if len(pages) >= max_pages:
            problems.append(ShapeProblem("limit", address, f"stopped after {len(pages)} pages"))
            break
        if address % page.geometry.page_size:
            problems.append(ShapeProblem("unaligned", address, "a page of words is not aligned"))
        try:
            data = read(address, page.size)
        except MemoryFault as fault:
            problems.append(ShapeProblem("missing", fault.address, f"page of words: {fault}"))
            break
        seen.add(address)
        pages.append(address)
        base = int(np.frombuffer(data, word, 1, start.offset)[0])
        if base % slots.count or base > TOP - slots.count:
            text = f"startpos is {base}, no position of a page of {slots.count} words"
            problems.append(ShapeProblem("unaligned", address, text))
            base = min(base, TOP - slots.count)
        entries = np.frombuffer(data, word, slots.count, slots.offset)
        used = np.flatnonzero(entries).astype(np.uint64)
        parts.append(
            (
                np.uint64(base) + used,
                np.uint64(address + slots.offset) + used * np.uint64(word.itemsize),
                entries[used.astype(np.int64)].astype(np.uint64),
            )
        )
        address = int(np.frombuffer(data, word, 1, link.offset)[0])
    empty = np.empty(0, np.uint64)
    joined = [np.concatenate([empty, *column]) for column in zip(*parts, strict=True)]
    position, places, words = joined or (empty, empty, empty)
    return Words(pages, position, places, words, problems)


def extents_of(address: U64, size: int) -> U64:
    """Runs of consecutive words.

    Args:
        address: (n,) uint64, physical address of each word; size: its bytes.

    Returns:
        (m, 2) uint64: physical address and bytes.
    """
    if not len(address):
        return np.empty((0, 2), np.uint64)
    breaks = np.flatnonzero(address[1:] != address[:-1] + np.uint64(size)) + 1
    first = np.concatenate(([0], breaks))
    counts = np.diff(np.concatenate((first, [len(address)]))).astype(np.uint64)
    return np.stack([address[first], counts * np.uint64(size)], axis=1)


@register(Shape.KHO_ARRAY)
class KhoArrayCodec(TableCodec):
    """A sparse array of words, of which the node is the descriptor; a word's place is a value."""

    def walk(
        self, walk: Walk, node: Node, definition: Definition, siblings: Mapping[str, Any]
    ) -> None:
        """The words that are not 0 as a table, and the pages that hold them."""
        assert node.field is not None
        assert node.field.holds is not None
        scene, recorder = walk.scene, walk.recorder
        compiled = scene.struct(definition, node.field.holds.of)
        descriptor = scene.owner_of_struct(definition, node.struct)
        recorder.use(descriptor)
        page = scene.struct(descriptor, PAGE)
        node.kind = NodeKind.TABLE
        empty = np.empty(0, np.uint64)
        none = np.empty((0, 2), np.uint64)
        node.table = Table(compiled, np.empty(0, compiled.dtype), none, 0, POSITION, empty)
        first = next((c for c in node.children if c.field and c.field.points_to), None)
        if first is None or not first.value or not isinstance(first.value, int):
            return
        limit = min(scene.limits.chain, max(1, recorder.bytes_left // page.size))
        found = walk_array(scene.space.read, first.value, page, max_pages=limit)
        if not recorder.spend(node, len(found.pages) + 1, len(found.pages) * page.size):
            return
        for number, address in enumerate(found.pages):
            span = Span(address, page.size)
            top = node.add(Node("pages", NodeKind.RECORD, key=str(number), span=span))
            page_region(walk, top, page, address, descriptor)
            walk.claim(node, address, page.size)
        walk.problems(node, found.problems)
        records = np.zeros(len(found.word), compiled.dtype)
        records[compiled.fields[0].field.name] = found.word
        extents = extents_of(found.address, compiled.size)
        node.table = Table(compiled, records, extents, len(records), POSITION, found.position)
        claim_rows(walk, node, node.table)

    # -- nodes to a handover, and back to bytes ------------------------------------------

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> Stored:
        """The pages of words, in ascending order."""
        if field.holds is None or field.type is None:
            # The pointer of a descriptor without a declared meaning.
            return as_number(field, values, path)
        registry, rows = builder.registry, values.get(field.label)
        owner = registry.owner_of_struct(definition, field.type.struct)
        fields = owner.structs[field.type.struct].fields
        first = next(f for f in fields if f.points_to and f.points_to.shape is Shape.KHO_ARRAY)
        made: dict[str, Any] = {f.label: f.expect for f in fields if f.expect is not None}
        if rows is None or not len(rows):
            return made
        if not isinstance(rows, Rows):
            raise EncodeError(path, "expected a table")
        position, words = _words(builder, definition, field.holds, rows, path)

        def allocate(count: int) -> list[int]:
            return [builder.alloc_preserve(builder.geometry.page_size, path) for _ in range(count)]

        page = registry.compile(owner, PAGE, builder.geometry)
        address, writes = build(position, words, page, allocate)
        for place, written in writes:
            builder.write(place, written)
        return made | {first.label: address}


# -- nodes to a handover, and back to bytes ----------------------------------------------


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
    # A position without anything has no word.
    return position[rows.used], words[rows.used]
