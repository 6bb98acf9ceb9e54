"""Chunk lists of preserved blocks in a memory of pieces."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from khotool.limits import Limits
from khotool.maps import bitmap_chunks
from khotool.maps.preserved import PreservedMap
from khotool.pages.blocks import Blocks
from tests.unit.maps.geometry import geometry_of

U64 = NDArray[np.uint64]


def header(byteorder: str = "<") -> np.dtype[np.void]:
    end = byteorder
    return np.dtype([("next", f"{end}u8"), ("order", f"{end}u4"), ("num_elms", f"{end}u4")])


def element(byteorder: str = "<") -> np.dtype[np.void]:
    return np.dtype([("phys_start", f"{byteorder}u8"), ("bitmap", f"{byteorder}u8")])


class Memory:
    """Bytes by address, written piece by piece."""

    def __init__(self) -> None:
        self.pieces: dict[int, bytes] = {}
        self.asked: list[tuple[int, int]] = []

    def gather(self, size: int, addresses: U64) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        self.asked.append((size, addresses.size))
        rows = np.zeros((addresses.size, size), np.uint8)
        ok = np.zeros(addresses.size, bool)
        for row, address in enumerate(addresses.tolist()):
            piece = self.pieces.get(address, b"")
            if len(piece) >= size:
                rows[row], ok[row] = np.frombuffer(piece[:size], np.uint8), True
        return rows, ok

    def chunk(
        self,
        address: int,
        elements: list[tuple[int, int]],
        after: int = 0,
        order: int = 0,
        count: int | None = None,
    ) -> None:
        head = np.array((after, order, len(elements) if count is None else count), header())
        table = np.array(elements, element())
        self.pieces[address] = (head.tobytes() + table.tobytes()).ljust(4096, b"\0")


def walk(
    memory: Memory,
    first: int,
    shift: int = 12,
    byteorder: str = "<",
    size: int = 4096,
    limits: Limits | None = None,
) -> PreservedMap:
    return bitmap_chunks.walk(
        partial(memory.gather, 1 << shift),
        partial(memory.gather, size),
        first,
        geometry=geometry_of(shift, byteorder),
        bitmap_bytes=size,
        header=header(byteorder),
        element=element(byteorder),
        limits=limits or Limits(),
    )


def store(
    blocks: Blocks, byteorder: str, size: int, limits: Limits | None = None
) -> tuple[Memory, int]:
    shift = blocks.page_shift
    memory = Memory()
    first, writes = bitmap_chunks.build(
        blocks,
        geometry=geometry_of(shift, byteorder),
        bitmap_bytes=size,
        header=header(byteorder),
        element=element(byteorder),
        allocate_pages=lambda n: np.arange(1, n + 1, dtype=np.uint64) << np.uint64(shift),
        allocate_bitmaps=lambda n: (
            np.uint64(1 << 40) + np.arange(n, dtype=np.uint64) * np.uint64(size)
        ),
        limits=limits,
    )
    memory.pieces = dict(writes)
    return memory, first


@st.composite
def block_sets(draw: st.DrawFn) -> Blocks:
    shift = draw(st.sampled_from([12, 14, 16]))
    runs: list[tuple[int, int, int]] = []
    for _ in range(draw(st.integers(0, 10))):
        order = draw(st.one_of(st.integers(0, 10), st.integers(0, 63 - shift)))
        most = 1 << (64 - shift - order)
        count = draw(st.integers(1, min(most, 9000)))
        near = draw(st.sampled_from([0, most // 2, most - count, 1 << 15]))
        index = min(max(near + draw(st.integers(-99, 99)), 0), most - count)
        runs.append((index << (order + shift), count, order))
    starts, counts, orders = np.array(runs, np.uint64).reshape(-1, 3).T
    return Blocks.from_runs(starts, counts, orders, shift)
