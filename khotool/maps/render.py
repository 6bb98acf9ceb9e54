"""Write a preserved-page map back at its own addresses: the pages that its blocks describe."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from khotool.abi.compile import CompiledStruct
from khotool.abi.geometry import Geometry
from khotool.maps.nodes import leaf_bits, table_bits
from khotool.maps.order_tables import indexes
from khotool.maps.preserved import Chunk, MapPages, PageKind, PreservedMap
from khotool.maps.radix import key_width
from khotool.pages.bitmaps import bits_of_runs, image_bytes

Write = tuple[int, bytes]
Runs = NDArray[np.int64]


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
    if found.layout == "radix":
        yield from _radix(found, geometry)
    elif found.layout == "order-tables":
        yield from _order_tables(found, geometry)
    elif header is not None and element is not None:
        yield from _chunks(found, geometry, header, element)


def _radix(found: PreservedMap, geometry: Geometry) -> Iterator[Write]:
    shift = geometry.page_shift
    bits = leaf_bits(shift)
    pages = found.pages
    runs = _key_runs(found, shift)
    children = _children(pages)
    for row in range(len(pages)):
        if pages.kind[row] == PageKind.LEAF:
            base = int(pages.prefix[row]) << bits
            words = bits_of_runs(clip_runs(runs, base, 1 << bits), 1 << bits)
        else:
            words = _interior(pages, children.get(row), shift)
        yield int(pages.address[row]), image_bytes(words, geometry.prefix).tobytes()


def _order_tables(found: PreservedMap, geometry: Geometry) -> Iterator[Write]:
    """As the radix tree, with a tree for every order."""
    shift = geometry.page_shift
    bits = leaf_bits(shift)
    pages = found.pages
    orders, above = indexes(pages, shift)
    runs_of = {order: _frame_runs(found, order, geometry) for order in found.blocks.orders()}
    none = np.empty((0, 2), np.int64)
    children = _children(pages)
    for row in range(len(pages)):
        if pages.kind[row] == PageKind.LEAF:
            runs = runs_of.get(int(orders[row]), none)
            words = bits_of_runs(clip_runs(runs, int(above[row]) << bits, 1 << bits), 1 << bits)
        else:
            words = _interior(pages, children.get(row), shift)
        yield int(pages.address[row]), image_bytes(words, geometry.prefix).tobytes()


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
    """Runs of keys, ascending: (n, 2) int64, first and past the last."""
    blocks = found.blocks
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
    if base + size > np.iinfo(np.int64).max:
        return np.empty((0, 2), np.int64)
    low = int(np.searchsorted(runs[:, 1], base, side="right"))
    high = int(np.searchsorted(runs[:, 0], base + size, side="left"))
    return np.clip(runs[low:high] - base, 0, size)


def _chunks(
    found: PreservedMap, geometry: Geometry, header: CompiledStruct, element: CompiledStruct
) -> Iterator[Write]:
    pages = found.pages
    by_address = {chunk.address: chunk for chunk in found.chunks}
    runs_of: dict[int, Runs] = {}
    for row in range(len(pages)):
        page = pages[row]
        if page.kind is PageKind.CHUNK:
            chunk = by_address.get(page.address)
            if chunk is not None:
                yield page.address, _chunk_bytes(chunk, header)
            continue
        chunk = None if page.parent is None else by_address.get(page.parent)
        if chunk is None or page.prefix >= len(chunk.elements):
            continue
        if chunk.order not in runs_of:
            runs_of[chunk.order] = _frame_runs(found, chunk.order, geometry)
        shift = geometry.page_shift + chunk.order
        base = int(chunk.elements[element.struct.fields[0].name][int(page.prefix)]) >> shift
        bits = page.size * 8
        words = bits_of_runs(clip_runs(runs_of[chunk.order], base, bits), bits)
        yield page.address, image_bytes(words, geometry.prefix).tobytes()


def _chunk_bytes(chunk: Chunk, header: CompiledStruct) -> bytes:
    top = np.zeros(1, header.dtype)
    top["next"], top["order"], top["num_elms"] = chunk.next, chunk.order, chunk.num_elms
    return top.tobytes() + chunk.elements.tobytes()


def _frame_runs(found: PreservedMap, order: int, geometry: Geometry) -> Runs:
    """Runs of blocks of one order, in units of that block: (n, 2) int64, ascending."""
    blocks = found.blocks
    mine = blocks.order == order
    first = (blocks.start[mine] >> np.uint64(geometry.page_shift + order)).astype(np.int64)
    return np.stack([first, first + blocks.count[mine].astype(np.int64)], axis=1)
