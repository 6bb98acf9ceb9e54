"""kho_vmalloc: a list of chunks, each a page of physical addresses of an area's pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, Shape
from khotool.abi.record import encode_record
from khotool.codec.base import Stored, as_number, register
from khotool.codec.contexts import Builder, Walk
from khotool.codec.problems import Read, ShapeProblem
from khotool.codec.tables import (
    TableCodec,
    claim_rows,
    empty_table,
    not_captured,
    page_region,
    read_extents,
)
from khotool.codec.walk import owner_path
from khotool.errors import EncodeError
from khotool.handover.values import Array, Rows
from khotool.memory.space import MemoryFault
from khotool.model.node import UNPLACED, Node, NodeKind, Span, Table
from khotool.model.region import TableRegion
from khotool.records import dataclass, field

DESCRIPTOR = "kho_vmalloc"
VMALLOC_ALLOC = "KHO_VMALLOC_ALLOC"

U64 = np.ndarray[Any, np.dtype[np.uint64]]
CHUNK = "kho_vmalloc_chunk"
"""Struct of a chunk: a link, and addresses up to the end of the page."""
MAX_ORDER = 36
"""Orders above this are larger than any physical memory."""


@dataclass(slots=True)
class VmallocArea:
    """A walked area.

    Args:
        chunks: physical addresses of the chunk pages, in list order.
        pages: ndarray (n,) uint64, physical address of each run of ``1 << order`` pages.
        problems: what stopped or disturbed the walk.
    """

    chunks: list[int]
    pages: np.ndarray[Any, Any]
    problems: list[ShapeProblem] = field(default_factory=list)


def walk_vmalloc(
    read: Read, first: int, chunk: CompiledStruct, *, wanted: int, max_chunks: int
) -> VmallocArea:
    """Follow the chunks of an area.

    Args:
        read: physical address and length in bytes to bytes; raises MemoryFault.
        first: physical address of the first chunk, 0 for an empty area.
        chunk: compiled ``kho_vmalloc_chunk``.
        wanted: addresses after which a further chunk need not hold any.
        max_chunks: links followed at most.
    """
    link = chunk.by_label("next")
    slots = chunk.by_label("phys")
    word = np.dtype(f"{chunk.geometry.prefix}u8")
    chunks: list[int] = []
    seen: set[int] = set()
    parts: list[np.ndarray[Any, Any]] = []
    problems: list[ShapeProblem] = []
    total = 0
    address = first
    while address:
        if address in seen:
            problems.append(ShapeProblem("cycle", address, "the list of chunks comes back to here"))
            break
        if len(chunks) >= max_chunks or (total > wanted and len(chunks) > wanted):
            problems.append(ShapeProblem("limit", address, f"stopped after {len(chunks)} chunks"))
            break
        if address % chunk.geometry.page_size:
            problems.append(ShapeProblem("unaligned", address, "a chunk is not page aligned"))
        try:
            data = read(address, chunk.size)
        except MemoryFault as fault:
            problems.append(ShapeProblem("missing", fault.address, f"chunk: {fault}"))
            break
        seen.add(address)
        chunks.append(address)
        entries = np.frombuffer(data, word, slots.count, slots.offset)
        used = int((entries == 0).argmax()) if not entries.all() else slots.count
        if entries[used:].any():
            problems.append(
                ShapeProblem("after-end", address, "addresses follow the terminating 0")
            )
        parts.append(entries[:used].astype(np.uint64))
        total += used
        following = int(np.frombuffer(data, word, 1, link.offset).item())
        if following and used < slots.count:
            problems.append(
                ShapeProblem("short-chunk", address, "a chunk that is not full has a successor")
            )
        address = following
    pages = np.concatenate(parts) if parts else np.empty(0, np.uint64)
    return VmallocArea(chunks, pages, problems)


@register(Shape.VMALLOC)
class VmallocCodec(TableCodec):
    """The array in a vmalloc area, of which the node is the descriptor."""

    def walk(
        self, walk: Walk, node: Node, definition: Definition, siblings: Mapping[str, Any]
    ) -> None:
        """The records of the area as a table, and its chunks."""
        assert node.field is not None
        assert node.field.holds is not None
        holds, scene = node.field.holds, walk.scene
        compiled = scene.struct(definition, holds.of)
        descriptor = scene.owner_of_struct(definition, node.struct)
        walk.recorder.use(descriptor)
        given = siblings.get(holds.count)
        count = given if isinstance(given, int) else 0
        node.kind = NodeKind.TABLE
        node.table = empty_table(compiled, count)
        first = node.value_of("first") or 0
        if not first:
            if count or node.value_of("total_pages"):
                text = f"first is 0, but {count} records are declared"
                walk.recorder.report("REC408", node, text, count=count)
            return
        area = _area(walk, node, descriptor, first)
        if area is None:
            return
        wanted = count * compiled.size
        room = len(area.pages) * area.size
        if area.whole and wanted > room:
            text = f"{holds.count} is {count}; {len(area.pages)} pages hold {room // compiled.size}"
            walk.recorder.report("REC403", node, text, count=count, fits=room // compiled.size)
        data, extents = read_extents(walk, node, merge_pages(area.pages, area.size, wanted))
        records = np.frombuffer(data, compiled.dtype, len(data) // compiled.size)
        if len(records) < min(count, room // compiled.size):
            not_captured(node, count - len(records))
        node.table = Table(compiled, records, extents, count)
        if not walk.recorder.spend(node):
            return
        walk.recorder.regions.append(
            TableRegion(node.path, definition.id, compiled, extents, records, node=node)
        )
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
        """Pages and chunks; a table without rows has no area."""
        rows = values.get(field.label)
        if field.holds is None:
            # The pointer of a descriptor without a declared meaning.
            return as_number(field, values, path)
        if rows is None or not len(rows):
            return {}
        if not isinstance(rows, Rows):
            raise EncodeError(path, "expected a table")
        registry, page = builder.registry, builder.geometry.page_size
        compiled = registry.compile(definition, field.holds.of, builder.geometry)
        data = builder.table(compiled, rows, path)
        owner = registry.owner_of_struct(definition, DESCRIPTOR)
        chunk = registry.compile(owner, CHUNK, builder.geometry)
        number = -(-len(data) // page)
        pages = builder.take_pages(number, path)
        builder.preserve(pages, 0)
        scatter(builder, pages, data)
        fits = chunk.by_label("phys").count
        # A full chunk always has a successor, be it empty.
        chunks = [builder.alloc_preserve(page, path) for _ in range(number // fits + 1)]
        for index, address in enumerate(chunks):
            following = chunks[index + 1] if index + 1 < len(chunks) else 0
            part = pages[index * fits : (index + 1) * fits].tolist()
            builder.write(address, encode_record(chunk, {"next": following, "phys": part}, path))
        fields = {field.label: field for field in owner.structs[DESCRIPTOR].fields}
        flags = fields["flags"].flags[VMALLOC_ALLOC]
        return {"first": chunks[0], "total_pages": number, "flags": flags, "order": 0}


@dataclass(frozen=True, slots=True)
class _Area:
    """Pages of an area: uint64 (n,) physical addresses of runs of ``size`` bytes.

    Args:
        whole: nothing stopped the walk over its chunks.
    """

    pages: U64
    size: int
    whole: bool


def _area(walk: Walk, node: Node, descriptor: Definition, first: int) -> _Area | None:
    """The pages of an area, its chunks as nodes; None once the budget is used up."""
    scene, recorder = walk.scene, walk.recorder
    chunk = scene.struct(descriptor, CHUNK)
    order = node.value_of("order") or 0
    total_pages = node.value_of("total_pages") or 0
    if order > MAX_ORDER:
        text = f"order {order} is larger than any memory"
        recorder.report("REC407", node, text, order=order)
        order = 0
    size = scene.geometry.page_size << order
    declared = total_pages >> order
    area = walk_vmalloc(
        scene.space.read, first, chunk, wanted=declared, max_chunks=scene.limits.chain
    )
    if not recorder.spend(node, len(area.chunks) + 1, len(area.chunks) * chunk.size):
        return None
    for number, address in enumerate(area.chunks):
        span = Span(address, chunk.size)
        top = node.add(Node("chunks", NodeKind.RECORD, key=str(number), span=span))
        page_region(walk, top, chunk, address, descriptor)
        walk.claim(node, address, chunk.size)
    walk.problems(node, area.problems)
    whole = not any(problem.code in ("missing", "limit", "cycle") for problem in area.problems)
    if whole and len(area.pages) != declared:
        text = f"total_pages is {total_pages}, the chunks name {len(area.pages) << order}"
        numbers = {"total_pages": total_pages, "named": len(area.pages) << order}
        walk.problems(node, [ShapeProblem("total-pages", first, text, numbers)])
    placed = area.pages[area.pages < np.uint64(UNPLACED)]
    recorder.claim_many(owner_path(node), placed, size)
    return _Area(area.pages, size, whole)


def merge_pages(pages: U64, size: int, wanted: int) -> U64:
    """Join neighbouring pages.

    Args:
        pages: (n,) physical addresses in the order of the array.
        size: bytes of each.
        wanted: bytes of the array; pages after them are left out.

    Returns:
        ndarray (m, 2) uint64: physical address and bytes.
    """
    pages = pages[: -(-wanted // size)]
    if not len(pages):
        return np.empty((0, 2), np.uint64)
    breaks = np.flatnonzero(pages[1:] != pages[:-1] + np.uint64(size)) + 1
    starts = np.concatenate(([0], breaks))
    lengths = np.diff(np.concatenate((starts, [len(pages)])))
    extents = np.empty((len(starts), 2), np.uint64)
    extents[:, 0] = pages[starts]
    extents[:, 1] = lengths.astype(np.uint64) * np.uint64(size)
    extents[-1, 1] -= np.uint64(len(pages) * size - min(wanted, len(pages) * size))
    return extents


# -- nodes to a handover, and back to bytes ----------------------------------------------


def scatter(builder: Builder, pages: Array, data: bytes) -> None:
    """Write an array over pages of given physical addresses; neighbours become one write."""
    view, at = memoryview(data), 0
    for address, size in merge_pages(pages, builder.geometry.page_size, len(data)).tolist():
        builder.write(address, view[at : at + size])
        at += size
