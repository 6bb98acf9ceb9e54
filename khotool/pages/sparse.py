"""Owners of memory that has no slots: claims and blocks as intervals, sorted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from khotool.pages.claims import union_per_owner
from khotool.pages.frames import Runs
from khotool.pages.layers import Segments, segments
from khotool.pages.runs import gap_columns, intersect_columns, merge_columns
from khotool.pages.tables import (
    DoubleOwned,
    OwnedRanges,
    UnpreservedRanges,
    frame_bytes,
    joints,
)
from khotool.records import dataclass

Frames = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SparseOwners:
    """Owners of some memory.

    Args:
        ranges: preserved pages.
        unpreserved: claimed pages that are not preserved.
        double_owned: preserved pages with several owners.
        owner, first, past: the claims, widened to whole blocks, in page frames.
        layers: the claims, cut where their owners change.
    """

    ranges: OwnedRanges
    unpreserved: UnpreservedRanges
    double_owned: DoubleOwned
    owner: Frames
    first: Frames
    past: Frames
    layers: Segments

    def owners_of(self, frame: int) -> list[int]:
        """Indices of all owners of a page, ascending."""
        found = self.layers
        row = int(np.searchsorted(found.start, frame, side="right")) - 1
        if row < 0 or frame >= int(found.end[row]):
            return []
        first, second = int(found.first[row]), int(found.second[row])
        if int(found.owners[row]) <= 2:
            return [first] if first == second else [first, second]
        inside = (self.first <= frame) & (self.past > frame)
        return [int(owner) for owner in self.owner[inside].tolist()]


def sparse_owners(
    blocks: Runs,
    claims: tuple[Frames, Frames, Frames],
    hidden: tuple[Frames, Frames],
    expected_outside: NDArray[np.bool_],
    page_shift: int,
) -> SparseOwners:
    """Match claims against blocks, O(n log n) in the number of both, whatever they overlap.

    Args:
        blocks: disjoint, ascending.
        claims: owner, first page frame number, page frame number past the end; int64 (n,) each.
        hidden: ascending, disjoint page frames that something else looks after.
        expected_outside: per owner, whether its pages need not be preserved.
        page_shift: log2 of the page size in bytes.
    """
    owner, first, past = _whole_blocks(blocks, *union_per_owner(*claims))
    layers = segments(owner, first, past)
    start, end, at, run = intersect_columns(layers.start, layers.end, blocks.first, blocks.past)
    doubles = doubles_of(layers, start, end, at, page_shift)
    whose = layers.first[at]
    if int((end - start).sum()) < int((blocks.past - blocks.first).sum()):
        start, end, whose, run = _with_unowned(blocks, layers, start, end, whose, run, page_shift)
    ranges = _ranges(blocks, start, end, whose, run, page_shift)
    known = merge_columns(
        np.concatenate([blocks.first, hidden[0]]), np.concatenate([blocks.past, hidden[1]])
    )
    unpreserved = _unpreserved(known, layers, owner, first, past, expected_outside, page_shift)
    return SparseOwners(ranges, unpreserved, doubles, owner, first, past, layers)


def _whole_blocks(
    blocks: Runs, owner: Frames, first: Frames, past: Frames
) -> tuple[Frames, Frames, Frames]:
    """Widen ranges to the blocks they touch at their ends, and merge them again per owner."""
    if len(blocks) == 0 or first.size == 0:
        return owner, first, past
    order = blocks.order
    if int(order.max()) == 0:
        return owner, first, past
    begin, stop = blocks.first, blocks.past
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
    blocks: Runs,
    layers: Segments,
    start: Frames,
    end: Frames,
    owner: Frames,
    run: Frames,
    page_shift: int,
) -> tuple[Frames, Frames, Frames, Frames]:
    """The owned pieces given, and with owner -1 what lies between them, ascending."""
    free_start, free_end = _outside(layers.start, layers.end, page_shift)
    free_start, free_end, _, free_run = intersect_columns(
        free_start, free_end, blocks.first, blocks.past
    )
    start = np.concatenate([start, free_start])
    end = np.concatenate([end, free_end])
    owner = np.concatenate([owner, np.full(free_start.size, -1, np.int64)])
    run = np.concatenate([run, free_run])
    del free_start, free_end, free_run
    # Two ascending lists one after the other: a stable sort only merges them.
    row = np.argsort(start, kind="stable")
    return start[row], end[row], owner[row], run[row]


def _ranges(
    blocks: Runs, start: Frames, end: Frames, owner: Frames, run: Frames, page_shift: int
) -> OwnedRanges:
    """Ascending pieces of runs, joined where order and owner stay the same."""
    order = blocks.order[run].astype(np.uint8)
    head, tail = joints(start, end, (owner, order))
    return OwnedRanges(
        frame_bytes(start[head], page_shift),
        end[tail] - start[head],
        order[head],
        owner[head].astype(np.int32),
    )


def doubles_of(
    layers: Segments, start: Frames, end: Frames, at: Frames, page_shift: int
) -> DoubleOwned:
    """Pieces of layers that several owners cover; ``at`` is the row of the layer of each."""
    several = np.flatnonzero(layers.owners[at] > 1)
    start, end, at = start[several], end[several], at[several]
    first, second, count = layers.first[at], layers.second[at], layers.owners[at]
    head, tail = joints(start, end, (first, second, count))
    return DoubleOwned(
        frame_bytes(start[head], page_shift),
        end[tail] - start[head],
        first[head].astype(np.int32),
        second[head].astype(np.int32),
        count[head],
    )


def _unpreserved(
    known: tuple[Frames, Frames],
    layers: Segments,
    owner: Frames,
    first: Frames,
    past: Frames,
    outside: NDArray[np.bool_],
    page_shift: int,
) -> UnpreservedRanges:
    """Pages of owners that belong inside the map, and are not in it."""
    gaps = _outside(*known, page_shift)
    start, end, at, _ = intersect_columns(layers.start, layers.end, *gaps)
    hidden = outside[layers.first[at]]
    if bool((layers.owners[at][hidden] > 1).any()):
        # Behind an owner that is expected outside there may be one that is not.
        inside = ~outside[owner]
        layers = segments(owner[inside], first[inside], past[inside])
        start, end, at, _ = intersect_columns(layers.start, layers.end, *gaps)
    else:
        start, end, at = start[~hidden], end[~hidden], at[~hidden]
    head, tail = joints(start, end, (layers.first[at],))
    return UnpreservedRanges(
        frame_bytes(start[head], page_shift),
        end[tail] - start[head],
        layers.first[at][head].astype(np.int32),
    )


def _outside(start: Frames, end: Frames, page_shift: int) -> tuple[Frames, Frames]:
    """Gaps between disjoint, ascending ranges, over all page frames."""
    if start.size > 1:
        gap = start[1:] > end[:-1]
        start, end = start[np.append(True, gap)], end[np.append(gap, True)]
    return gap_columns(start, end, 0, 1 << (64 - page_shift))
