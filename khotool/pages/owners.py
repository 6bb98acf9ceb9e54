"""Who owns each preserved page, and which claims lie outside what is preserved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from khotool.pages.blocks import Blocks
from khotool.pages.claims import Claims, ClaimsBuilder, per_owner
from khotool.pages.layers import Segments, segments
from khotool.pages.runs import gap_columns, intersect_columns

__all__ = [
    "Claims",
    "ClaimsBuilder",
    "DoubleOwned",
    "OwnedRanges",
    "Ownership",
    "UnpreservedRanges",
    "find_owners",
]

Frames = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class OwnedRanges:
    """Preserved ranges, ascending; neighbours differ in order or owner.

    Where blocks overlap, a page counts once, with the order of the largest block.

    Args:
        start: uint64, physical address in bytes.
        pages: int64, number of pages.
        order: uint8, page order of the blocks.
        owner: int32, index of the owner, -1 for none; of several owners the lowest index.
    """

    start: NDArray[np.uint64]
    pages: NDArray[np.int64]
    order: NDArray[np.uint8]
    owner: NDArray[np.int32]

    def __len__(self) -> int:
        return int(self.start.size)


@dataclass(frozen=True, slots=True, eq=False)
class UnpreservedRanges:
    """Pages that are claimed and not preserved, ascending.

    Args:
        start: uint64, physical address in bytes.
        pages: int64, number of pages.
        owner: int32, index of the owner; of several owners the lowest index.
    """

    start: NDArray[np.uint64]
    pages: NDArray[np.int64]
    owner: NDArray[np.int32]

    def __len__(self) -> int:
        return int(self.start.size)


@dataclass(frozen=True, slots=True, eq=False)
class DoubleOwned:
    """Preserved pages with two owners or more, ascending.

    Args:
        start: uint64, physical address in bytes.
        pages: int64, number of pages.
        first: int32, lowest index among the owners.
        second: int32, highest index among the owners.
        owners: int64, number of owners.
    """

    start: NDArray[np.uint64]
    pages: NDArray[np.int64]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    owners: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.start.size)

    def pairs(self) -> list[tuple[int, int]]:
        """Distinct (lowest, highest) owners, ascending."""
        both = np.unique(np.stack([self.first, self.second], axis=1), axis=0)
        return [(int(first), int(second)) for first, second in both.tolist()]


@dataclass(frozen=True, slots=True, eq=False)
class Ownership:
    """Result of :func:`find_owners`.

    Args:
        blocks: what is preserved.
        owners: paths of the owners; indices everywhere here point into it.
        ranges: all preserved pages with their owner.
        unpreserved: claimed pages that are not preserved, save those of owners expected outside.
        double_owned: preserved pages with several owners.
        preserved_pages: number of distinct preserved pages.
        owned_pages: of these, pages with an owner.
        unowned_pages: of these, pages without one.
        unpreserved_pages: number of distinct pages in ``unpreserved``.
        double_owned_pages: number of pages in ``double_owned``.
    """

    blocks: Blocks
    owners: list[str]
    ranges: OwnedRanges
    unpreserved: UnpreservedRanges
    double_owned: DoubleOwned
    preserved_pages: int
    owned_pages: int
    unowned_pages: int
    unpreserved_pages: int
    double_owned_pages: int
    _owner: Frames
    _first: Frames
    _past: Frames
    _segments: Segments

    def owners_of(self, address: int) -> list[int]:
        """Indices of all owners of the page at a physical address in bytes, ascending.

        A claim on part of a block owns the whole block. Pages that are claimed and not preserved
        have owners too.
        """
        frame = address >> self.blocks.page_shift
        found = self._segments
        if not 0 <= address < 1 << 64 or not len(found):
            return []
        row = int(np.searchsorted(found.start, frame, side="right")) - 1
        if row < 0 or frame >= int(found.end[row]):
            return []
        first, second = int(found.first[row]), int(found.second[row])
        if int(found.owners[row]) <= 2:
            return [first] if first == second else [first, second]
        inside = (self._first <= frame) & (self._past > frame)
        return [int(owner) for owner in self._owner[inside].tolist()]

    def pages_per_owner(self) -> NDArray[np.int64]:
        """Number of preserved pages each owner has, int64 (owners,); shared pages count for all."""
        outer = self.blocks.outermost
        pages = _preserved_below(outer, self._past) - _preserved_below(outer, self._first)
        result = np.zeros(len(self.owners), np.int64)
        np.add.at(result, self._owner, pages)
        return result


def find_owners(blocks: Blocks, claims: Claims) -> Ownership:
    """Match claims against preserved blocks.

    A claim on any byte of a block owns the whole block: it is the smallest thing the kernel can
    give back. Where blocks overlap, that is the largest block around the byte.

    O(n log n) in the number of runs and claims, whatever they overlap.
    """
    outer = blocks.outermost
    owner, first, past = _whole_blocks(outer, *per_owner(claims, blocks.page_shift))
    layers = segments(owner, first, past)
    start, end, at, run = intersect_columns(
        layers.start, layers.end, outer.first_frame, outer.last_frame
    )
    preserved_pages = int((outer.last_frame - outer.first_frame).sum())
    owned_pages = int((end - start).sum())
    doubles = _doubles(layers, start, end, at, blocks.page_shift)
    whose = layers.first[at]
    del at
    if owned_pages < preserved_pages:
        start, end, whose, run = _with_unowned(outer, layers, start, end, whose, run)
    ranges = _ranges(outer, start, end, whose, run)
    del start, end, whose, run
    if owned_pages < int((layers.end - layers.start).sum()):
        outside = _expected_outside(claims)
        unpreserved = _unpreserved(outer, layers, owner, first, past, outside)
    else:
        none = np.zeros(0, np.int64)
        unpreserved = UnpreservedRanges(none.astype(np.uint64), none, none.astype(np.int32))
    return Ownership(
        blocks,
        claims.owners,
        ranges,
        unpreserved,
        doubles,
        preserved_pages,
        owned_pages,
        preserved_pages - owned_pages,
        int(unpreserved.pages.sum()),
        int(doubles.pages.sum()),
        owner,
        first,
        past,
        layers,
    )


def _whole_blocks(
    outer: Blocks, owner: Frames, first: Frames, past: Frames
) -> tuple[Frames, Frames, Frames]:
    """Widen ranges to the blocks they touch at their ends, and merge them again per owner."""
    if len(outer) == 0 or first.size == 0:
        return owner, first, past
    order = outer.order.astype(np.int64)
    if int(order.max()) == 0:
        return owner, first, past
    begin, stop = outer.first_frame, outer.last_frame
    row = np.searchsorted(begin, first, side="right") - 1
    size = np.where((row >= 0) & (first < stop[row]), order[row], 0)
    first = (first >> size) << size
    row = np.searchsorted(begin, past - 1, side="right") - 1
    size = np.where((row >= 0) & (past - 1 < stop[row]), order[row], 0)
    past = (((past - 1) >> size) + 1) << size
    new = (owner[1:] != owner[:-1]) | (first[1:] > past[:-1])
    head, tail = np.append(True, new), np.append(new, True)
    return owner[head], first[head], past[tail]


def _with_unowned(
    outer: Blocks, layers: Segments, start: Frames, end: Frames, owner: Frames, run: Frames
) -> tuple[Frames, Frames, Frames, Frames]:
    """The owned pieces given, and with owner -1 what lies between them, ascending."""
    free_start, free_end = _outside(layers.start, layers.end, outer.page_shift)
    free_start, free_end, _, free_run = intersect_columns(
        free_start, free_end, outer.first_frame, outer.last_frame
    )
    start = np.concatenate([start, free_start])
    end = np.concatenate([end, free_end])
    owner = np.concatenate([owner, np.full(free_start.size, -1, np.int64)])
    run = np.concatenate([run, free_run])
    del free_start, free_end, free_run
    # Two ascending lists one after the other: a stable sort only merges them.
    row = np.argsort(start, kind="stable")
    return start[row], end[row], owner[row], run[row]


def _ranges(outer: Blocks, start: Frames, end: Frames, owner: Frames, run: Frames) -> OwnedRanges:
    """Ascending pieces of runs, joined where order and owner stay the same."""
    order = outer.order[run]
    head, tail = _joints(start, end, (owner, order))
    return OwnedRanges(
        _bytes(start[head], outer.page_shift),
        end[tail] - start[head],
        order[head],
        owner[head].astype(np.int32),
    )


def _doubles(
    layers: Segments, start: Frames, end: Frames, at: Frames, page_shift: int
) -> DoubleOwned:
    several = np.flatnonzero(layers.owners[at] > 1)
    start, end, at = start[several], end[several], at[several]
    first, second, count = layers.first[at], layers.second[at], layers.owners[at]
    head, tail = _joints(start, end, (first, second, count))
    return DoubleOwned(
        _bytes(start[head], page_shift),
        end[tail] - start[head],
        first[head].astype(np.int32),
        second[head].astype(np.int32),
        count[head],
    )


def _unpreserved(
    outer: Blocks,
    layers: Segments,
    owner: Frames,
    first: Frames,
    past: Frames,
    outside: NDArray[np.bool_],
) -> UnpreservedRanges:
    """Pages claimed by owners that belong inside the map, and not in it."""
    gaps = _outside(outer.first_frame, outer.last_frame, outer.page_shift)
    start, end, at, _ = intersect_columns(layers.start, layers.end, *gaps)
    hidden = outside[layers.first[at]]
    if bool((layers.owners[at][hidden] > 1).any()):
        # Behind an owner that is expected outside there may be one that is not.
        inside = ~outside[owner]
        layers = segments(owner[inside], first[inside], past[inside])
        start, end, at, _ = intersect_columns(layers.start, layers.end, *gaps)
    else:
        start, end, at = start[~hidden], end[~hidden], at[~hidden]
    head, tail = _joints(start, end, (layers.first[at],))
    return UnpreservedRanges(
        _bytes(start[head], outer.page_shift),
        end[tail] - start[head],
        layers.first[at][head].astype(np.int32),
    )


def _expected_outside(claims: Claims) -> NDArray[np.bool_]:
    """Per owner; an owner named twice is expected outside if any of its entries says so."""
    paths = {
        path
        for path, out in zip(claims.owners, claims.expected_outside.tolist(), strict=True)
        if out
    }
    return np.array([path in paths for path in claims.owners], bool)


def _outside(start: Frames, end: Frames, page_shift: int) -> tuple[Frames, Frames]:
    """Gaps between disjoint, ascending ranges, over all page frames."""
    if start.size > 1:
        gap = start[1:] > end[:-1]
        start, end = start[np.append(True, gap)], end[np.append(gap, True)]
    return gap_columns(start, end, 0, 1 << (64 - page_shift))


def _preserved_below(outer: Blocks, frame: Frames) -> Frames:
    """Number of preserved pages below each page frame number; ``outer`` is disjoint."""
    if len(outer) == 0:
        return np.zeros(frame.shape, np.int64)
    begin, stop = outer.first_frame, outer.last_frame
    before = np.cumsum(stop - begin) - (stop - begin)
    row = np.searchsorted(begin, frame, side="right") - 1
    inside = np.minimum(frame, stop[row]) - begin[row] + before[row]
    return np.where(row >= 0, inside, 0)


def _joints(
    start: Frames, end: Frames, values: tuple[NDArray[np.int64] | NDArray[np.uint8], ...]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which ascending ranges begin, and which end, a stretch without gap and with equal values."""
    new = start[1:] != end[:-1]
    for value in values:
        new |= value[1:] != value[:-1]
    return np.append(True, new)[: start.size], np.append(new, True)[: start.size]


def _bytes(frame: Frames, page_shift: int) -> NDArray[np.uint64]:
    return frame.astype(np.uint64) << np.uint64(page_shift)
