"""Where the bytes of a payload are: which memory is which part of a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.pages.runs import TOP, intersect_columns
from khotool.records import dataclass, field

U64 = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A file made of memory, and of holes between.

    Args:
        path: of the node in the model.
        kind: ``memfd``, ``region``, ``blob``, ``folio`` or ``record``; a handler may add others.
        size: bytes of the file, below 2**64.
        offset: uint64 (n,), byte offsets in the file, ascending; pieces do not overlap.
        address: uint64 (n,), physical addresses in bytes.
        length: uint64 (n,), bytes of each piece; no piece reaches beyond ``size``.
        notes: sentences about what was assumed; may quote text from the image.
        lost: records that would say where parts of the file are, and are not captured.
    """

    path: str
    kind: str
    size: int
    offset: U64
    address: U64
    length: U64
    notes: list[str] = field(default_factory=list)
    lost: int = 0

    @property
    def mapped(self) -> int:
        """Bytes of the file that are in memory, captured or not."""
        return sum_of(self.length)

    @property
    def holes(self) -> int:
        """Bytes of the file that are in holes."""
        return self.size - self.mapped

    def missing(self, extents: U64) -> U64:
        """File ranges whose memory lies outside captured memory.

        Args:
            extents: (m, 2) uint64, captured physical ranges, sorted and disjoint.

        Returns:
            (k, 2) uint64: byte offsets in the file, half-open, ascending, merged.
        """
        # Contents may be reordered: pieces are looked up by address and sorted back.
        if not len(self.offset):
            return np.empty((0, 2), np.uint64)
        row, start, end = _captured(self, extents)
        low = self.offset[row] + (start - self.address[row])
        high = low + (end - start)
        order = np.argsort(low, kind="stable")
        return _gaps(self.offset, self.offset + self.length, low[order], high[order])


def plan_of(
    path: str, kind: str, pieces: list[tuple[int, int]], notes: list[str] | None = None
) -> Plan:
    """A file of pieces of memory one after the other, each (physical address, bytes)."""
    address = np.array([piece[0] for piece in pieces], np.uint64)
    length = np.array([piece[1] for piece in pieces], np.uint64)
    offset = np.cumsum(length, dtype=np.uint64) - length
    return Plan(path, kind, sum_of(length), *merge(offset, address, length), notes or [])


def merge(offset: U64, address: U64, length: U64) -> tuple[U64, U64, U64]:
    """Join pieces that follow each other both in the file and in memory; drop empty ones.

    Args:
        offset: uint64 (n,), ascending byte offsets; pieces do not overlap.
        address: uint64 (n,), physical addresses in bytes.
        length: uint64 (n,), bytes.
    """
    kept = length > 0
    if not kept.all():
        offset, address, length = offset[kept], address[kept], length[kept]
    if not len(offset):
        return offset, address, length
    breaks = (offset[1:] != offset[:-1] + length[:-1]) | (address[1:] != address[:-1] + length[:-1])
    first = np.flatnonzero(np.append(True, breaks))
    joined = np.add.reduceat(length, first)
    return offset[first], address[first], joined


def sum_of(values: U64) -> int:
    """Sum as a Python integer, whatever its size."""
    whole = int((values >> np.uint64(32)).sum(dtype=np.uint64)) << 32
    return whole + int((values & np.uint64(0xFFFF_FFFF)).sum(dtype=np.uint64))


def _captured(plan: Plan, extents: U64) -> tuple[np.ndarray[Any, Any], U64, U64]:
    """Row of the piece, start and end address of all captured parts of pieces."""
    ends = plan.address + np.minimum(plan.length, np.uint64(TOP) - plan.address)
    order = np.argsort(plan.address, kind="stable")
    low, high = plan.address[order], ends[order]
    # Two pieces may show the same memory; then each is looked up for itself.
    if len(low) > 1 and bool((low[1:] < high[:-1]).any()):
        first = np.searchsorted(extents[:, 1], plan.address, side="right")
        count = np.maximum(np.searchsorted(extents[:, 0], ends, side="left") - first, 0)
        rows = np.repeat(np.arange(len(count)), count)
        nth = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        which = first[rows] + nth
        start = np.maximum(plan.address[rows], extents[which, 0])
        return rows, start, np.minimum(ends[rows], extents[which, 1])
    start, end, rows, _ = intersect_columns(low, high, extents[:, 0], extents[:, 1])
    return order[rows], start, end


def _gaps(start: U64, end: U64, low: U64, high: U64) -> U64:
    """What the ranges ``low..high`` leave of ``start..end``; both ascending and disjoint."""
    from khotool.pages.runs import normalise, subtract

    wanted = normalise(np.stack([start, end], axis=1))
    return subtract(wanted, normalise(np.stack([low, high], axis=1)))
