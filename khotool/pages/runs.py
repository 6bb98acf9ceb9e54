"""Interval algebra on sorted, disjoint, half-open ranges.

Byte ranges are uint64 (n, 2). An end of 2**64 does not fit uint64: ``TOP`` (2**64 - 1) stands
for it. The functions on columns also take int64, which the page frame arithmetic uses.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Ranges = NDArray[np.uint64]
Index = NDArray[np.intp]
Number = TypeVar("Number", np.uint64, np.int64)

TOP = (1 << 64) - 1


def is_sorted(values: NDArray[Number]) -> bool:
    """Whether ``values`` never descend."""
    return bool((values[1:] >= values[:-1]).all())


def ascending(values: NDArray[Number]) -> NDArray[Number]:
    """``values`` sorted; the same array when they are already."""
    return values if is_sorted(values) else np.sort(values)


def distinct(values: NDArray[Number]) -> NDArray[Number]:
    """Every value once, ascending."""
    values = ascending(values)
    once: NDArray[Number] = values[np.append(True, values[1:] != values[:-1])[: values.size]]
    return once


def merge_columns(
    starts: NDArray[Number], ends: NDArray[Number]
) -> tuple[NDArray[Number], NDArray[Number]]:
    """Union of non-empty ranges in any order; touching ranges merge.

    Starts and ends are sorted independently: a gap lies before the i-th start exactly where it
    is above the (i-1)-th end. No permutation of pairs is needed.
    """
    starts, ends = ascending(starts), ascending(ends)
    if starts.size < 2:
        return starts, ends
    gap = starts[1:] > ends[:-1]
    return starts[np.append(True, gap)], ends[np.append(gap, True)]


def intersect_columns(
    a_start: NDArray[Number],
    a_end: NDArray[Number],
    b_start: NDArray[Number],
    b_end: NDArray[Number],
) -> tuple[NDArray[Number], NDArray[Number], Index, Index]:
    """Pieces common to two lists of sorted, disjoint, non-empty ranges.

    Returns:
        start and end of each piece, ascending, and the rows of ``a`` and of ``b`` it comes from.
        At most len(a) + len(b) - 1 pieces.
    """
    first = np.searchsorted(b_end, a_start, side="right")
    count = np.searchsorted(b_start, a_end, side="left")
    count -= first
    if count.size and bool((count == 1).all()):
        start = np.maximum(a_start, b_start[first])
        return start, np.minimum(a_end, b_end[first]), np.arange(count.size), first
    rows_a = np.repeat(np.arange(a_start.size), count)
    # The n-th piece of a row of ``a`` meets the n-th range of ``b`` from ``first`` on.
    first -= np.cumsum(count)
    first += count
    rows_b = np.repeat(first, count)
    rows_b += np.arange(rows_b.size)
    start = np.maximum(a_start[rows_a], b_start[rows_b])
    end = np.minimum(a_end[rows_a], b_end[rows_b])
    return start, end, rows_a, rows_b


def gap_columns(
    starts: NDArray[Number], ends: NDArray[Number], low: int, high: int
) -> tuple[NDArray[Number], NDArray[Number]]:
    """What sorted, disjoint ranges leave of ``low..high``; the ranges lie inside it."""
    kind = starts.dtype.type
    left = np.append(np.array([low], kind), ends)
    right = np.append(starts, np.array([high], kind))
    keep = left < right
    return left[keep], right[keep]


def normalise(ranges: Ranges) -> Ranges:
    """Sorted, disjoint form of any ranges; touching ones merge, empty or reversed ones vanish.

    Args:
        ranges: uint64 (n, 2), bytes, half-open.
    """
    ranges = np.asarray(ranges, np.uint64).reshape(-1, 2)
    kept = ranges[ranges[:, 0] < ranges[:, 1]]
    start, end = merge_columns(kept[:, 0], kept[:, 1])
    return np.stack([start, end], axis=1)


def intersect(a: Ranges, b: Ranges) -> Ranges:
    """Bytes in ``a`` and ``b``; both normalised."""
    start, end, _, _ = intersect_columns(a[:, 0], a[:, 1], b[:, 0], b[:, 1])
    return np.stack([start, end], axis=1)


def subtract(a: Ranges, b: Ranges) -> Ranges:
    """Bytes in ``a`` and not in ``b``; both normalised."""
    start, end = gap_columns(b[:, 0], b[:, 1], 0, TOP)
    return intersect(a, np.stack([start, end], axis=1))


def total(ranges: Ranges) -> int:
    """Number of bytes in normalised ranges."""
    sizes = ranges[:, 1] - ranges[:, 0]
    return int(sizes.sum(dtype=np.uint64))


def contains(ranges: Ranges, points: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """For each physical address in bytes (m,), whether normalised ``ranges`` contain it."""
    if ranges.shape[0] == 0:
        return np.zeros(points.shape, bool)
    row = np.searchsorted(ranges[:, 0], points, side="right") - 1
    inside: NDArray[np.bool_] = (row >= 0) & (points < ranges[np.maximum(row, 0), 1])
    return inside
