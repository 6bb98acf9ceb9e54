"""kho_vmalloc: a list of chunks, each a page of physical addresses of an area's pages."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Holds, Shape
from khotool.abi.record import encode_record
from khotool.codec.base import Pointer, register
from khotool.codec.chain import Chain
from khotool.codec.contexts import Builder, Walk
from khotool.codec.problems import Read, ShapeProblem
from khotool.codec.tables import (
    TableCodec,
    begin_table,
    claim_rows,
    list_pages,
    merge_pages,
    not_captured,
    read_extents,
)
from khotool.codec.walk import owner_path
from khotool.handover.values import Array, Rows
from khotool.model.node import UNPLACED, Node, Table
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
    link, slots = chunk.by_label("next"), chunk.by_label("phys")
    word, order = np.dtype(f"{chunk.geometry.prefix}u8"), chunk.geometry.byteorder
    chain = Chain(
        "chunk",
        lambda address: read(address, chunk.size),
        lambda data: int.from_bytes(data[link.offset : link.offset + word.itemsize], order),
        chunk.geometry.page_size,
        max_chunks,
    )
    chunks: list[int] = []
    parts: list[U64] = []
    total = 0
    for address, data in chain.pieces(first):
        chunks.append(address)
        entries = np.frombuffer(data, word, slots.count, slots.offset)
        filled = entries.nonzero()[0]
        used = filled.size
        if used and filled[-1] >= used:
            used = int((entries == 0).argmax())
            chain.add("after-end", address, "addresses follow the terminating 0")
        parts.append(entries[:used].astype(np.uint64))
        total += used
        if used < slots.count and chain.follow(data):
            chain.add("short-chunk", address, "a chunk that is not full has a successor")
        if total > wanted and len(chunks) > wanted:
            chain.most = len(chunks)
    pages = parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, np.uint64)])
    return VmallocArea(chunks, pages, chain.problems)


@register(Shape.VMALLOC)
class VmallocCodec(TableCodec):
    """The array in a vmalloc area, of which the node is the descriptor."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """The records of the area as a table, and its chunks."""
        descriptor, compiled, holds = begin_table(walk, node, pointer)
        assert node.table is not None
        count = node.table.declared
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
            TableRegion(node.path, pointer.definition.id, compiled, extents, records, node=node)
        )
        claim_rows(walk, node, node.table)

    def lay_out(
        self, builder: Builder, pointer: Pointer, holds: Holds, rows: Rows
    ) -> dict[str, Any]:
        """Pages and chunks; a table without rows has no area."""
        definition, path = pointer.definition, pointer.path
        registry, page = builder.registry, builder.geometry.page_size
        compiled = registry.compile(definition, holds.of, builder.geometry)
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
        recorder.report("REC407", node, f"order {order} is larger than any memory", order=order)
        order = 0
    size = scene.geometry.page_size << order
    declared = total_pages >> order
    area = walk_vmalloc(
        scene.space.read, first, chunk, wanted=declared, max_chunks=scene.limits.chain
    )
    if not list_pages(walk, node, "chunks", chunk, area.chunks, descriptor):
        return None
    walk.problems(node, area.problems)
    whole = not any(problem.code in ("missing", "limit", "cycle") for problem in area.problems)
    if whole and len(area.pages) != declared:
        text = f"total_pages is {total_pages}, the chunks name {len(area.pages) << order}"
        numbers = {"total_pages": total_pages, "named": len(area.pages) << order}
        walk.problems(node, [ShapeProblem("total-pages", first, text, numbers)])
    placed = area.pages[area.pages < np.uint64(UNPLACED)]
    recorder.claim_many(owner_path(node), placed, size)
    return _Area(area.pages, size, whole)


def scatter(builder: Builder, pages: Array, data: bytes) -> None:
    """Write an array over pages of given physical addresses; neighbours become one write."""
    view, at = memoryview(data), 0
    for address, size in merge_pages(pages, builder.geometry.page_size, len(data)).tolist():
        builder.write(address, view[at : at + size])
        at += size
