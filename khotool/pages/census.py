"""An owner for every slot: the claims are written into one array, a chunk after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from khotool.pages.claims import CHUNK, Claims, joined, one_index_per_path, union_per_owner
from khotool.pages.frames import GRANULE, GRANULE_BITS, FrameIndex
from khotool.pages.layers import Segments, segments
from khotool.pages.runs import gap_columns, intersect_columns, merge_columns

Frames = NDArray[np.int64]
Owned = tuple[Frames, Frames, Frames]
"""Owner, first page frame number, page frame number past the end; int64 (n,) each."""

SHORT = 16
"""Pages up to which a range is taken page by page."""
LONG_PIECE = 64
"""Slots from which on a piece of a range is written as one slice."""
MANY_OUTSIDE = 1 << 18
"""Pages without a slot from which on granules are looked for that have many of them."""
DENSE = 16
"""Claimed pages that are worth the 512 slots of a granule."""


class Census:
    """Who claims each slot.

    Args:
        index: the slots.
        claims: what is claimed.

    What is known afterwards:
        owner: per slot, the index of an owner plus 1; 0 for none. Of several owners the lowest.
        shared: slots that several owners claim, ascending.
        layers: the owners of pages of shared slots; None where there are none.
    """

    def __init__(self, index: FrameIndex, claims: Claims, page_shift: int) -> None:
        """Take all claims."""
        self.claims, self.page_shift = claims, page_shift
        self._flags: NDArray[np.bool_] | None = None
        self.path_index = one_index_per_path(claims.owners)
        self.index = index
        if not self._take(stop=True):
            # Much is claimed where nothing is preserved; such memory gets slots too.
            self.index = index.with_extra(self._dense_granules())
            self._take(stop=False)
        self.shared = np.zeros(0, np.int64)
        self.layers: Segments | None = None
        self.overlaid: Owned = _no_claims()
        if self._flags is not None:
            self._resolve(self._flags)
            self._flags = None

    def _take(self, *, stop: bool) -> bool:
        """Write all claims; False where too many are outside, and ``stop`` allows to say so."""
        self._start()
        # A sound image names no page twice. If as many slots have an owner as pages were written,
        # looking at what each slot had before is not needed.
        written = outside = 0
        for owner, frames in self._column_rows():
            lost = self._write(frames, owner, check=False)
            written += frames.size - lost
            outside += lost
            if stop and outside > MANY_OUTSIDE:
                return False
        if written != int(np.count_nonzero(self.owner)):
            self._start()
            for owner, frames in self._column_rows():
                self._write(frames, owner)
        for owner, frames in self._short_rows():
            outside += self._write(frames, owner)
            if stop and outside > MANY_OUTSIDE:
                return False
        self._write_ranges()
        return True

    def _start(self) -> None:
        """Nothing is written yet."""
        count = len(self.claims.owners)
        kind = np.uint8 if count < 255 else np.uint16 if count < 65535 else np.uint32
        self.owner: NDArray[np.unsignedinteger] = np.zeros(self.index.slots, kind)
        self._flags = None
        self._rest_rows: list[tuple[Frames, Frames]] = []
        self._rest_ranges: list[Owned] = []

    # -- claims as pages and ranges -----------------------------------------------------------

    def _rows(self) -> Iterator[tuple[int | Frames, Frames]]:
        """Pages claimed one by one: their owner, or the owner of each, and the frames."""
        yield from self._column_rows()
        yield from self._short_rows()

    def _column_rows(self) -> Iterator[tuple[int | Frames, Frames]]:
        """Pages that columns claim."""
        few: list[tuple[int, Frames]] = []
        pending = 0
        for number, column in joined(self.claims.columns):
            for low in range(0, len(column), CHUNK):
                whose = number if isinstance(number, int) else number[low : low + CHUNK]
                owner = self.path_index[whose]
                first, past = column.frames(slice(low, low + CHUNK), self.page_shift)
                if column.release is not None:
                    column.release(low, low + CHUNK)
                if past is not None:
                    # A piece of a page claims that page; it may reach into the next one.
                    first = np.concatenate([first, past - 1])
                    owner = np.tile(owner, 2) if owner.ndim else owner
                if owner.ndim:
                    yield owner, first
                    continue
                if first.size >= CHUNK // 4:
                    yield int(owner), first
                    continue
                few.append((int(owner), first))
                pending += first.size
                if pending >= CHUNK:
                    yield _together(few)
                    few, pending = [], 0
        if pending:
            yield _together(few)

    def _short_rows(self) -> Iterator[tuple[int | Frames, Frames]]:
        """Pages of short ranges."""
        owners, first, past = self._short
        for low in range(0, first.size, CHUNK // SHORT):
            part = slice(low, low + CHUNK // SHORT)
            size = past[part] - first[part]
            frames = np.repeat(first[part] - (np.cumsum(size) - size), size)
            frames += np.arange(frames.size)
            yield np.repeat(owners[part], size), frames

    @property
    def _short(self) -> Owned:
        owner, first, past = self._given
        short = past - first <= SHORT
        return owner[short], first[short], past[short]

    @property
    def _long(self) -> Owned:
        owner, first, past = self._given
        long = past - first > SHORT
        return union_per_owner(owner[long], first[long], past[long])

    @property
    def _given(self) -> Owned:
        """The claims that are no column, as whole pages."""
        claims = self.claims
        kept = claims.start < claims.end
        shift = np.uint64(self.page_shift)
        first = (claims.start[kept] >> shift).astype(np.int64)
        past = ((claims.end[kept] - np.uint64(1)) >> shift).astype(np.int64) + 1
        return self.path_index[claims.owner[kept]], first, past

    # -- writing ------------------------------------------------------------------------------

    def _write(self, frames: Frames, owner: int | Frames, *, check: bool = True) -> int:
        """Note the owner of pages; returns how many of them have no slot.

        Args:
            check: note also which slots have another owner already.
        """
        if not frames.size:
            return 0
        slot, whole = self.index.slots_of(frames)
        number = owner + 1 if isinstance(owner, int) else (owner + 1).astype(self.owner.dtype)
        if check:
            before = self.owner[slot]
            if before.any():
                self._clash(slot, (before != 0) & (before != number))
        self.owner[slot] = number
        if check and not isinstance(owner, int):
            self._clash(slot, self.owner[slot] != number)
        if whole:
            return 0
        away = slot < GRANULE
        self.owner[:GRANULE] = 0
        if self._flags is not None:
            self._flags[:GRANULE] = False
        lost = frames[away]
        whose = np.full(lost.size, owner) if isinstance(owner, int) else owner[away]
        self._rest_rows.append((whose, lost))
        return int(lost.size)

    def _clash(self, slot: Frames, clash: NDArray[np.bool_]) -> None:
        if not clash.any():
            return
        if self._flags is None:
            self._flags = np.zeros(self.index.slots, bool)
        self._flags[slot[clash]] = True

    def _write_ranges(self) -> None:
        """Note the owners of long ranges."""
        owner, first, past = self._long
        if not first.size:
            return
        first = self.index.head_frames(first)
        found = segments(owner, first, past)
        lines = self.index.stretches
        start, end, at, line = intersect_columns(found.start, found.end, lines.first, lines.past)
        shift = lines.shift[line]
        low = lines.slot[line] + ((start - lines.first[line]) >> shift)
        high = lines.slot[line] + ((end - 1 - lines.first[line]) >> shift) + 1
        whose, several = found.first[at], found.owners[at] > 1
        wide = high - low >= LONG_PIECE
        for a, b, who, shared in zip(
            low[wide].tolist(),
            high[wide].tolist(),
            whose[wide].tolist(),
            several[wide].tolist(),
            strict=True,
        ):
            part = self.owner[a:b]
            if shared:
                self._clash(np.arange(a, b), np.ones(b - a, bool))
            elif part.any():
                self._clash(np.arange(a, b), (part != 0) & (part != who + 1))
            part[:] = who + 1
        narrow = np.flatnonzero(~wide)
        for at_row in range(0, narrow.size, CHUNK // LONG_PIECE):
            rows = narrow[at_row : at_row + CHUNK // LONG_PIECE]
            size = high[rows] - low[rows]
            slot = np.repeat(low[rows] - (np.cumsum(size) - size), size) + np.arange(size.sum())
            number = np.repeat(whose[rows] + 1, size).astype(self.owner.dtype)
            before = self.owner[slot]
            self._clash(slot, (before != 0) & (before != number) | np.repeat(several[rows], size))
            self.owner[slot] = number
        self._leave_ranges(owner, first, past)

    def _leave_ranges(self, owner: Frames, first: Frames, past: Frames) -> None:
        """Keep what ranges claim of memory without slots."""
        lines = self.index.stretches
        known = merge_columns(lines.first, lines.past)
        if not known[0].size:
            self._rest_ranges.append((owner, first, past))
            return
        top = 1 << (64 - self.page_shift)
        gaps = gap_columns(*known, 0, top)
        # Only the ends are cut: what is left may have slots in the middle.
        row = np.searchsorted(gaps[1], first, side="right")
        safe = np.minimum(row, gaps[0].size - 1)
        low = np.where(row < gaps[0].size, np.maximum(first, gaps[0][safe]), top)
        row = np.searchsorted(gaps[0], past, side="left") - 1
        high = np.where(row >= 0, np.minimum(past, gaps[1][np.maximum(row, 0)]), 0)
        keep = low < high
        self._rest_ranges.append((owner[keep], low[keep], high[keep]))

    def _dense_granules(self) -> Frames:
        """Granules without slots in which many pages are claimed."""
        count = np.zeros(1 << 12, np.int32)
        for _, frames in self._rows():
            slot, whole = self.index.slots_of(frames)
            if whole:
                continue
            away = frames[(slot < GRANULE) & (frames < self.index.reach)] >> GRANULE_BITS
            top = int(away.max(initial=0)) + 1
            if top > count.size:
                grown = np.zeros(max(top, 2 * count.size), np.int32)
                grown[: count.size] = count
                count = grown
            np.add.at(count, away, 1)
        return np.flatnonzero(count >= DENSE)

    def take_rest(self) -> Owned:
        """Claims of pages without a slot; they are kept no longer."""
        rows, self._rest_rows = self._rest_rows, []
        ranges, self._rest_ranges = self._rest_ranges, []
        none = np.zeros(0, np.int64)
        frames = np.concatenate([none, *(part[1] for part in rows)])
        return (
            np.concatenate([none, *(part[0] for part in rows), *(part[0] for part in ranges)]),
            np.concatenate([frames, *(part[1] for part in ranges)]),
            np.concatenate([frames + 1, *(part[2] for part in ranges)]),
        )

    # -- slots of several owners --------------------------------------------------------------

    def _resolve(self, flags: NDArray[np.bool_]) -> None:
        """Look at the claims of shared slots again, all owners of each together."""
        index = self.index
        if index.order is not None:
            slots = np.flatnonzero(flags)
            flags[slots] = False
            flags[index.heads(slots)] = True
        owners: list[Frames] = []
        slots_hit: list[Frames] = []
        for owner, frames in self._rows():
            slot, _ = index.slots_of(frames)
            hit = flags[slot]
            if hit.any():
                slots_hit.append(slot[hit])
                number = int(np.count_nonzero(hit))
                owners.append(np.full(number, owner) if isinstance(owner, int) else owner[hit])
        none = np.zeros(0, np.int64)
        slot = np.concatenate([none, *slots_hit])
        low, high = index.extent_of(slot)
        owner, first, past = self._long
        first, past = index.head_frames(first), index.tail_frames(past)
        self.overlaid = union_per_owner(
            np.concatenate([none, *owners, owner]),
            np.concatenate([low, first]),
            np.concatenate([high, past]),
        )
        self.layers = segments(*self.overlaid)
        self.shared = np.flatnonzero(flags)
        self._settle(self.shared, self.layers)
        outside = self.claims.expected_outside_by_path()
        free = self.shared[index.orders_of(self.shared) < 0]
        if free.size and bool(outside.any()):
            # Of an unpreserved page, an owner whose pages should be preserved is what counts.
            inside = ~outside[self.overlaid[0]]
            owner, first, past = self.overlaid
            self._settle(free, segments(owner[inside], first[inside], past[inside]))

    def _settle(self, slot: Frames, layers: Segments) -> None:
        """Give slots the lowest of their owners, where the layers have one."""
        if not len(layers):
            return
        frame = self.index.frames_of(slot)
        row = np.searchsorted(layers.start, frame, side="right") - 1
        found = (row >= 0) & (frame < layers.end[row])
        self.owner[slot[found]] = layers.first[row[found]] + 1

    def owners_of(self, frame: int) -> list[int] | None:
        """Owners of a page frame, ascending; None where it has no slot."""
        slot, whole = self.index.slots_of(np.array([frame], np.int64))
        if not whole:
            return None
        row = int(np.searchsorted(self.shared, slot[0]))
        if row < self.shared.size and int(self.shared[row]) == int(slot[0]):
            head = int(self.index.frames_of(slot)[0])
            owner, first, past = self.overlaid
            return [int(one) for one in owner[(first <= head) & (past > head)].tolist()]
        number = int(self.owner[slot[0]])
        return [number - 1] if number else []


def _together(few: list[tuple[int, Frames]]) -> tuple[Frames, Frames]:
    sizes = [part.size for _, part in few]
    owners = np.repeat(np.array([owner for owner, _ in few], np.int64), sizes)
    return owners, np.concatenate([part for _, part in few])


def _no_claims() -> Owned:
    none = np.zeros(0, np.int64)
    return none, none, none
