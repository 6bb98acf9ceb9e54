"""The radix tree of preserved blocks: kho-v2 and later.

An interior node is a page of child addresses; a leaf is a page of bits. The key of a block has a
marker bit for its order above the shifted page frame number, so that one tree holds all orders.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from khotool.errors import EncodeError
from khotool.limits import Budget, Limits
from khotool.pages.blocks import Blocks
from khotool.pages.runs import merge_columns
from khotool.shapes.bits import Runs, bits_of_runs, image_bytes, lay_out, native_words, runs_of_bits
from khotool.shapes.preserved import MapPages, PageKind, PreservedMap, ProblemLog, ReadPages

Allocate = Callable[[int], NDArray[np.uint64]]
"""Number of pages -> their physical addresses uint64 (n,) in bytes, page aligned."""

# Nodes are read in batches of this many bytes.
_BATCH_BYTES = 16 << 20


def leaf_bits(page_shift: int) -> int:
    """Key bits that index the bits of one leaf."""
    return page_shift + 3


def table_bits(page_shift: int) -> int:
    """Key bits that index the children of one interior node."""
    return page_shift - 3


def tree_depth(page_shift: int) -> int:
    """Levels of the tree, the leaves included (``KHO_TREE_MAX_DEPTH``): 6, 5, 4 for 4, 16, 64 KiB.

    Before 7.1-rc6 it was 4 for 16 KiB pages.
    """
    width = 64 - page_shift - leaf_bits(page_shift) + 1
    return -(-width // table_bits(page_shift)) + 1


def key_of(address: int, order: int, page_shift: int) -> int:
    """Key of the block of ``order`` at physical ``address`` in bytes."""
    return 1 << (64 - page_shift - order) | address >> (page_shift + order)


def block_of_key(key: int, page_shift: int) -> tuple[int, int] | None:
    """Physical address in bytes and order of the block of ``key``; None where there is none."""
    order = 64 - page_shift - (key.bit_length() - 1)
    if key <= 0 or not 0 <= order <= 63 - page_shift:
        return None
    return (key << (page_shift + order)) % (1 << 64), order


def walk(
    read_pages: ReadPages,
    root: int,
    *,
    page_shift: int,
    byteorder: str,
    limits: Limits,
    depth: int | None = None,
) -> PreservedMap:
    """Decode the tree, level by level; every node is read once however often it is named.

    Problems: ``null-root``, ``unaligned-root``, ``unaligned-child``, ``missing-node``,
    ``shared-node`` (a node reached again is not walked again), ``bad-key`` (no order is encoded in
    the key of a set bit), ``limit`` (more nodes than ``limits.nodes``).

    Args:
        read_pages: reads whole pages.
        root: physical address in bytes of the root node.
        page_shift: log2 of the page size in bytes.
        byteorder: ``<`` or ``>``, byte order of child addresses and of bitmap words.
        limits: ``nodes`` and ``bytes`` bound the pages read.
        depth: levels including the leaves; :func:`tree_depth` when None.

    Raises:
        ValueError: keys of a tree of this depth do not fit 63 bits.
    """
    return _Walk(read_pages, page_shift, byteorder, limits, depth).run(root)


class _Walk:
    """State of one walk."""

    def __init__(
        self,
        read_pages: ReadPages,
        page_shift: int,
        byteorder: str,
        limits: Limits,
        depth: int | None,
    ) -> None:
        self.read_pages = read_pages
        self.page_shift = page_shift
        self.byteorder = byteorder
        self.depth = _checked_depth(page_shift, depth)
        self.budget = Budget(limits)
        self.log = ProblemLog()
        self.complete = True
        self.batch = max(1, _BATCH_BYTES >> page_shift)
        self.seen = np.zeros(0, np.uint64)
        self.pages: list[MapPages] = []
        self.rows = 0
        self.parts: list[Blocks] = []

    def run(self, root: int) -> PreservedMap:
        """Walk from ``root`` down."""
        if root == 0:
            self.complete = False
            self.log.add("null-root", 0, "the map has no root")
        elif root % (1 << self.page_shift) or not 0 < root < 1 << 64:
            self.complete = False
            self.log.add("unaligned-root", root, f"root {root:#x} is not the address of a page")
        else:
            self._levels(root)
        blocks = Blocks.join(self.parts, self.page_shift)
        pages = MapPages.join(self.pages)
        log = self.log
        return PreservedMap("radix", blocks, pages, log.kept, self.complete, log.counts)

    def _levels(self, root: int) -> None:
        nodes = np.array([root], np.uint64)
        prefix = np.zeros(1, np.uint64)
        parent = np.full(1, -1, np.int64)
        for level in range(self.depth - 1, -1, -1):
            nodes, prefix, parent = self._fresh(nodes, prefix, parent)
            below: list[tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]] = []
            for low in range(0, nodes.size, self.batch):
                part = slice(low, low + self.batch)
                data, ok = self.read_pages(nodes[part])
                self._report_missing(nodes[part][~ok])
                address, keys, words = (
                    nodes[part][ok],
                    prefix[part][ok],
                    native_words(data[ok], self.byteorder),
                )
                rows = self._remember(address, keys, parent[part][ok], level)
                if level:
                    below.append(self._children(words, address, keys, rows))
                else:
                    self._leaves(words, address, keys)
            if not below:
                return
            nodes, prefix, parent = (
                np.concatenate([part[0] for part in below]),
                np.concatenate([part[1] for part in below]),
                np.concatenate([part[2] for part in below]),
            )

    def _fresh(
        self, nodes: NDArray[np.uint64], prefix: NDArray[np.uint64], parent: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
        """The nodes that were not reached before, each once, within the limits."""
        distinct, first = np.unique(nodes, return_index=True)
        first = first[~np.isin(distinct, self.seen, assume_unique=True)]
        if first.size < nodes.size:
            again = np.ones(nodes.size, bool)
            again[first] = False
            shared = nodes[again]
            self.complete = False
            self.log.add_many(
                "shared-node",
                shared.size,
                lambda i: (int(shared[i]), f"node {int(shared[i]):#x} is reached a second time"),
            )
        self.seen = np.union1d(self.seen, distinct)
        first.sort()
        allowed = min(
            self.budget.limits.nodes - self.budget.nodes,
            (self.budget.limits.bytes - self.budget.bytes) >> self.page_shift,
        )
        if first.size > allowed:
            self.complete = False
            self.log.add(
                "limit", int(nodes[first[allowed]]), f"{first.size - allowed} nodes are not read"
            )
            first = first[:allowed]
        self.budget.spend(first.size, first.size << self.page_shift)
        return nodes[first], prefix[first], parent[first]

    def _report_missing(self, missing: NDArray[np.uint64]) -> None:
        if missing.size:
            self.complete = False
            self.log.add_many(
                "missing-node",
                missing.size,
                lambda i: (int(missing[i]), f"node {int(missing[i]):#x} is not captured"),
            )

    def _remember(
        self,
        address: NDArray[np.uint64],
        prefix: NDArray[np.uint64],
        parent: NDArray[np.int64],
        level: int,
    ) -> NDArray[np.int64]:
        """Record nodes that were read; returns their rows in the list of pages."""
        count = address.size
        kind = PageKind.INTERIOR if level else PageKind.LEAF
        self.pages.append(
            MapPages(
                address,
                np.full(count, kind, np.uint8),
                np.full(count, level, np.uint8),
                prefix,
                parent,
                np.full(count, 1 << self.page_shift, np.uint32),
            )
        )
        self.rows += count
        return np.arange(self.rows - count, self.rows, dtype=np.int64)

    def _children(
        self,
        words: NDArray[np.uint64],
        address: NDArray[np.uint64],
        prefix: NDArray[np.uint64],
        rows: NDArray[np.int64],
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
        """Addresses, prefixes and parent rows of the aligned children of interior nodes."""
        node, slot = (words != 0).nonzero()
        child = words[node, slot]
        low = child & np.uint64((1 << self.page_shift) - 1)
        bad = np.flatnonzero(low)
        if bad.size:
            self.complete = False
            self.log.add_many(
                "unaligned-child",
                bad.size,
                lambda i: (
                    int(address[node[bad[i]]]),
                    f"entry {int(slot[bad[i]])} of node {int(address[node[bad[i]]]):#x} is "
                    f"{int(child[bad[i]]):#x}, not the address of a page",
                ),
            )
            good = low == 0
            node, slot, child = node[good], slot[good], child[good]
        shift = np.uint64(table_bits(self.page_shift))
        return child, (prefix[node] << shift) | slot.astype(np.uint64), rows[node]

    def _leaves(
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
            if int(words[0, 0]) & 3:
                self._report_keys(words[:1, :1] & np.uint64(3), address[:1])
            first = words[:1].copy()
            first[0, 0] &= ~np.uint64(3)
            self._add(_split_at_powers(runs_of_bits(first[0])))
            words, key = words[1:], key[1:]
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
        frame = (keys[:, 0] - (np.int64(1) << marker)) << order
        start = frame.astype(np.uint64) << np.uint64(self.page_shift)
        self.parts.append(Blocks.from_runs(start, keys[:, 1] - keys[:, 0], order, self.page_shift))


def _checked_depth(page_shift: int, depth: int | None) -> int:
    levels = tree_depth(page_shift) if depth is None else depth
    if levels < 2 or leaf_bits(page_shift) + (levels - 1) * table_bits(page_shift) > 63:
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
    page_shift: int,
    byteorder: str,
    allocate: Allocate,
    depth: int | None = None,
    limits: Limits | None = None,
) -> tuple[int, NDArray[np.uint64], NDArray[np.uint8]]:
    """Make the tree of ``blocks``; the exact inverse of :func:`walk`.

    Pages are taken from ``allocate`` in the order in which the kernel takes them when keys are
    inserted in ascending order: the root first, then every node before what lies below it.

    Args:
        blocks: what the tree holds.
        page_shift: log2 of the page size in bytes, that of ``blocks``.
        byteorder: ``<`` or ``>``, byte order of child addresses and of bitmap words.
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
    levels = _checked_depth(page_shift, depth)
    if blocks.page_shift != page_shift:
        raise ValueError("the blocks have another page size")
    bits, fan = leaf_bits(page_shift), table_bits(page_shift)
    keys = _keys(blocks, bits + (levels - 1) * fan)
    most = (limits or Limits()).nodes
    leaf = _leaves_of(keys, bits, most)
    prefixes = [leaf]
    for _ in range(levels - 1):
        prefixes.append(np.unique(prefixes[-1] >> fan))
    prefixes[-1] = np.zeros(1, np.int64)
    total = sum(level.size for level in prefixes)
    if total > most:
        raise EncodeError("/", f"the map of preserved memory needs {total} pages; {most} allowed")

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

    page = 1 << page_shift
    words = np.zeros((total, page // 8), np.uint64)
    begin = 0
    for height, level in enumerate(prefixes):
        own = place[begin : begin + level.size]
        if height == 0:
            words[own] = _leaf_words(keys, leaf, bits)
        else:
            children = prefixes[height - 1]
            up = own[np.searchsorted(level, children >> fan)]
            below = place[begin - children.size : begin]
            words[up, children & ((1 << fan) - 1)] = addresses[below]
        begin += level.size
    return int(addresses[0]), addresses, image_bytes(words, byteorder).reshape(total, page)


def _keys(blocks: Blocks, width: int) -> Runs:
    """Runs of keys of ``blocks``, ascending and disjoint, cut to ``width`` bits."""
    order = blocks.order.astype(np.int64)
    index = blocks.first_frame >> order
    if index.size and int((index + blocks.count).max()) > 1 << width:
        raise EncodeError("/", f"a preserved block does not fit keys of {width} bits")
    marker = np.int64(1) << (64 - blocks.page_shift - order)
    start = (marker & np.int64((1 << width) - 1)) + index
    return np.stack(merge_columns(start, start + blocks.count), axis=1)


def _leaves_of(keys: Runs, bits: int, most: int) -> NDArray[np.int64]:
    """Ascending numbers of the leaves that hold ``keys``."""
    first, last = keys[:, 0] >> bits, (keys[:, 1] - 1) >> bits
    # Neighbouring runs may share a leaf: the second counts only from the next leaf on.
    first[1:] = np.maximum(first[1:], last[:-1] + 1)
    count = np.maximum(last - first + 1, 0)
    total = int(np.minimum(count, most + 1).sum())
    if total > most:
        raise EncodeError("/", f"the map of preserved memory needs more than {most} pages")
    skipped = np.cumsum(count) - count
    leaves: NDArray[np.int64] = np.repeat(first - skipped, count) + np.arange(total)
    return leaves


def _leaf_words(keys: Runs, leaf: NDArray[np.int64], bits: int) -> NDArray[np.uint64]:
    """Bitmaps uint64 (leaves, words) of runs of keys."""
    place = np.searchsorted(leaf, keys[:, 0] >> bits)
    start = (place << bits) | (keys[:, 0] & ((1 << bits) - 1))
    runs = np.stack([start, start + (keys[:, 1] - keys[:, 0])], axis=1)
    return bits_of_runs(runs, leaf.size << bits).reshape(leaf.size, 1 << (bits - 6))
