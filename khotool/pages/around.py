"""What is around one page, from the parts of memory near it alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from khotool.pages.blocks import Blocks, byte_addresses
from khotool.pages.frames import GRANULE, GRANULE_BITS
from khotool.pages.runs import merge_columns
from khotool.records import dataclass

Frames = NDArray[np.int64]
Pieces = tuple[Frames, Frames, Frames, Frames]
"""First page frame, page frame past the end, order, owner or -1; int64 (n,) each."""

FEW = 64
"""Granules, and ranges without slots, that are looked at first."""
MANY = 2048
"""Of these the most that are looked at together."""


@dataclass(frozen=True, slots=True)
class Around:
    """A range of memory that is one thing, as long as it can be.

    Args:
        start, end: physical addresses in bytes; the end is exclusive and at most 2**64.
        order: page order of the blocks; -1 where nothing is preserved.
        owner: index of the owner, of several the lowest; -1 for none.
    """

    start: int
    end: int
    order: int = -1
    owner: int = -1


class Near:
    """Ranges of equal order and owner, made for a part of memory at a time.

    Args:
        granule: int64, granules with slots, ascending; the first is none.
        beside: ranges of memory without slots, ascending and joined.
        piece: makes the ranges of slots ``low..high``, whole granules.
        join: makes one range of those that touch and have the same order and owner.
        top: page frame past all memory.
    """

    def __init__(
        self,
        granule: Frames,
        beside: Pieces,
        piece: Callable[[int, int], Pieces],
        join: Callable[[Pieces], Pieces],
        top: int,
    ) -> None:
        self.granule, self.beside, self.top = granule, beside, top
        self._piece, self._join = piece, join
        # The part that was looked at last, and the end of what was found last.
        self._last: tuple[int, int, Pieces] = (0, 0, beside)
        self._past = -1

    def find(self, frame: int) -> tuple[int, int, int, int]:
        """First frame, frame past the end, order and owner of what is around a page frame."""
        low, high, rows = self._last
        if not low <= frame < high:
            middle = frame >> GRANULE_BITS << GRANULE_BITS
            low, high = self._below(middle, FEW), self._above(middle + GRANULE, FEW)
            rows = self._rows(low, high)
            self._last = low, high, rows
        at = int(np.searchsorted(rows[0], frame, side="right")) - 1
        kind = (-1, -1)
        if at >= 0 and frame < rows[1][at]:
            first, past = int(rows[0][at]), int(rows[1][at])
            kind = int(rows[2][at]), int(rows[3][at])
        else:
            first = int(rows[1][at]) if at >= 0 else low
            past = int(rows[0][at + 1]) if at + 1 < rows[0].size else high
        # Whoever goes from one range to the next knows where it begins.
        known, count = frame == self._past, FEW
        while first <= low and low > 0 and not known:
            count = min(2 * count, MANY)
            reach, low = low, self._below(low, count)
            first = self._further(self._rows(low, reach), kind, first, low, -1)
        count = FEW
        while past >= high and high < self.top:
            count = min(2 * count, MANY)
            reach, high = high, self._above(high, count)
            past = self._further(self._rows(reach, high), kind, past, high, 1)
        self._past = past
        return frame if known else first, past, *kind

    def _further(self, rows: Pieces, kind: tuple[int, int], edge: int, limit: int, way: int) -> int:
        """How far something goes on in the part after its edge.

        Args:
            rows: of the part.
            limit: the other end of the part.
            way: 1 upwards, -1 downwards.
        """
        if not rows[0].size:
            return limit if kind[0] < 0 else edge
        near, far = (0, 1) if way > 0 else (1, 0)
        row = 0 if way > 0 else -1
        if kind[0] < 0:
            return int(rows[near][row])
        touches = way * (int(rows[near][row]) - edge) <= 0
        same = (int(rows[2][row]), int(rows[3][row])) == kind
        return int(rows[far][row]) if touches and same else edge

    def _above(self, frame: int, count: int) -> int:
        """End of a part of memory from a frame on with at most ``count`` granules and ranges."""
        at = int(np.searchsorted(self.granule, -(-frame >> GRANULE_BITS))) + count
        row = int(np.searchsorted(self.beside[0], frame)) + count
        ends = [self.top]
        if at < self.granule.size:
            ends.append(int(self.granule[at]) << GRANULE_BITS)
        if row < self.beside[0].size:
            ends.append(int(self.beside[0][row]))
        return min(ends)

    def _below(self, frame: int, count: int) -> int:
        """Start of such a part that ends at a frame."""
        at = int(np.searchsorted(self.granule, -(-frame >> GRANULE_BITS))) - count
        row = int(np.searchsorted(self.beside[0], frame)) - count
        starts = [0]
        if at >= 1:
            starts.append(int(self.granule[at]) << GRANULE_BITS)
        if row >= 0:
            starts.append(int(self.beside[0][row]))
        return max(starts)

    def _rows(self, low: int, high: int) -> Pieces:
        """Ranges of the slots in ``low..high``, and those without slots that reach into it."""
        edges = np.array([-(-low >> GRANULE_BITS), -(-high >> GRANULE_BITS)], np.int64)
        begin, stop = np.searchsorted(self.granule, edges).tolist()
        first = int(np.searchsorted(self.beside[1], low, side="right"))
        last = int(np.searchsorted(self.beside[0], high))
        rows = tuple(column[first:last] for column in self.beside)
        if begin < stop:
            slots = self._piece(begin * GRANULE, stop * GRANULE)
            rows = tuple(np.concatenate(pair) for pair in zip(slots, rows, strict=True))
            order = np.argsort(rows[0], kind="stable")
            rows = tuple(column[order] for column in rows)
        return self._join((rows[0], rows[1], rows[2], rows[3]))


def range_around(blocks: Blocks, address: int) -> tuple[int, int] | None:
    """The range of preserved memory that a physical address is in; no list of ranges is made."""
    point = address >> blocks.page_shift
    none = np.zeros(0, np.int64)
    first, past = none, none
    for starts, count, order in blocks.pieces():
        low = (starts >> np.uint64(blocks.page_shift)).astype(np.int64)
        high = low + (count << order)
        # The last one may go on in the next part.
        first, past = merge_columns(
            np.concatenate([first[-1:], low]), np.concatenate([past[-1:], high])
        )
        inside = np.flatnonzero((first[:-1] <= point) & (point < past[:-1]))
        if inside.size:
            first, past = first[inside], past[inside]
            break
    if not first.size or not first[-1] <= point < past[-1]:
        return None
    start, end = (byte_addresses(column[-1:], blocks.page_shift) for column in (first, past))
    return int(start[0]), int(end[0])
