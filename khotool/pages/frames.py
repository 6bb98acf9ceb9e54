"""Page frames as slots of dense arrays: one array element for each preserved block around a page.

Memory is cut into granules of 512 frames. A granule with a block smaller than itself has 512 slots,
one for each frame; a larger block has one slot. All other memory has none, so that arrays over
slots are as large as what is preserved, wherever it lies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from khotool.pages.bitmaps import lay_out, runs_of_bits
from khotool.pages.runs import distinct, merge_columns
from khotool.records import dataclass

Frames = NDArray[np.int64]
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

GRANULE_BITS = 9
GRANULE = 1 << GRANULE_BITS
MOST_FRAME = 1 << 36
"""Frames from here on have no slots: the table of granules would become too large."""
LEAST_REACH = 1 << 31
"""Frames below always have slots, whatever the table of granules costs: 16 MiB."""
SPARSE = 64
"""Granules in the table for each one with a block; one stray bit far away does not grow it."""
MOST_RUN_PAGES = 1 << 28
"""Pages of runs that get slots at most."""
FEW_PAGES, PAGES_A_RUN = 1 << 22, 4
"""Pages of runs that always get slots, and so many for each run: a run needs no memory in the
image, however long it is, and long ones cost least without slots."""
LONG_RUN = 1 << 20
"""Pages from which on a run may stay without slots."""
_WORDS = GRANULE // 64
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Runs of blocks as columns, ascending, disjoint.

    Args:
        first: int64, page frame number of the first page.
        past: int64, page frame number past the last page.
        order: int64, page order of the blocks.
    """

    first: Frames
    past: Frames
    order: Frames

    def __len__(self) -> int:
        return int(self.first.size)

    def take(self, keep: NDArray[np.bool_]) -> Runs:
        """The rows of a mask."""
        return Runs(self.first[keep], self.past[keep], self.order[keep])


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Neighbouring frames whose slots are neighbours too, ascending and disjoint.

    Args:
        first: int64, first page frame number.
        past: int64, page frame number past the end.
        slot: int64, slot of the first frame.
        shift: int64, log2 of the frames that share a slot.
    """

    first: Frames
    past: Frames
    slot: Frames
    shift: Frames


class FrameIndex:
    """Which slot each page frame has, and which block each slot.

    Slots below ``GRANULE`` belong to no frame: whatever has no slot is given one of them.

    Args:
        base: int64 (n,), frame of bit 0 of each bitmap of single pages; multiples of 512,
            ascending, disjoint.
        words: uint64 (n, width), the bitmaps; width is a multiple of 8.
        runs: blocks that the bitmaps do not have. They do not overlap the bits or each other.
        extra: int64, sorted granules that get slots although nothing is preserved in them.
    """

    def __init__(self, base: Frames, words: Words, runs: Runs, extra: Frames | None = None) -> None:
        self._base, self._words, self._runs = base, words, runs
        runs = _cut_long(runs)
        self.reach = _reach(words, runs)
        self.limit = _limit(runs, words.shape[1] * 64, self.reach)
        near, self.far_base, self.far_words = _near_bits(base, words, self.limit)
        runs = _cut(runs, np.array([self.limit], np.int64))
        mine = _dense(runs, self.limit, self.reach)
        self.far_runs = runs.take(~mine)
        runs = runs.take(mine)
        small, large = runs.take(runs.order < GRANULE_BITS), runs.take(runs.order >= GRANULE_BITS)
        granules, bits = near
        self._number(granules, small, extra)
        count = self.granule.size
        self.small = count << GRANULE_BITS
        self.present = np.zeros((count, _WORDS), np.uint64)
        self.present[np.searchsorted(self.granule, granules)] = bits
        self.order = self._paint_orders(small)
        self._add_large(large)
        self.stretches = self._stretches(large)
        self._lows: list[int] = self.stretches.first.tolist()
        self._pasts: list[int] = self.stretches.past.tolist()
        self._deltas: list[int] = (self.stretches.first - self.stretches.slot).tolist()
        self._shifts: list[int] = self.stretches.shift.tolist()

    @property
    def slots(self) -> int:
        """Number of slots."""
        return self.small + int(self.large_order.size)

    def _number(self, granules: Frames, small: Runs, extra: Frames | None) -> None:
        """Give numbers to granules; number 0 has no frames."""
        parts = [granules]
        if len(small):
            first, past = merge_columns(
                small.first >> GRANULE_BITS, ((small.past - 1) >> GRANULE_BITS) + 1
            )
            parts.append(expand(first, past))
        if extra is not None:
            parts.append(extra)
        every = granules if len(parts) == 1 else distinct(np.concatenate(parts))
        # The granule that no frame has sorts first.
        self.granule = np.concatenate([np.full(1, -1, np.int64), every])
        self._table_size = int(self.granule[-1]) + 2
        self.table = np.zeros(max(self._table_size, 1), np.int32)
        self.table[every] = np.arange(1, every.size + 1, dtype=np.int32)

    def _paint_orders(self, small: Runs) -> NDArray[np.uint8] | None:
        """Order of the block around each slot, uint8; None where all are single pages."""
        if not len(small):
            return None
        start, past = self._small_slot(small.first), self._small_slot(small.past - 1) + 1
        single = small.order == 0
        flat = self.present.reshape(-1)
        if bool(single.any()):
            flat |= pack(_covered(start[single], past[single], 1, self.small) != 0)
        if bool(single.all()):
            return None
        start, past, order = start[~single], past[~single], small.order[~single]
        found = _covered(start, past, order.astype(np.uint8), self.small)
        below = (np.int64(1) << np.arange(64, dtype=np.int64)) - 1
        for low in range(0, self.small, _CHUNK):
            part = found[low : low + _CHUNK]
            if not part.any():
                continue
            head = (np.arange(low, low + part.size) & below[part]) == 0
            head &= part != 0
            flat[low >> 6 : (low + part.size) >> 6] |= pack(head)
        return found

    def _small_slot(self, frame: Frames) -> Frames:
        number = self.table[frame >> GRANULE_BITS].astype(np.int64)
        slot: Frames = (number << GRANULE_BITS) | (frame & (GRANULE - 1))
        return slot

    def _add_large(self, large: Runs) -> None:
        count = (large.past - large.first) >> large.order
        row = np.repeat(np.arange(count.size), count)
        number = np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
        self.large_order = large.order[row].astype(np.uint8)
        self.large_first = large.first[row] + (number << large.order[row])
        if not row.size:
            return
        covers = np.int64(1) << (self.large_order.astype(np.int64) - GRANULE_BITS)
        first = self.large_first >> GRANULE_BITS
        top = int((first + covers).max()) + 1
        if top > self.table.size:
            grown = np.zeros(top, np.int32)
            grown[: self.table.size] = self.table
            self.table = grown
        self.table[expand(first, first + covers)] = np.repeat(
            -1 - np.arange(row.size, dtype=np.int32), covers
        )

    def _stretches(self, large: Runs) -> Stretches:
        granule = self.granule[1:]
        gap = np.append(True, granule[1:] != granule[:-1] + 1)[: granule.size]
        head = np.flatnonzero(gap)
        tail = np.append(head[1:], granule.size)[: head.size] - 1
        first, past = granule[head] << GRANULE_BITS, (granule[tail] + 1) << GRANULE_BITS
        slot = (head + 1) << GRANULE_BITS
        shift = np.zeros(head.size, np.int64)
        if len(large):
            count = (large.past - large.first) >> large.order
            first = np.concatenate([first, large.first])
            past = np.concatenate([past, large.past])
            slot = np.concatenate([slot, self.small + np.cumsum(count) - count])
            shift = np.concatenate([shift, large.order])
            row = np.argsort(first, kind="stable")
            first, past, slot, shift = first[row], past[row], slot[row], shift[row]
        return Stretches(first, past, slot, shift)

    def slots_of(self, frames: Frames) -> tuple[Frames, bool]:
        """Slot of each page frame (n,), and whether all of them have one.

        Frames below 0 or from 2**52 on are allowed. Inside a block the slot is that of its head.
        """
        low, high = int(frames.min()), int(frames.max())
        at = _stretch_of(self._lows, low)
        whole = at >= 0 and low >= 0 and high < self._pasts[at]
        if whole and not self._shifts[at]:
            slot = frames - self._deltas[at]
            return self.heads(slot), True
        if low < 0 or high >> GRANULE_BITS >= self.table.size:
            number = frames >> GRANULE_BITS
            known = (number >= 0) & (number < self.table.size)
            found = np.where(known, self.table[np.where(known, number, 0)], 0)
        else:
            found = self.table[frames >> GRANULE_BITS]
        slot = found.astype(np.int64) << GRANULE_BITS
        slot |= frames & (GRANULE - 1)
        if self.large_order.size:
            slot = np.where(found < 0, self.small - 1 - found.astype(np.int64), slot)
        whole = int(slot.min()) >= GRANULE
        return self.heads(slot), whole

    def heads(self, slot: Frames) -> Frames:
        """Slot of the first page of the block around each slot."""
        if self.order is None:
            return slot
        if not self.large_order.size:
            order = self.order[slot]
        else:
            order = np.where(slot < self.small, self.order[np.minimum(slot, self.small - 1)], 0)
        return (slot >> order) << order

    def orders_of(self, slot: Frames) -> NDArray[np.int16]:
        """Order of the preserved block that has each slot, int16; -1 where nothing is preserved."""
        inner = slot < self.small
        place = np.where(inner, slot, 0) if self.large_order.size else slot
        bit = (self.present.reshape(-1)[place >> 6] >> (place & 63).astype(np.uint64)) & np.uint64(
            1
        )
        order = np.int16(0) if self.order is None else self.order[place].astype(np.int16)
        found: NDArray[np.int16] = np.where(bit != 0, order, np.int16(-1))
        if self.large_order.size:
            big = np.where(inner, 0, slot - self.small)
            found = np.where(inner, found, self.large_order[big].astype(np.int16))
        return found

    def orders_at(self, frames: Frames) -> NDArray[np.int16]:
        """Order of the preserved block around each page frame, int16; -1 where there is none."""
        if not frames.size:
            return np.zeros(0, np.int16)
        found = np.empty(frames.size, np.int16)
        for low in range(0, frames.size, _CHUNK):
            part = frames[low : low + _CHUNK]
            slot, whole = self.slots_of(part)
            order = self.orders_of(slot)
            if not whole and (len(self.far_runs) or self.far_base.size):
                away = slot < GRANULE
                order[away] = self._far_orders(part[away])
            found[low : low + _CHUNK] = order
        return found

    def _far_orders(self, frames: Frames) -> NDArray[np.int16]:
        found = np.full(frames.size, -1, np.int16)
        runs = self.far_runs
        if len(runs):
            row = np.searchsorted(runs.first, frames, side="right") - 1
            inside = (row >= 0) & (frames < runs.past[row])
            found[inside] = runs.order[row[inside]]
        if self.far_base.size:
            row = np.searchsorted(self.far_base, frames, side="right") - 1
            at = frames - self.far_base[row]
            inside = (row >= 0) & (at < self.far_words.shape[1] * 64)
            row, at = row[inside], at[inside]
            bit = self.far_words[row, at >> 6] >> (at & 63).astype(np.uint64)
            found[np.flatnonzero(inside)[(bit & np.uint64(1)) != 0]] = 0
        return found

    def extent_of(self, slot: Frames) -> tuple[Frames, Frames]:
        """Page frames of what has each slot, a block or a single page: first, and past the end."""
        first = self.frames_of(slot)
        return first, first + (np.int64(1) << np.maximum(self.orders_of(slot), 0).astype(np.int64))

    def head_frames(self, frames: Frames) -> Frames:
        """First page of the block around each page frame; the frame itself outside of slots."""
        if not frames.size or (self.order is None and not self.large_order.size):
            return frames
        slot, _ = self.slots_of(frames)
        return np.where(slot < GRANULE, frames, self.frames_of(slot))

    def tail_frames(self, past: Frames) -> Frames:
        """As :meth:`head_frames`, of the ends of ranges: past the block around the last page."""
        if not past.size or (self.order is None and not self.large_order.size):
            return past
        slot, _ = self.slots_of(past - 1)
        return np.where(slot < GRANULE, past, self.extent_of(slot)[1])

    def far_blocks(self) -> Runs:
        """Blocks without slots."""
        if not self.far_base.size:
            return self.far_runs
        found = runs_of_bits(*lay_out(self.far_words, self.far_base))
        runs = self.far_runs
        first = np.concatenate([runs.first, found[:, 0]])
        row = np.argsort(first, kind="stable")
        order = np.concatenate([runs.order, np.zeros(len(found), np.int64)])
        return Runs(first[row], np.concatenate([runs.past, found[:, 1]])[row], order[row])

    def with_extra(self, extra: Frames) -> FrameIndex:
        """The same with slots for more granules, int64 ascending; not for those of far blocks."""
        runs = self.far_runs
        extra = extra[extra < self.limit >> GRANULE_BITS]
        if len(runs):
            first = extra << GRANULE_BITS
            row = np.searchsorted(runs.first, first, side="right") - 1
            extra = extra[(row < 0) | (first >= runs.past[row])]
        return FrameIndex(self._base, self._words, self._runs, extra)

    def frames_of(self, slot: Frames) -> Frames:
        """First page frame of each slot; those below ``GRANULE`` have none that means anything."""
        inner = np.minimum(slot, self.small - 1)
        first = self.granule[inner >> GRANULE_BITS] << GRANULE_BITS
        frame: Frames = first | (inner & (GRANULE - 1))
        if self.large_order.size:
            large = self.large_first[np.maximum(slot - self.small, 0)]
            frame = np.where(slot < self.small, frame, large)
        return frame


def _stretch_of(lows: list[int], frame: int) -> int:
    from bisect import bisect_right

    return bisect_right(lows, frame) - 1


def _near_bits(
    base: Frames, words: Words, limit: int
) -> tuple[tuple[Frames, Words], Frames, Words]:
    """Granules with bits and their words; and the bitmaps from ``limit`` on, without slots."""
    far = base >= limit
    far_base, far_words = base[far], words[far]
    if far_base.size:
        base, words = base[~far], words[~far]
    each = words.shape[1] // _WORDS
    bits = words.reshape(-1, _WORDS)
    granule = ((base[:, None] >> GRANULE_BITS) + np.arange(each)).reshape(-1)
    used = bits.any(axis=1)
    if not bool(used.all()):
        granule, bits = granule[used], bits[used]
    return (granule, bits), far_base, far_words


# All blocks of a granule have slots or none has. Blocks smaller than a granule do not cross its
# end, so that their runs can be cut there.


def _cut_long(runs: Runs) -> Runs:
    """Cut long runs of small blocks into whole granules and what is left at both ends."""
    long = (runs.order < GRANULE_BITS) & (runs.past - runs.first > LONG_RUN)
    if not bool(long.any()):
        return runs
    low = -((-runs.first[long]) >> GRANULE_BITS) << GRANULE_BITS
    high = runs.past[long] >> GRANULE_BITS << GRANULE_BITS
    return _cut(runs, np.concatenate([low, high]))


def _cut(runs: Runs, places: Frames) -> Runs:
    """Cut runs of small blocks at the places that lie inside one."""
    if not len(runs):
        return runs
    row = np.searchsorted(runs.first, places, side="right") - 1
    inside = (row >= 0) & (places > runs.first[row]) & (places < runs.past[row])
    inside &= runs.order[row] < GRANULE_BITS
    row, places = row[inside], places[inside]
    if not row.size:
        return runs
    first = np.concatenate([runs.first, places])
    order = np.concatenate([runs.order, runs.order[row]])
    place = np.argsort(first, kind="stable")
    # Runs are disjoint: every end is the next one of all ends.
    past = np.sort(np.concatenate([runs.past, places]))
    return Runs(first[place], past, order[place])


def _reach(words: Words, runs: Runs) -> int:
    """Page frame from which on nothing has slots: the table of granules ends there."""
    pages = words.size * 64 + min(int((runs.past - runs.first).sum()), MOST_RUN_PAGES)
    return min(MOST_FRAME, max(LEAST_REACH, SPARSE * pages))


def _limit(runs: Runs, width: int, reach: int) -> int:
    """Page frame from which on single pages and small blocks have no slots.

    Small blocks need less memory in the image than slots here, so that their number is limited.

    Args:
        width: bits of a bitmap; the result is a multiple.
        reach: page frame number from which on nothing has slots.
    """
    pages = runs.past - runs.first
    short = np.flatnonzero((runs.order < GRANULE_BITS) & (pages <= LONG_RUN))
    total = np.cumsum(pages[short])
    over = int(np.searchsorted(total, _room(runs), side="right"))
    if over == short.size:
        return reach
    first = int(runs.first[short[over]])
    return min(first - first % max(width, GRANULE), reach)


def _room(runs: Runs) -> int:
    """Pages of runs that get slots."""
    return min(max(FEW_PAGES, PAGES_A_RUN * len(runs)), MOST_RUN_PAGES)


def _dense(runs: Runs, limit: int, reach: int) -> NDArray[np.bool_]:
    """Which runs get slots."""
    pages = runs.past - runs.first
    small = runs.order < GRANULE_BITS
    fits = np.where(small, runs.past <= limit, runs.past <= reach)
    size = np.where(small, pages, pages >> 4)
    size[small & (pages <= LONG_RUN)] = 0
    row = np.argsort(size, kind="stable")
    room = np.cumsum(np.minimum(size[row], 1 << 40)) <= _room(runs)
    fits[row[~room]] = False
    return fits


def expand(first: Frames, past: Frames) -> Frames:
    """All numbers of disjoint, ascending ranges."""
    count = past - first
    numbers = np.repeat(first - (np.cumsum(count) - count), count)
    numbers += np.arange(numbers.size)
    return numbers


def pack(flags: NDArray[np.bool_]) -> Words:
    """Bits of flags (n,), n a multiple of 64; bit 0 of a word is the first."""
    return np.packbits(flags, bitorder="little").view("<u8").astype(np.uint64, copy=False)


def unpack(words: Words) -> NDArray[np.uint8]:
    """The inverse of :func:`pack`, as 0 and 1."""
    raw = words.astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(raw, bitorder="little")


def _covered(start: Frames, past: Frames, value: NDArray[np.uint8] | int, size: int) -> Bytes:
    """Array uint8 (size,) with ``value`` in disjoint ranges and 0 elsewhere."""
    change = np.zeros(size + 1, np.uint8)
    # Differences wrap; the sum of those so far is a value again. Starts differ, and so do ends.
    change[start] += np.asarray(value, np.uint8)
    change[past] -= np.asarray(value, np.uint8)
    found: Bytes = np.cumsum(change[:-1], dtype=np.uint8)
    return found
