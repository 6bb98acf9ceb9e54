"""Trees of preserved blocks in a memory of pages."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from khotool.limits import Limits
from khotool.maps import radix
from khotool.maps.preserved import PreservedMap
from khotool.pages.blocks import Blocks
from tests.unit.maps.geometry import geometry_of

U64 = NDArray[np.uint64]
SHIFTS = st.sampled_from([12, 14, 16])
ORDERS = st.sampled_from(["<", ">"])
Triples = list[tuple[int, int, int]]


def block_of_key(key: int, page_shift: int) -> tuple[int, int] | None:
    """Physical address in bytes and order of the block of ``key``; None where there is none."""
    order = 64 - page_shift - (key.bit_length() - 1)
    if key <= 0 or not 0 <= order <= 63 - page_shift:
        return None
    return (key << (page_shift + order)) % (1 << 64), order


class Memory:
    """Pages by address; counts how many were asked for."""

    def __init__(self, page_shift: int) -> None:
        self.page = 1 << page_shift
        self.pages: dict[int, NDArray[np.uint8]] = {}
        self.asked = 0

    def read(self, addresses: U64) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        self.asked += addresses.size
        rows = np.zeros((addresses.size, self.page), np.uint8)
        ok = np.zeros(addresses.size, bool)
        for row, address in enumerate(addresses.tolist()):
            if address in self.pages:
                rows[row], ok[row] = self.pages[address], True
        return rows, ok

    def put(self, address: int, words: dict[int, int], byteorder: str = "<") -> None:
        table = np.zeros(self.page // 8, f"{byteorder}u8")
        for place, word in words.items():
            table[place] = word
        self.pages[address] = table.view(np.uint8)


@st.composite
def block_sets(draw: st.DrawFn) -> Blocks:
    shift = draw(SHIFTS)
    runs: Triples = []
    for _ in range(draw(st.integers(0, 12))):
        order = draw(st.one_of(st.integers(0, 10), st.integers(0, 63 - shift)))
        most = 1 << (64 - shift - order)
        count = draw(st.integers(1, min(most, 70_000)))
        near = draw(st.sampled_from([0, most // 2, most - count, 1 << 15]))
        index = min(max(near + draw(st.integers(-99, 99)), 0), most - count)
        runs.append((index << (order + shift), count, order))
    starts, counts, orders = np.array(runs, np.uint64).reshape(-1, 3).T
    return Blocks.from_runs(starts, counts, orders, shift)


def store(
    blocks: Blocks, byteorder: str, depth: int | None = None
) -> tuple[Memory, int, U64, NDArray[np.uint8]]:
    shift = blocks.page_shift
    memory = Memory(shift)

    def allocate(count: int) -> U64:
        return np.uint64(1 << 40) + (np.arange(count, dtype=np.uint64) << np.uint64(shift))

    root, addresses, pages = radix.build(
        blocks, geometry=geometry_of(shift, byteorder), allocate=allocate, depth=depth
    )
    memory.pages = dict(zip(addresses.tolist(), pages, strict=True))
    return memory, root, addresses, pages


def walk(
    memory: Memory,
    root: int,
    shift: int = 12,
    byteorder: str = "<",
    nodes: int = 10_000,
    depth: int | None = None,
    size: int = 1 << 40,
) -> PreservedMap:
    return radix.walk(
        memory.read,
        root,
        geometry=geometry_of(shift, byteorder),
        limits=Limits(nodes=nodes, bytes=size),
        depth=depth,
    )
