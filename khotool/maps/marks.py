"""Marks in ``struct page`` of blocks that were handed over and are not claimed yet.

As a kernel boots from a handover, kho_preserved_memory_reserve() writes a mark into ``private`` of
the first page of every preserved block, and kho_restore_page() clears it again (6.18 and later). So
the memory map of the new kernel still says which blocks are waiting when the map itself is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from khotool.abi.compile import CompiledStruct
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.abi.releases import Release
from khotool.absent import Absent, Reason
from khotool.memory.kernel_tables import KernelTables, Piece, kernel_tables, number
from khotool.memory.space import AddressSpace
from khotool.pages.blocks import Blocks
from khotool.records import dataclass

FORMAT = "kho_page_info"
"""Id of the definition of a mark."""
MAX_ORDER = 36
CHUNK = 1 << 22
"""Bytes of the memory map that are looked at together."""
LARGEST_PAGE_STRUCT = 1024
SPARE_STEPS = 1 << 16
"""Entries of page tables that are looked at beside one for each captured page."""


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """Where VMCOREINFO says that the array of ``struct page`` is.

    Args:
        base: virtual address of the struct of page frame 0.
        size: bytes of a struct; private: offset of ``private`` in it.
    """

    base: int
    size: int
    private: int


def memory_map(space: AddressSpace) -> MemoryMap | None:
    """The array of ``struct page``; None where VMCOREINFO does not say it."""
    info = space.info
    base = number(info, "SYMBOL(vmemmap)")
    size = number(info, "SIZE(page)")
    private = number(info, "OFFSET(page.private)")
    if base is None or size is None or private is None:
        return None
    if not 8 <= size <= LARGEST_PAGE_STRUCT or not 0 <= private <= size - 8:
        return None
    return MemoryMap(base, size, private)


def unclaimed_blocks(
    space: AddressSpace, registry: Registry, geometry: Geometry
) -> Blocks | Absent:
    """Blocks that the running kernel was handed and that are not claimed yet.

    Returns:
        Absent where that kernel writes no marks, or the capture does not say where its
        ``struct page`` are.
    """
    definition = registry.get(FORMAT)
    first = Release.parse(definition.first)
    running = Release.parse(space.info.osrelease or "")
    if first is not None and running is not None and running < first:
        return Absent(Reason.NOT_CAPTURED, f"{running} marks no blocks; {first} and later do")
    where = memory_map(space)
    tables = kernel_tables(space)
    if where is None or tables is None:
        return Absent(Reason.NOT_CAPTURED, "VMCOREINFO does not say where the memory map is")
    mark = registry.compile(definition, definition.content, geometry)
    return marked_blocks(space, where, tables, mark, geometry.page_shift)


def marked_blocks(
    space: AddressSpace,
    where: MemoryMap,
    tables: KernelTables,
    mark: CompiledStruct,
    page_shift: int,
) -> Blocks | Absent:
    """Blocks whose first page has the mark.

    Args:
        mark: the compiled struct that ``private`` holds, with fields ``order`` and ``magic``.
        page_shift: log2 of the bytes of a page.

    Returns:
        Absent where the capture does not hold the memory map.
    """
    (magic,) = (one.field.expect for one in mark.fields if one.field.expect is not None)
    extents = space.extents()
    size = int((extents[:, 1] - extents[:, 0]).sum())
    frames = -(-int(extents[-1, 1]) >> page_shift) if len(extents) else 0
    starts: list[NDArray[np.uint64]] = []
    orders: list[NDArray[np.int64]] = []
    # No memory map is larger than the memory that holds it.
    steps = (size >> page_shift) + SPARE_STEPS
    for piece in tables.pieces(where.base, where.base + frames * where.size, steps):
        for virtual, data in _captured(space, piece):
            size -= len(data)
            if size < 0:
                break
            found, order = _marks(where, mark, magic, virtual, data)
            starts.append(found << np.uint64(page_shift))
            orders.append(order)
    if not starts:
        return Absent(Reason.NOT_CAPTURED, "the memory map is not captured")
    return Blocks.from_runs(
        np.concatenate(starts),
        np.ones(sum(map(len, starts)), np.int64),
        np.concatenate(orders),
        page_shift,
    )


def _captured(space: AddressSpace, piece: Piece) -> Iterator[tuple[int, memoryview]]:
    """What is captured of a piece: virtual address and bytes, a chunk at a time."""
    for at in range(0, piece.size, CHUNK):
        start, size = piece.physical + at, min(CHUNK, piece.size - at)
        known = space.known(start, size)
        ends = [address for address, _, _ in known[1:]] + [start + size]
        # A struct may reach from one piece into the next.
        for kept, run in groupby(
            zip(known, ends, strict=True), lambda one: one[0][2] in ("data", "zero")
        ):
            parts = list(run)
            low, high = parts[0][0][0], parts[-1][1]
            if kept and any(state == "data" for (_, _, state), _ in parts):
                yield piece.virtual + low - piece.physical, space.read(low, high - low)


def _marks(
    where: MemoryMap, mark: CompiledStruct, magic: int, virtual: int, data: memoryview
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Page frames with a mark in some bytes of the memory map, and their orders."""
    # The first struct that begins in these bytes, and as many as are whole in them.
    first = -(-(virtual - where.base) // where.size)
    skip = where.base + first * where.size - virtual
    count = max(0, (len(data) - skip) // where.size)
    if not count:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    structs = np.frombuffer(data, np.uint8, count * where.size, skip)
    held = structs.reshape(count, where.size)[:, where.private : where.private + mark.size]
    records = np.ascontiguousarray(held).view(mark.dtype).reshape(count)
    order = records["order"].astype(np.int64)
    found = np.flatnonzero((records["magic"] == magic) & (order <= MAX_ORDER))
    frame = (found + first).astype(np.uint64)
    whole = frame & ((np.uint64(1) << order[found].astype(np.uint64)) - np.uint64(1)) == 0
    return frame[whole], order[found][whole]
