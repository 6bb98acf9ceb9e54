"""Trees of preserved blocks, one for every page order: two postings that were never merged.

As in the radix tree, an interior node is a page of child addresses and a leaf a page of bits. The
tree itself says the order, so that its index is the block's number: address divided by size. The
first node of each tree is named by an array, with the order as index, that has a page of
its own or wherever the caller found it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from khotool.abi.geometry import Geometry
from khotool.errors import EncodeError
from khotool.limits import Limits
from khotool.maps.nodes import (
    NodeWalk,
    leaf_bits,
    leaf_words,
    leaves_of,
    levels_above,
    table_bits,
)
from khotool.maps.preserved import (
    MapPages,
    PageKind,
    PreservedMap,
    ReadPages,
    blocks_of_bitmaps,
)
from khotool.pages.bitmaps import Runs, image_bytes, native_words
from khotool.pages.blocks import Blocks

Allocate = Callable[[int], NDArray[np.uint64]]
"""Number of pages -> their physical addresses uint64 (n,) in bytes, page aligned."""
Levels = Callable[[int], int]
"""Page order -> levels of its tree, the leaves included."""

ORDER_BITS = 6
"""Bits of a page order, which is above the index in the prefix of a node."""


def fixed_levels(number: int) -> Levels:
    """The same number of levels for every order; address bits above them are not stored."""
    return lambda order: number


def needed_levels(page_shift: int) -> Levels:
    """As many levels as addresses of 64 bits need: six for order 0 and pages of 4 KiB."""

    def levels(order: int) -> int:
        width = 64 - (page_shift + leaf_bits(page_shift) + order)
        return max(-(-width // table_bits(page_shift)), 0) + 1

    return levels


def walk(
    read_pages: ReadPages,
    tops: Sequence[int],
    *,
    geometry: Geometry,
    levels: Levels,
    limits: Limits,
) -> PreservedMap:
    """Decode the trees that an array names.

    Problems: as of the radix tree, and ``out-of-range`` (bits for blocks past 2**64).

    Args:
        read_pages: reads whole pages.
        tops: physical address in bytes of the first node of each order's tree, 0 for none.
        geometry: page size and byte order of the map.
        limits: ``nodes`` and ``bytes`` bound the pages read, of all trees together.

    Raises:
        ValueError: the index of a tree does not fit 62 bits.
    """
    return _Walk(read_pages, geometry, limits, levels).run(tops)


def walk_table(
    read_pages: ReadPages,
    table: int,
    orders: int,
    *,
    geometry: Geometry,
    levels: Levels,
    limits: Limits,
) -> PreservedMap:
    """As :func:`walk`, with the array in a page of its own.

    Args:
        table: physical address in bytes of that page.
        orders: entries of it that are read.
    """
    return _Walk(read_pages, geometry, limits, levels).run_table(table, orders)


class _Walk(NodeWalk):
    """State of one walk."""

    def __init__(
        self, read_pages: ReadPages, geometry: Geometry, limits: Limits, levels: Levels
    ) -> None:
        super().__init__(read_pages, geometry, limits)
        self.levels_of = levels
        self.order = 0
        self.above = 0

    def run_table(self, table: int, orders: int) -> PreservedMap:
        """Walk the trees that a page names."""
        if table == 0 or table % (1 << self.page_shift) or table >> 64:
            self.complete = False
            code = "unaligned-root" if table else "null-root"
            self.log.add(code, table, f"{table:#x} is not the address of a page")
            return self.found("order-tables")
        address, prefix, parent = self.fresh(
            np.array([table], np.uint64), np.zeros(1, np.uint64), np.full(1, -1, np.int64)
        )
        data, ok = self.read_pages(address)
        if not address.size or not ok[0]:
            self.complete = False
            if address.size:
                self.log.add("missing-node", table, f"node {table:#x} is not captured")
            return self.found("order-tables")
        self.remember(address, prefix, parent, self.levels_of(0), PageKind.TABLE)
        words = native_words(data, self.byteorder)[0]
        return self.run(words[:orders].tolist(), 0)

    def run(self, tops: Sequence[int], parent: int = -1) -> PreservedMap:
        """Walk the tree of each order that has one."""
        page = 1 << self.page_shift
        for order, top in enumerate(tops[: 1 << ORDER_BITS]):
            if not top:
                continue
            if top % page or order > 63 - self.page_shift:
                self.complete = False
                self.log.add("unaligned-child", top, f"the tree of order {order} is at {top:#x}")
                continue
            self.order = order
            depth = _checked(self.levels_of(order), self.page_shift)
            self.above = order << (depth - 1) * table_bits(self.page_shift)
            self.levels(top, depth, order, parent)
        return self.found("order-tables")

    def leaves(
        self, words: NDArray[np.uint64], address: NDArray[np.uint64], prefix: NDArray[np.uint64]
    ) -> None:
        """Decode leaves of one tree, in ascending order of prefix."""
        first = (prefix.astype(np.int64) - self.above) << leaf_bits(self.page_shift)
        if first.size:
            self.parts.append(blocks_of_bitmaps(words, first, self.order, self.page_shift))


def _checked(levels: int, page_shift: int) -> int:
    if levels < 1 or leaf_bits(page_shift) + (levels - 1) * table_bits(page_shift) > 62:
        raise ValueError(f"a tree of {levels} levels is impossible with page_shift {page_shift}")
    return levels


def indexes(pages: MapPages, page_shift: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order of the tree of each page, and the index bits above it, int64 (n,).

    The page that only names the trees counts as of order 0.
    """
    count = len(pages)
    order, height = np.zeros(count, np.int64), np.zeros(count, np.int64)
    parent = pages.parent
    lists = pages.kind == PageKind.TABLE
    first = ~lists & ((parent < 0) | lists[parent])
    order[first] = pages.prefix[first].astype(np.int64)
    height[first] = pages.level[first]
    top = int(pages.level.max()) if count else 0
    for level in range(top - 1, -1, -1):
        # Pages of one level get what their parents, one level up, have.
        mine = np.flatnonzero((pages.level == level) & ~first & (parent >= 0))
        order[mine], height[mine] = order[parent[mine]], height[parent[mine]]
    below = np.clip((height - pages.level) * table_bits(page_shift), 0, 62)
    return order, pages.prefix.astype(np.int64) & ((np.int64(1) << below) - 1)


def build(
    blocks: Blocks,
    *,
    geometry: Geometry,
    levels: Levels,
    orders: int,
    allocate: Allocate,
    table: bool,
    limits: Limits | None = None,
) -> tuple[list[int], list[tuple[int, NDArray[np.uint8]]]]:
    """Make the trees of ``blocks``; the inverse of :func:`walk` and :func:`walk_table`.

    Args:
        blocks: what the trees hold; larger ones than the largest order become several of it.
        orders: number of page orders that have a place in the array.
        allocate: called once for the pages of each tree, and first for that of the array.
        table: the array has a page of its own.
        limits: ``nodes`` bounds the pages made.

    Returns:
        Addresses of the trees by order, 0 for none, or only that of the page that lists them;
        physical address and contents uint8 (page,) of every page.

    Raises:
        EncodeError: a block does not fit its tree, or more pages than the limit.
        ValueError: page sizes differ.
    """
    if blocks.page_shift != geometry.page_shift:
        raise ValueError("the page size of the blocks differs")
    blocks = split(blocks, orders - 1)
    most = (limits or Limits()).nodes
    place = int(allocate(1)[0]) if table else 0
    tops = [0] * orders
    writes: list[tuple[int, NDArray[np.uint8]]] = []
    for order in blocks.orders():
        mine = blocks.order == order
        first = blocks.first_frame[mine] >> order
        runs = np.stack([first, first + blocks.count[mine]], axis=1)
        depth = _checked(levels(order), geometry.page_shift)
        tops[order], made = _tree(runs, depth, geometry, allocate, most - len(writes))
        writes += made
    if not table:
        return tops, writes
    words = np.zeros(geometry.page_size // 8, np.uint64)
    words[:orders] = tops
    return [place], [(place, image_bytes(words, geometry.prefix)), *writes]


def split(blocks: Blocks, most: int) -> Blocks:
    """The same pages in blocks of order ``most`` at most."""
    extra = np.maximum(blocks.order.astype(np.int64) - most, 0)
    if not bool(extra.any()):
        return blocks
    count = blocks.count << extra
    order = np.minimum(blocks.order, most)
    return Blocks.from_runs(blocks.start, count, order, blocks.page_shift)


def _tree(
    runs: Runs, depth: int, geometry: Geometry, allocate: Allocate, most: int
) -> tuple[int, list[tuple[int, NDArray[np.uint8]]]]:
    """One tree of ascending disjoint runs of block numbers: its first node, and all pages."""
    bits, fan = leaf_bits(geometry.page_shift), table_bits(geometry.page_shift)
    if int(runs[-1, 1]) > 1 << (bits + fan * (depth - 1)):
        raise EncodeError("/", f"a preserved block lies beyond what {depth} levels can name")
    leaf = leaves_of(runs, bits, most)
    prefixes = levels_above(leaf, depth, fan, most)
    total = sum(level.size for level in prefixes)
    addresses = np.asarray(allocate(total), np.uint64)
    words = [leaf_words(runs, leaf, bits)]
    # Addresses ascend from the first node down.
    begin = total
    spans = []
    for level in prefixes:
        begin -= level.size
        spans.append(addresses[begin : begin + level.size])
    for height in range(1, depth):
        children, own = prefixes[height - 1], prefixes[height]
        table = np.zeros((own.size, 1 << fan), np.uint64)
        rows, slots = np.searchsorted(own, children >> fan), children & ((1 << fan) - 1)
        table[rows, slots] = spans[height - 1]
        words.append(table)
    writes = [
        (int(address), image_bytes(row, geometry.prefix))
        for span, rows in zip(reversed(spans), reversed(words), strict=True)
        for address, row in zip(span, rows, strict=True)
    ]
    return int(addresses[0]), writes
