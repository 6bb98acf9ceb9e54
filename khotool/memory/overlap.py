"""Disjoint pieces out of ranges that may overlap."""

from __future__ import annotations

import heapq
from itertools import pairwise

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
Index = npt.NDArray[np.int64]


def disjoint(starts: U64, ends: U64) -> tuple[U64, U64, Index, int]:
    """Cut ranges into disjoint pieces; where several cover an address, the earliest given wins.

    Args:
        starts: shape (n,), first byte of each range.
        ends: shape (n,), first byte after each range; every range holds at least one byte.

    Returns:
        Starts and ends of the pieces in ascending order, the index of the range each piece
        belongs to, and the number of neighbours that overlap. O(n log n) for any input.
    """
    order = np.argsort(starts, kind="stable").astype(np.int64)
    first, last = starts[order], ends[order]
    reach = np.maximum.accumulate(last)
    overlapping = int(np.count_nonzero(first[1:] < reach[:-1])) if len(first) > 1 else 0
    if not overlapping:
        return first, last, order, 0

    rank = order.tolist()
    begin: list[int] = first.tolist()
    stop: list[int] = ends.tolist()
    edges: list[int] = np.unique(np.concatenate([starts, ends])).tolist()
    active: list[int] = []
    taken = 0
    pieces: list[tuple[int, int, int]] = []
    for edge, following in pairwise(edges):
        while taken < len(begin) and begin[taken] == edge:
            heapq.heappush(active, rank[taken])
            taken += 1
        while active and stop[active[0]] <= edge:
            heapq.heappop(active)
        if not active:
            continue
        owner = active[0]
        if pieces and pieces[-1][2] == owner and pieces[-1][1] == edge:
            pieces[-1] = (pieces[-1][0], following, owner)
        else:
            pieces.append((edge, following, owner))
    return (
        np.array([piece[0] for piece in pieces], dtype=np.uint64),
        np.array([piece[1] for piece in pieces], dtype=np.uint64),
        np.array([piece[2] for piece in pieces], dtype=np.int64),
        overlapping,
    )


def merged(starts: U64, ends: U64) -> U64:
    """Join disjoint ascending pieces that touch; shape (m, 2), half-open."""
    if not len(starts):
        return np.empty((0, 2), dtype=np.uint64)
    gap = starts[1:] != ends[:-1]
    first = starts[np.concatenate([[True], gap])]
    last = ends[np.concatenate([gap, [True]])]
    return np.stack([first, last], axis=1)
