"""Write a preserved-page map back at its own addresses: the pages that its blocks describe."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from khotool.abi.compile import CompiledStruct
from khotool.abi.geometry import Geometry
from khotool.maps.nodes import leaf_bits, table_bits
from khotool.maps.order_tables import indexes
from khotool.maps.preserved import Chunk, MapPages, PageKind, PreservedMap
from khotool.maps.radix import key_width
from khotool.pages.bitmaps import bits_of_runs, image_bytes
from khotool.pages.bits import PageBits
from khotool.records import dataclass

Write = tuple[int, bytes]
Runs = NDArray[np.int64]
MOST_KEY = (1 << 63) - 1
Leaf = Callable[[int], tuple["_Bits", int]]
"""The bits of a leaf by its row, and the number of the leaf among all that they make."""
Maker = Callable[[int], bytes]
"""Makes the bytes of a page by its row; none for a page that nothing is known of."""


def map_writes(
    found: PreservedMap,
    geometry: Geometry,
    header: CompiledStruct | None = None,
    element: CompiledStruct | None = None,
) -> Iterator[Write]:
    """Physical address and bytes of every page and bitmap of a map.

    Args:
        header, element: compiled structs of a chunk list.
    """
    page_of = page_maker(found, geometry, header, element)
    for row, address in enumerate(found.pages.address.tolist()):
        data = page_of(row)
        if data:
            yield address, data


def page_maker(
    found: PreservedMap,
    geometry: Geometry,
    header: CompiledStruct | None = None,
    element: CompiledStruct | None = None,
) -> Maker:
    """What makes the pages of a map, each on its own; see :func:`map_writes`."""
    if found.layout == "radix":
        return _radix(found, geometry)
    if found.layout == "order-tables":
        return _order_tables(found, geometry)
    if header is not None and element is not None:
        return _chunks(found, geometry, header, element)
    return lambda row: b""


@dataclass(frozen=True, slots=True, eq=False)
class _Bits:
    """Set bits: of runs, and of bitmaps of single pages, whose bit 0 is at ``first``."""

    runs: Runs
    pages: PageBits | None = None
    first: int = 0

    def words(self, base: int, size: int) -> NDArray[np.uint64]:
        """Bits ``base..base + size`` as a bitmap."""
        parts = [clip_runs(self.runs, base, size)]
        if self.pages is not None and base + size <= MOST_KEY:
            near = self.pages.runs_near(base - self.first, base - self.first + size)
            parts.append(clip_runs(near, base - self.first, size))
        return bits_of_runs(np.concatenate(parts), size)


def _radix(found: PreservedMap, geometry: Geometry) -> Maker:
    shift = geometry.page_shift
    bits = _Bits(_key_runs(found, shift), found.blocks.bits, 1 << (64 - shift))
    return _tree(found, geometry, lambda row: (bits, int(found.pages.prefix[row])))


def _order_tables(found: PreservedMap, geometry: Geometry) -> Maker:
    """As the radix tree, with a tree for every order."""
    orders, above = indexes(found.pages, geometry.page_shift)
    bits_of = {order: _frame_bits(found, order, geometry) for order in found.blocks.orders()}
    none = _Bits(np.empty((0, 2), np.int64))
    return _tree(
        found, geometry, lambda row: (bits_of.get(int(orders[row]), none), int(above[row]))
    )


def _tree(found: PreservedMap, geometry: Geometry, leaf: Leaf) -> Maker:
    """As ``page_maker`` for trees of nodes."""
    pages, children = found.pages, _children(found.pages)
    size = 1 << leaf_bits(geometry.page_shift)

    def page(row: int) -> bytes:
        if pages.kind[row] == PageKind.LEAF:
            bits, number = leaf(row)
            words = bits.words(number * size, size)
        else:
            words = _interior(pages, children.get(row), geometry.page_shift)
        return image_bytes(words, geometry.prefix).tobytes()

    return page


def _interior(pages: MapPages, below: NDArray[np.intp] | None, shift: int) -> NDArray[np.uint64]:
    """Words of an interior node: the addresses of its children at their places."""
    fan = table_bits(shift)
    words = np.zeros(1 << fan, np.uint64)
    if below is not None:
        index = pages.prefix[below] & np.uint64((1 << fan) - 1)
        words[index] = pages.address[below]
    return words


def _children(pages: MapPages) -> dict[int, NDArray[np.intp]]:
    if not len(pages):
        return {}
    order = np.argsort(pages.parent, kind="stable")
    parents = pages.parent[order]
    starts = np.flatnonzero(np.r_[True, parents[1:] != parents[:-1]])
    groups = np.split(order, starts[1:])
    return {int(parents[start]): group for start, group in zip(starts, groups, strict=True)}


def _key_runs(found: PreservedMap, shift: int) -> Runs:
    """Runs of keys of the blocks without bitmaps, ascending: (n, 2) int64, first and past them."""
    blocks = found.blocks.loose
    order = blocks.order.astype(np.uint64)
    first = blocks.start >> (order + np.uint64(shift))
    first |= np.uint64(1) << (np.uint64(64 - shift) - order)
    pages = found.pages
    root = pages.level[(pages.parent < 0) & (pages.kind == PageKind.INTERIOR)]
    # A tree that is too shallow for the marker of order 0 has keys without it.
    if root.size:
        first &= np.uint64((1 << min(key_width(shift, int(root[0]) + 1), 63)) - 1)
    runs = np.empty((len(blocks), 2), np.int64)
    runs[:, 0] = first
    runs[:, 1] = first + blocks.count.astype(np.uint64)
    return runs[np.argsort(runs[:, 0], kind="stable")]


def clip_runs(runs: Runs, base: int, size: int) -> Runs:
    """The part of ascending disjoint runs inside ``[base, base + size)``, relative to base."""
    if base + size > MOST_KEY:
        return np.empty((0, 2), np.int64)
    low = int(np.searchsorted(runs[:, 1], base, side="right"))
    high = int(np.searchsorted(runs[:, 0], base + size, side="left"))
    return np.clip(runs[low:high] - base, 0, size)


def _chunks(
    found: PreservedMap, geometry: Geometry, header: CompiledStruct, element: CompiledStruct
) -> Maker:
    pages = found.pages
    by_address = {chunk.address: chunk for chunk in found.chunks}
    bits_of: dict[int, _Bits] = {}

    def page(row: int) -> bytes:
        this = pages[row]
        if this.kind is PageKind.CHUNK:
            chunk = by_address.get(this.address)
            return b"" if chunk is None else _chunk_bytes(chunk, header)
        chunk = None if this.parent is None else by_address.get(this.parent)
        if chunk is None or this.prefix >= len(chunk.elements):
            return b""
        if chunk.order not in bits_of:
            bits_of[chunk.order] = _frame_bits(found, chunk.order, geometry)
        shift = geometry.page_shift + chunk.order
        base = int(chunk.elements[element.struct.fields[0].name][int(this.prefix)]) >> shift
        words = bits_of[chunk.order].words(base, this.size * 8)
        return image_bytes(words, geometry.prefix).tobytes()

    return page


def _chunk_bytes(chunk: Chunk, header: CompiledStruct) -> bytes:
    top = np.zeros(1, header.dtype)
    top["next"], top["order"], top["num_elms"] = chunk.next, chunk.order, chunk.num_elms
    return top.tobytes() + chunk.elements.tobytes()


def _frame_bits(found: PreservedMap, order: int, geometry: Geometry) -> _Bits:
    """Blocks of one order; the unit is that block."""
    blocks = found.blocks.loose
    mine = blocks.order == order
    first = (blocks.start[mine] >> np.uint64(geometry.page_shift + order)).astype(np.int64)
    runs = np.stack([first, first + blocks.count[mine].astype(np.int64)], axis=1)
    return _Bits(runs, None if order else found.blocks.bits)
