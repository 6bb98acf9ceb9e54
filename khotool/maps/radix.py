"""The radix tree of preserved blocks: kho-v2 and later.

An interior node is a page of child addresses; a leaf is a page of bits. The key of a block has a
marker bit for its order above the shifted page frame number, so that one tree holds all orders.
"""

from __future__ import annotations

from collections.abc import Callable

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
from khotool.maps.preserved import PreservedMap, ReadPages
from khotool.pages.bitmaps import Runs, image_bytes, lay_out, runs_of_bits
from khotool.pages.blocks import Blocks
from khotool.pages.runs import merge_columns

Allocate = Callable[[int], NDArray[np.uint64]]
"""Number of pages -> their physical addresses uint64 (n,) in bytes, page aligned."""

MOST_ORDER = 13
"""Largest page order that any kernel's allocator knows."""


def tree_depth(page_shift: int, *, marker: bool = True) -> int:
    """Levels of the tree, the leaves included (``KHO_TREE_MAX_DEPTH``): 6, 5, 4 for 4, 16, 64 KiB.

    Args:
        marker: the marker bit of order 0 counts; up to 7.1-rc5 it did not, which makes one level
            less for 16 KiB pages, and keys that lose it.
    """
    width = 64 - page_shift - leaf_bits(page_shift) + marker
    return -(-width // table_bits(page_shift)) + 1


def key_width(page_shift: int, depth: int) -> int:
    """Key bits that a tree of ``depth`` levels has room for."""
    return leaf_bits(page_shift) + (depth - 1) * table_bits(page_shift)


def key_of(address: int, order: int, page_shift: int) -> int:
    """Key of the block of ``order`` at physical ``address`` in bytes."""
    return 1 << (64 - page_shift - order) | address >> (page_shift + order)


def walk(
    read_pages: ReadPages,
    root: int,
    *,
    geometry: Geometry,
    limits: Limits,
    depth: int | None = None,
) -> PreservedMap:
    """Decode the tree, level by level; every node is read once however often it is named.

    Problems: ``null-root``, ``unaligned-root``, ``unaligned-child``, ``missing-node``,
    ``shared-node`` (a node reached again is not walked again), ``bad-key`` (no order is encoded in
    the key of a set bit), ``lost-marker`` (a tree without room for the marker of order 0: keys of
    no sane order are taken for it), ``limit`` (more nodes than ``limits.nodes``).

    Args:
        read_pages: reads whole pages.
        root: physical address in bytes of the root node.
        geometry: page size and byte order of the map.
        limits: ``nodes`` and ``bytes`` bound the pages read.
        depth: levels including the leaves; :func:`tree_depth` when None.

    Raises:
        ValueError: keys of a tree of this depth do not fit 63 bits.
    """
    return _Walk(read_pages, geometry, limits, depth).run(root)


class _Walk(NodeWalk):
    """State of one walk."""

    def __init__(
        self, read_pages: ReadPages, geometry: Geometry, limits: Limits, depth: int | None
    ) -> None:
        super().__init__(read_pages, geometry, limits)
        self.depth = _checked_depth(self.page_shift, depth)
        self.marker_lost = key_width(self.page_shift, self.depth) < 64 - self.page_shift + 1
        self.lost = 0

    def run(self, root: int) -> PreservedMap:
        """Walk from ``root`` down."""
        if root == 0:
            self.complete = False
            self.log.add("null-root", 0, "the map has no root")
        elif root % (1 << self.page_shift) or root >> 64:
            self.complete = False
            self.log.add("unaligned-root", root, f"root {root:#x} is not the address of a page")
        else:
            self.levels(root, self.depth)
        if self.lost:
            text = f"{self.lost} keys of order 0 have lost the bit that says so"
            self.log.add("lost-marker", root, text)
        return self.found("radix")

    def leaves(
        self, words: NDArray[np.uint64], address: NDArray[np.uint64], prefix: NDArray[np.uint64]
    ) -> None:
        """Decode leaves in ascending order of prefix."""
        key = prefix.astype(np.int64) << leaf_bits(self.page_shift)
        top = 1 << (64 - self.page_shift + 1)
        valid = key < top
        if not bool(valid.all()):
            self._report_keys(words[~valid], address[~valid])
        words, address, key = words[valid], address[valid], key[valid]
        if key.size and key[0] == 0:
            # The first leaf alone holds several orders; keys 0 and 1 encode none.
            self._report_keys(words[:1, :1] & np.uint64(3), address[:1])
            first = words[:1].copy()
            first[0, 0] &= ~np.uint64(3)
            self._add(_split_at_powers(runs_of_bits(first[0])))
            words, key = words[1:], key[1:]
        if not self.marker_lost:
            # From the marker bit of order 0 on, a key is a page frame.
            single = np.int64(1) << (64 - self.page_shift)
            larger = int(np.searchsorted(key, single))
            if larger < key.size:
                pages = Blocks.from_words(key[larger:] - single, words[larger:], self.page_shift)
                self.parts.append(pages)
            words, key = words[:larger], key[:larger]
        if key.size:
            self._add(_split_at_powers(runs_of_bits(*lay_out(words, key))))

    def _report_keys(self, words: NDArray[np.uint64], address: NDArray[np.uint64]) -> None:
        count = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
        bad = np.flatnonzero(count)
        self.log.add_many(
            "bad-key",
            bad.size,
            lambda i: (
                int(address[bad[i]]),
                f"{int(count[bad[i]])} bits of leaf {int(address[bad[i]]):#x} encode no order",
            ),
        )

    def _add(self, keys: Runs) -> None:
        """Take runs of keys, each of one order."""
        marker = _marker_bit(keys[:, 0])
        order = 64 - self.page_shift - marker
        if self.marker_lost:
            # No block has such an order: what is left of the key is a page frame number.
            lost = order > MOST_ORDER
            self.lost += int((keys[lost, 1] - keys[lost, 0]).sum())
            order = np.where(lost, 0, order)
        # The marker leaves through the top.
        start = keys[:, 0].astype(np.uint64) << (order + self.page_shift).astype(np.uint64)
        self.parts.append(Blocks.from_runs(start, keys[:, 1] - keys[:, 0], order, self.page_shift))


def _checked_depth(page_shift: int, depth: int | None) -> int:
    levels = tree_depth(page_shift) if depth is None else depth
    if levels < 2 or key_width(page_shift, levels) > 63:
        raise ValueError(f"a tree of {levels} levels is impossible with page_shift {page_shift}")
    return levels


def _marker_bit(keys: Runs) -> NDArray[np.int64]:
    """Highest set bit of keys below 2**53, which a float holds exactly."""
    return np.frexp(keys.astype(np.float64))[1].astype(np.int64) - 1


def _split_at_powers(runs: Runs) -> Runs:
    """Cut runs of keys where the marker bit changes; runs are non-empty and above key 0."""
    low, high = _marker_bit(runs[:, 0]), _marker_bit(runs[:, 1] - 1)
    if bool((low == high).all()):
        return runs
    count = high - low + 1
    row = np.repeat(np.arange(count.size), count)
    marker = low[row] + np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
    start = np.maximum(runs[row, 0], np.int64(1) << marker)
    return np.stack([start, np.minimum(runs[row, 1], np.int64(2) << marker)], axis=1)


def build(
    blocks: Blocks,
    *,
    geometry: Geometry,
    allocate: Allocate,
    depth: int | None = None,
    limits: Limits | None = None,
) -> tuple[int, NDArray[np.uint64], NDArray[np.uint8]]:
    """Make the tree of ``blocks``; the exact inverse of :func:`walk`.

    Pages are taken from ``allocate`` in the order in which the kernel takes them when keys are
    inserted in ascending order: the root first, then every node before what lies below it.

    Args:
        blocks: what the tree holds.
        geometry: page size, that of ``blocks``, and byte order of the map.
        allocate: called once, with the number of pages.
        depth: levels including the leaves; :func:`tree_depth` when None. Key bits above a
            shallower tree are lost, as they were in the kernels that had one.
        limits: ``nodes`` bounds the pages made.

    Returns:
        Physical address of the root in bytes; addresses uint64 (n,) and contents uint8 (n, page)
        of all pages, in the order of allocation.

    Raises:
        EncodeError: the blocks need more pages than the limit.
        ValueError: page sizes differ, or the depth is impossible.
    """
    page_shift = geometry.page_shift
    levels = _checked_depth(page_shift, depth)
    if blocks.page_shift != page_shift:
        raise ValueError("the page size of the blocks differs")
    bits, fan = leaf_bits(page_shift), table_bits(page_shift)
    keys = _keys(blocks, key_width(page_shift, levels))
    most = (limits or Limits()).nodes
    leaf = leaves_of(keys, bits, most)
    prefixes = levels_above(leaf, levels, fan, most)
    # A tree of nothing has its root.
    prefixes[-1] = np.zeros(1, np.int64)
    total = sum(level.size for level in prefixes)

    # A node is made when the first key below it arrives: before its children, after all nodes
    # that lead to smaller keys only.
    first_leaf = [
        np.searchsorted(leaf, level << (fan * height)) for height, level in enumerate(prefixes)
    ]
    height_of = np.concatenate([np.full(p.size, h, np.int64) for h, p in enumerate(prefixes)])
    arrival = np.lexsort((-height_of, np.concatenate(first_leaf)))
    place = np.empty(total, np.int64)
    place[arrival] = np.arange(total)
    addresses = np.asarray(allocate(total), np.uint64)

    words = np.zeros((total, geometry.page_size // 8), np.uint64)
    begin = 0
    for height, level in enumerate(prefixes):
        own = place[begin : begin + level.size]
        if height == 0:
            words[own] = leaf_words(keys, leaf, bits)
        else:
            children = prefixes[height - 1]
            up = own[np.searchsorted(level, children >> fan)]
            below = place[begin - children.size : begin]
            words[up, children & ((1 << fan) - 1)] = addresses[below]
        begin += level.size
    return int(addresses[0]), addresses, image_bytes(words, geometry.prefix).reshape(total, -1)


def _keys(blocks: Blocks, width: int) -> Runs:
    """Runs of keys of ``blocks``, ascending and disjoint, cut to ``width`` bits."""
    order = blocks.order.astype(np.int64)
    index = blocks.first_frame >> order
    if index.size and int((index + blocks.count).max()) > 1 << width:
        raise EncodeError("/", f"a preserved block does not fit keys of {width} bits")
    marker = np.int64(1) << (64 - blocks.page_shift - order)
    start = marker % (1 << width) + index
    return np.stack(merge_columns(start, start + blocks.count), axis=1)
