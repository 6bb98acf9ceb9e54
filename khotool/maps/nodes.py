"""Trees of pages: interior nodes full of addresses above leaves full of bits, level by level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from khotool.abi.geometry import Geometry
from khotool.errors import EncodeError
from khotool.limits import Budget, Limits
from khotool.maps.preserved import (
    MapLayout,
    MapPages,
    PageKind,
    PreservedMap,
    ProblemLog,
    ReadPages,
)
from khotool.pages.bitmaps import Runs, bits_of_runs, native_words
from khotool.pages.blocks import Blocks
from khotool.pages.runs import distinct

# Nodes are read in batches of this many bytes.
_BATCH_BYTES = 16 << 20


def leaf_bits(page_shift: int) -> int:
    """Index bits that select a bit of one leaf."""
    return page_shift + 3


def table_bits(page_shift: int) -> int:
    """Index bits that select a child of one interior node."""
    return page_shift - 3


class NodeWalk:
    """State of a walk over one or more trees; every node is read once however often it is named.

    Args:
        read_pages: reads whole pages.
        geometry: page size and byte order of the map.
        limits: ``nodes`` and ``bytes`` bound the pages read.
    """

    def __init__(self, read_pages: ReadPages, geometry: Geometry, limits: Limits) -> None:
        """Start with nothing read."""
        self.read_pages = read_pages
        self.page_shift = geometry.page_shift
        self.byteorder = geometry.prefix
        self.budget = Budget(limits)
        self.log = ProblemLog()
        self.complete = True
        self.batch = max(1, _BATCH_BYTES >> self.page_shift)
        self.seen = np.zeros(0, np.uint64)
        self.pages: list[MapPages] = []
        self.rows = 0
        self.parts: list[Blocks] = []

    def leaves(
        self, words: NDArray[np.uint64], address: NDArray[np.uint64], prefix: NDArray[np.uint64]
    ) -> None:
        """Take leaves, ascending by prefix: their words, addresses and index bits above them."""
        raise NotImplementedError

    def levels(self, root: int, depth: int, prefix: int = 0, parent: int = -1) -> None:
        """Read a tree of ``depth`` levels, the leaves included, from its root down.

        Args:
            prefix: of the root. parent: row of the page that names it.
        """
        nodes = np.array([root], np.uint64)
        prefixes = np.full(1, prefix, np.uint64)
        parents = np.full(1, parent, np.int64)
        for level in range(depth - 1, -1, -1):
            nodes, prefixes, parents = self.fresh(nodes, prefixes, parents)
            below: list[tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]] = []
            for low in range(0, nodes.size, self.batch):
                part = slice(low, low + self.batch)
                data, ok = self.read_pages(nodes[part])
                self._report_missing(nodes[part][~ok], level)
                address, keys, words = (
                    nodes[part][ok],
                    prefixes[part][ok],
                    native_words(data[ok], self.byteorder),
                )
                rows = self.remember(address, keys, parents[part][ok], level)
                if level:
                    below.append(self._children(words, address, keys, rows))
                else:
                    self.leaves(words, address, keys)
            if not below:
                return
            nodes, prefixes, parents = (
                np.concatenate([part[0] for part in below]),
                np.concatenate([part[1] for part in below]),
                np.concatenate([part[2] for part in below]),
            )

    def fresh(
        self, nodes: NDArray[np.uint64], prefix: NDArray[np.uint64], parent: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
        """The nodes that were not reached before, each once, within the limits."""
        new, first = np.unique(nodes, return_index=True)
        first = first[~np.isin(new, self.seen, assume_unique=True)]
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
        self.seen = distinct(np.concatenate([self.seen, new]))
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

    def _report_missing(self, missing: NDArray[np.uint64], level: int) -> None:
        if missing.size:
            self.complete = False
            self.log.add_many(
                "missing-node",
                missing.size,
                lambda i: (int(missing[i]), f"node {int(missing[i]):#x} is not captured"),
                level,
            )

    def remember(
        self,
        address: NDArray[np.uint64],
        prefix: NDArray[np.uint64],
        parent: NDArray[np.int64],
        level: int,
        kind: PageKind | None = None,
    ) -> NDArray[np.int64]:
        """Record nodes that were read; returns their rows in the list of pages."""
        count = address.size
        if kind is None:
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

    def found(self, layout: MapLayout) -> PreservedMap:
        """What was read."""
        blocks = Blocks.join(self.parts, self.page_shift)
        if blocks.clipped:
            self.log.add("out-of-range", 0, f"{blocks.clipped} blocks lie past the last address")
        pages = MapPages.join(self.pages)
        return PreservedMap(layout, blocks, pages, self.log.kept, self.complete, self.log.counts)


def too_many(most: int) -> EncodeError:
    """The error for a map of more pages, or bitmaps, than ``most``."""
    return EncodeError("/", f"the map of preserved memory needs more than {most} pages")


def leaves_of(runs: Runs, bits: int, most: int) -> NDArray[np.int64]:
    """Ascending numbers of the leaves of ``1 << bits`` bits that hold ascending runs.

    Raises:
        EncodeError: more than ``most``.
    """
    first, last = runs[:, 0] >> bits, (runs[:, 1] - 1) >> bits
    # Neighbouring runs may share a leaf: the second counts only from the next leaf on.
    first[1:] = np.maximum(first[1:], last[:-1] + 1)
    count = last - first + 1
    total = int(np.minimum(count, most + 1).sum())
    if total > most:
        raise too_many(most)
    skipped = np.cumsum(count) - count
    leaves: NDArray[np.int64] = np.repeat(first - skipped, count) + np.arange(total)
    return leaves


def leaf_words(runs: Runs, leaves: NDArray[np.int64], bits: int) -> NDArray[np.uint64]:
    """Bitmaps, uint64 (leaves, words), of ascending runs that ``leaves``, by number, hold."""
    place = np.searchsorted(leaves, runs[:, 0] >> bits)
    start = (place << bits) | (runs[:, 0] & ((1 << bits) - 1))
    dense = np.stack([start, start + (runs[:, 1] - runs[:, 0])], axis=1)
    return bits_of_runs(dense, leaves.size << bits).reshape(leaves.size, 1 << (bits - 6))


def levels_above(
    leaves: NDArray[np.int64], depth: int, fan: int, most: int
) -> list[NDArray[np.int64]]:
    """Ascending numbers of the nodes of each level of a tree, from its leaves up.

    Raises:
        EncodeError: more than ``most`` in all.
    """
    levels = [leaves]
    for _ in range(depth - 1):
        levels.append(distinct(levels[-1] >> fan))
    if sum(level.size for level in levels) > most:
        raise too_many(most)
    return levels
