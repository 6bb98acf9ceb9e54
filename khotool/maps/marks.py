"""Marks in ``struct page`` of blocks that were handed over and that nobody has claimed yet.

As a kernel boots from a handover, kho_preserved_memory_reserve() writes a mark into ``private`` of
the first page of every preserved block, and kho_restore_page() clears it again (6.18 and later). So
the memory map of the new kernel still says which blocks are waiting when the map itself is gone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from khotool.abi.compile import CompiledStruct
from khotool.absent import Absent, Reason
from khotool.memory.kernel_tables import Piece, kernel_tables, number
from khotool.memory.space import AddressSpace
from khotool.pages.blocks import Blocks

MAX_ORDER = 36
CHUNK = 1 << 22
"""Bytes of the memory map that are looked at together."""
LARGEST_PAGE_STRUCT = 1024


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


def marked_blocks(
    space: AddressSpace, mark: CompiledStruct, magic: int, page_shift: int
) -> Blocks | Absent:
    """Blocks whose first page has the mark.

    Args:
        mark: the compiled struct that ``private`` holds, with fields ``order`` and ``magic``.
        page_shift: log2 of the bytes of a page.

    Returns:
        Absent where the capture does not say where its ``struct page`` are.
    """
    where = memory_map(space)
    tables = kernel_tables(space)
    if where is None or tables is None:
        return Absent(Reason.NOT_CAPTURED, "VMCOREINFO does not say where the memory map is")
    starts: list[NDArray[np.uint64]] = []
    orders: list[NDArray[np.int64]] = []
    for start, end in space.extents().tolist():
        low = where.base + (start >> page_shift) * where.size
        high = where.base + -(-end >> page_shift) * where.size
        for piece in tables.pieces(low, high):
            for at in range(0, piece.size, CHUNK):
                part = Piece(piece.virtual + at, piece.physical + at, min(CHUNK, piece.size - at))
                frames, order = _marks(space, where, mark, magic, part)
                starts.append(frames << np.uint64(page_shift))
                orders.append(order)
    if not starts:
        return Absent(Reason.NOT_CAPTURED, "the memory map is not captured")
    return Blocks.from_runs(
        np.concatenate(starts),
        np.ones(sum(map(len, starts)), np.int64),
        np.concatenate(orders),
        page_shift,
    )


def _marks(
    space: AddressSpace, where: MemoryMap, mark: CompiledStruct, magic: int, piece: Piece
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Page frames with a mark in one piece of the memory map, and their orders."""
    frames, orders = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for address, data, state in space.known(piece.physical, piece.size):
        if data is None or state != "data":
            continue
        virtual = piece.virtual + address - piece.physical
        # The first struct that begins in these bytes, and as many as are whole in them.
        number = -(-(virtual - where.base) // where.size)
        skip = where.base + number * where.size - virtual
        count = max(0, (len(data) - skip) // where.size)
        structs = np.frombuffer(data, np.uint8, count * where.size, skip)
        held = structs.reshape(count, where.size)[:, where.private : where.private + mark.size]
        records = np.ascontiguousarray(held).view(mark.dtype).reshape(count)
        order = records["order"].astype(np.int64)
        found = np.flatnonzero((records["magic"] == magic) & (order <= MAX_ORDER))
        frame = (found + number).astype(np.uint64)
        whole = frame & ((np.uint64(1) << order[found].astype(np.uint64)) - np.uint64(1)) == 0
        frames.append(frame[whole])
        orders.append(order[found][whole])
    return np.concatenate(frames), np.concatenate(orders)
