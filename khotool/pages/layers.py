"""Overlapping ranges with owners, cut into disjoint segments that know who covers them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from khotool.pages.runs import Index, distinct
from khotool.records import dataclass

Frames = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Disjoint, ascending ranges of page frames, covered by the same owners throughout.

    Args:
        start: int64, first page frame number.
        end: int64, page frame number past the end.
        first: int64, lowest index among the owners.
        second: int64, highest index among the owners; equal to ``first`` for one owner.
        owners: int64, number of owners.
    """

    start: Frames
    end: Frames
    first: Frames
    second: Frames
    owners: Frames

    def __len__(self) -> int:
        return int(self.start.size)


def segments(owner: Frames, start: Frames, end: Frames) -> Segments:
    """Cut ranges of many owners where the set of owners changes.

    Args:
        owner: int64 (n,), index of the owner; its ranges are disjoint.
        start: int64 (n,), first page frame number.
        end: int64 (n,), page frame number past the end, above ``start``.

    Time and memory are O(n log n) and O(n), however the ranges overlap.
    """
    if start.size and bool((start[1:] < start[:-1]).any()):
        row = np.argsort(start)
        owner, start, end = owner[row], start[row], end[row]
        del row
    reach = np.maximum.accumulate(end)
    # Only ranges that meet another one need the sweep.
    meets = start[1:] < reach[:-1]
    alone = ~(np.append(False, meets) | np.append(meets, False))[: start.size]
    if bool(alone.all()):
        return Segments(start, end, owner, owner, np.ones(start.size, np.int64))
    mixed = _sweep(owner[~alone], start[~alone], end[~alone])
    owner, start, end = owner[alone], start[alone], end[alone]
    begin = np.concatenate([start, mixed.start])
    row = np.argsort(begin, kind="stable")
    return Segments(
        begin[row],
        np.concatenate([end, mixed.end])[row],
        np.concatenate([owner, mixed.first])[row],
        np.concatenate([owner, mixed.second])[row],
        np.concatenate([np.ones(start.size, np.int64), mixed.owners])[row],
    )


def _sweep(owner: Frames, start: Frames, end: Frames) -> Segments:
    edges = distinct(np.concatenate([start, end]))
    low, high = np.searchsorted(edges, start), np.searchsorted(edges, end)
    count = np.cumsum(_changes(low, high, np.ones(owner.size, np.int64), edges.size))
    # Where one owner is left, the sum of the indices of all owners is its index.
    first = np.cumsum(_changes(low, high, owner, edges.size))
    second = first.copy()
    several = count > 1
    rank: Frames = np.cumsum(several) - several
    lowest, highest = _extremes(owner, rank[low], rank[high], int(np.count_nonzero(several)))
    first[several] = lowest
    second[several] = highest
    covered = np.flatnonzero(count[:-1] > 0)
    return Segments(
        edges[covered], edges[covered + 1], first[covered], second[covered], count[covered]
    )


def _changes(low: Index, high: Index, weight: Frames, size: int) -> Frames:
    """Sum of weights that begin minus sum of weights that end, at each edge."""
    change = np.zeros(size, np.int64)
    np.add.at(change, low, weight)
    np.subtract.at(change, high, weight)
    return change


def _extremes(owner: Frames, low: Index, high: Index, size: int) -> tuple[Frames, Frames]:
    """Lowest and highest owner over ranges ``low..high`` of cells ``0..size``.

    A range is the union of two ranges whose length is one power of two. Each is noted in its
    first cell; level by level, a noted range is passed on to its two halves.
    """
    least = np.full(size, np.iinfo(np.int64).max)
    most = np.full(size, -1, np.int64)
    inside = low < high
    owner, low, high = owner[inside], low[inside], high[inside]
    level = np.frexp((high - low).astype(np.float64))[1] - 1
    row = np.argsort(level.astype(np.uint8), kind="stable")
    owner, low, high, level = owner[row], low[row], high[row], level[row]
    top = int(level[-1]) if level.size else 0
    bounds = np.searchsorted(level, np.arange(top + 2))
    for height in range(top, -1, -1):
        part = slice(int(bounds[height]), int(bounds[height + 1]))
        for cell in (low[part], high[part] - (1 << height)):
            np.minimum.at(least, cell, owner[part])
            np.maximum.at(most, cell, owner[part])
        if height:
            half = 1 << (height - 1)
            least[half:] = np.minimum(least[half:], least[:-half])
            most[half:] = np.maximum(most[half:], most[:-half])
    return least, most
