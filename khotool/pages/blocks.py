"""Preserved blocks as runs of blocks of equal order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from khotool.pages.bitmaps import lay_out, runs_of_bits
from khotool.pages.bits import PageBits
from khotool.pages.frames import FrameIndex, Runs
from khotool.pages.runs import TOP, Index, Number, Ranges, distinct, merge_columns
from khotool.records import dataclass

# Block indices and counts reach 2**52 at most, orders 51: both fit one int64 sort key.
_INDEX_BITS = 57
_INDEX_MASK = (1 << _INDEX_BITS) - 1
_PAGE_SHIFTS = range(12, 31)


def byte_addresses(frames: NDArray[np.int64], page_shift: int) -> NDArray[np.uint64]:
    """Physical byte addresses of page frames; the frame that would be 2**64 becomes ``TOP``."""
    address = frames.astype(np.uint64) << np.uint64(page_shift)
    address[frames >= 1 << (64 - page_shift)] = TOP
    return address


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """Ranges that blocks of more than one order cover, ascending and disjoint.

    Args:
        start: uint64, physical address in bytes.
        end: uint64, physical address in bytes, exclusive; ``TOP`` for 2**64.
        orders: uint64, bit n set where a block of order n covers the range.
    """

    start: NDArray[np.uint64]
    end: NDArray[np.uint64]
    orders: NDArray[np.uint64]

    def __len__(self) -> int:
        return int(self.start.size)

    def __iter__(self) -> Iterator[tuple[int, int, list[int]]]:
        """Start and end in bytes, and the orders, ascending."""
        for start, end, mask in zip(
            self.start.tolist(), self.end.tolist(), self.orders.tolist(), strict=True
        ):
            yield start, end, [order for order in range(64) if mask >> order & 1]


Columns = tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint8]]


class Blocks:
    """Naturally aligned blocks of 2**order pages, as maximal runs of equal order.

    The runs are sorted by start, then order; runs of one order neither overlap nor touch. Blocks of
    different orders may overlap; being aligned to their own size, one then lies inside the other.

    Made by :meth:`from_runs`, which brings any runs to this form, or by :meth:`from_words`, which
    keeps the bitmaps of single pages as they are: their runs are made when somebody asks for them.

    Args:
        start: uint64 (n,), physical address in bytes of the first block.
        count: int64 (n,), number of blocks.
        order: uint8 (n,), page order of each block.
        page_shift: log2 of the page size in bytes.
        clipped: number of blocks that would lie past 2**64 and were left out.
    """

    def __init__(
        self,
        start: NDArray[np.uint64],
        count: NDArray[np.int64],
        order: NDArray[np.uint8],
        page_shift: int,
        clipped: int = 0,
    ) -> None:
        """Take runs that are in order."""
        self.page_shift = page_shift
        self.clipped = clipped
        self.bits: PageBits | None = None
        # Runs of the blocks that the bitmaps do not have.
        self._loose: Columns = (start, count, order)

    @classmethod
    def from_words(
        cls,
        base: NDArray[np.int64],
        words: NDArray[np.uint64],
        page_shift: int,
        loose: Blocks | None = None,
    ) -> Blocks:
        """Single pages by bitmaps, and other blocks beside them.

        Args:
            base: int64 (n,), page frame number of bit 0 of each bitmap, in any order.
            words: uint64 (n, width), native values.
            page_shift: log2 of the page size in bytes.
            loose: blocks of these that are runs.
        """
        _check_page_shift(page_shift)
        made = cls.empty(page_shift)
        if loose is not None:
            made._loose, made.clipped = loose._loose, loose.clipped
        if PageBits.fits(base, words) and not bool((made._loose[2] == 0).any()):
            made.bits = PageBits.of(base, words)
            return made
        runs = runs_of_bits(*lay_out(words, base))
        count = runs[:, 1] - runs[:, 0]
        single = cls._from_frames(runs[:, 0], count, np.zeros_like(count), page_shift)
        return cls.join([made, single], page_shift)

    @cached_property
    def _columns(self) -> Columns:
        """All runs."""
        if self.bits is None:
            return self._loose
        return self._beside(self.bits.runs(), self._loose)

    def _beside(self, runs: NDArray[np.int64], loose: Columns) -> Columns:
        """Runs of single pages and other blocks in order."""
        start, count, order = loose
        starts = runs[:, 0].astype(np.uint64) << np.uint64(self.page_shift)
        if not start.size:
            return starts, runs[:, 1] - runs[:, 0], np.zeros(len(runs), np.uint8)
        start = np.concatenate([starts, start])
        count = np.concatenate([runs[:, 1] - runs[:, 0], count])
        order = np.concatenate([np.zeros(len(runs), np.uint8), order])
        # Single pages come before larger blocks at the same place: a stable sort keeps them so.
        row = np.argsort(start, kind="stable")
        return start[row], count[row], order[row]

    def pieces(self) -> Iterator[Columns]:
        """``start``, ``count`` and ``order`` of the runs, some at a time: none of them are kept."""
        done, (start, count, order) = 0, self._loose
        for runs in () if self.bits is None else self.bits.run_pieces():
            if runs.size:
                last = np.uint64(runs[-1, 0]) << np.uint64(self.page_shift)
                until = int(np.searchsorted(start, last, side="right"))
                yield self._beside(runs, (start[done:until], count[done:until], order[done:until]))
                done = until
        if done < start.size:
            yield start[done:], count[done:], order[done:]

    @property
    def start(self) -> NDArray[np.uint64]:
        """Physical address in bytes of the first block of each run."""
        return self._columns[0]

    @property
    def count(self) -> NDArray[np.int64]:
        """Number of blocks of each run."""
        return self._columns[1]

    @property
    def order(self) -> NDArray[np.uint8]:
        """Page order of the blocks of each run."""
        return self._columns[2]

    @cached_property
    def loose(self) -> Blocks:
        """The blocks that no bitmap of single pages has."""
        return self if self.bits is None else Blocks(*self._loose, self.page_shift, self.clipped)

    @classmethod
    def from_runs(
        cls, start: ArrayLike, count: ArrayLike, order: ArrayLike, page_shift: int
    ) -> Blocks:
        """Blocks of runs in any order; runs may overlap.

        Args:
            start: integers (n,), physical address in bytes; rounded down to the size of a block.
            count: integers (n,), number of blocks; runs of none vanish, blocks past 2**64 too.
            order: integers (n,) or one for all; page order.
            page_shift: log2 of the page size in bytes.

        Raises:
            ValueError: the page size or an order is impossible: a block has at most 2**63 bytes.
        """
        _check_page_shift(page_shift)
        starts = np.asarray(start, np.uint64)
        counts = np.asarray(count)
        if counts.dtype.kind == "u":
            counts = np.minimum(counts, np.uint64(1 << 62))
        counts = counts.astype(np.int64, copy=False)
        orders = np.broadcast_to(np.asarray(order, np.int64), starts.shape)
        if orders.size and (int(orders.min()) < 0 or int(orders.max()) > 63 - page_shift):
            raise ValueError(f"orders lie between 0 and {63 - page_shift}")
        return cls._from_frames(
            (starts >> np.uint64(page_shift)).astype(np.int64), counts, orders, page_shift
        )

    @classmethod
    def _from_frames(
        cls,
        frames: NDArray[np.int64],
        counts: NDArray[np.int64],
        orders: NDArray[np.int64],
        page_shift: int,
    ) -> Blocks:
        index = frames >> orders
        fits = (np.int64(1) << (64 - page_shift - orders)) - index
        clipped = int(np.maximum(counts - fits, 0).sum(dtype=np.float64))
        if clipped:
            counts = np.minimum(counts, fits)
        if counts.size and int(counts.min()) <= 0:
            keep = counts > 0
            index, counts, orders = index[keep], counts[keep], orders[keep]
        first = (orders << _INDEX_BITS) | index
        first, last = merge_columns(first, first + counts)
        orders = first >> _INDEX_BITS
        frames = (first & _INDEX_MASK) << orders
        counts = last - first
        if orders.size and orders[0] != orders[-1]:
            row = np.argsort((frames << 6) | orders, kind="stable")
            frames, counts, orders = frames[row], counts[row], orders[row]
        return cls(
            frames.astype(np.uint64) << np.uint64(page_shift),
            counts,
            orders.astype(np.uint8),
            page_shift,
            clipped,
        )

    @classmethod
    def empty(cls, page_shift: int) -> Blocks:
        """No blocks."""
        return cls.from_runs([], [], [], page_shift)

    @classmethod
    def single(cls, addresses: ArrayLike, order: int, page_shift: int) -> Blocks:
        """Blocks of one order at physical addresses (n,) in bytes, in any order."""
        starts = np.asarray(addresses, np.uint64)
        return cls.from_runs(starts, np.ones(starts.size, np.int64), order, page_shift)

    @classmethod
    def join(cls, parts: list[Blocks], page_shift: int) -> Blocks:
        """All blocks of all parts, which have this page size."""
        if len(parts) == 1:
            return parts[0]
        bits = [part.bits for part in parts if part.bits is not None]
        if bits and len({each.words.shape[1] for each in bits}) == 1:
            loose = cls.join([part.loose for part in parts], page_shift)
            return cls.from_words(
                np.concatenate([each.base for each in bits]),
                np.concatenate([each.words for each in bits]),
                page_shift,
                loose,
            )
        none = cls.empty(page_shift)
        joined = cls.from_runs(
            np.concatenate([none.start, *(part.start for part in parts)]),
            np.concatenate([none.count, *(part.count for part in parts)]),
            np.concatenate([none.order, *(part.order for part in parts)]),
            page_shift,
        )
        clipped = sum(part.clipped for part in parts)
        return cls(joined.start, joined.count, joined.order, page_shift, clipped)

    def __len__(self) -> int:
        """Number of runs."""
        loose = int(self._loose[0].size)
        return loose if self.bits is None else loose + self.bits.run_count

    def __eq__(self, other: object) -> bool:
        """Whether the same blocks are preserved."""
        if not isinstance(other, Blocks):
            return NotImplemented
        if self.bits is not None and other.bits is not None and self.bits.equals(other.bits):
            return self.page_shift == other.page_shift and self.loose == other.loose
        return (
            self.page_shift == other.page_shift
            and np.array_equal(self.start, other.start)
            and np.array_equal(self.count, other.count)
            and np.array_equal(self.order, other.order)
        )

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def first_frame(self) -> NDArray[np.int64]:
        """Page frame number of the first page of each run."""
        return (self.start >> np.uint64(self.page_shift)).astype(np.int64)

    @cached_property
    def last_frame(self) -> NDArray[np.int64]:
        """Page frame number just past each run; at most 2**(64 - page_shift)."""
        return self.first_frame + (self.count << self.order.astype(np.int64))

    @property
    def end(self) -> NDArray[np.uint64]:
        """Physical address in bytes just past each run; ``TOP`` for 2**64."""
        return byte_addresses(self.last_frame, self.page_shift)

    @cached_property
    def pages(self) -> int:
        """Number of distinct pages preserved."""
        if self.bits is not None and not self.overlapping:
            return self.bits.pages + self.loose.pages
        start, end = merge_columns(self.first_frame, self.last_frame)
        return int((end - start).sum())

    def orders(self) -> dict[int, int]:
        """Order -> number of blocks, ascending."""
        _, count, order = self._loose
        found = {each: int(count[order == each].sum()) for each in distinct_bytes(order)}
        if self.bits is not None and self.bits.pages:
            found[0] = found.get(0, 0) + self.bits.pages
        return dict(sorted(found.items()))

    def ranges(self) -> Ranges:
        """Physical byte ranges uint64 (n, 2), merged regardless of order; ``TOP`` for 2**64."""
        start, end = merge_columns(self.first_frame, self.last_frame)
        shift = self.page_shift
        return np.stack([byte_addresses(start, shift), byte_addresses(end, shift)], axis=1)

    def near(self, areas: Ranges) -> Blocks:
        """Blocks among which are all that touch some areas, physical byte ranges uint64 (n, 2)."""
        if self.bits is None:
            return self
        bits, shift = self.bits, np.uint64(self.page_shift)
        first = (areas[:, 0] >> shift).astype(np.int64)
        last = (areas[:, 1] >> shift).astype(np.int64)
        touched = np.zeros(bits.base.size, bool)
        for low, high in zip(first.tolist(), last.tolist(), strict=True):
            touched |= (bits.base <= high) & (bits.base + bits.width >= low)
        return Blocks.from_words(
            bits.base[touched], bits.words[touched], self.page_shift, self.loose
        )

    @cached_property
    def range_count(self) -> int:
        """Number of ranges, merged regardless of order."""
        if self.bits is not None and not len(self.loose):
            return self.bits.run_count
        return len(merge_columns(self.first_frame, self.last_frame)[0])

    @cached_property
    def overlapping(self) -> bool:
        """Whether any page lies in blocks of two orders."""
        if self.bits is not None:
            loose = self.loose
            low, high = merge_columns(loose.first_frame, loose.last_frame)
            return loose.overlapping or bool((self.bits.rank(high) > self.bits.rank(low)).any())
        if len(self) < 2:
            return False
        reach = np.maximum.accumulate(self.last_frame)
        return bool((reach[:-1] > self.first_frame[1:]).any())

    def overlaps(self) -> Overlaps:
        """The ranges that blocks of more than one order cover."""
        none = np.zeros(0, np.uint64)
        if not self.overlapping:
            return Overlaps(none, none, none)
        start, end, mask = self._cover
        several = np.bitwise_count(mask) > 1
        start, end, mask = _merge_equal(start[several], end[several], mask[several])
        shift = self.page_shift
        return Overlaps(byte_addresses(start, shift), byte_addresses(end, shift), mask)

    @property
    def _cover(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
        """Frames between any two edges of runs, and the set of orders that cover them."""
        edges = distinct(np.concatenate([self.first_frame, self.last_frame]))
        bit = np.uint64(1) << self.order.astype(np.uint64)
        change = np.zeros(edges.size, np.uint64)
        # Runs of one order are disjoint, so the sum of their bits is the set of orders.
        np.add.at(change, np.searchsorted(edges, self.first_frame), bit)
        np.subtract.at(change, np.searchsorted(edges, self.last_frame), bit)
        mask = np.cumsum(change, dtype=np.uint64)[:-1]
        keep = mask != 0
        return edges[:-1][keep], edges[1:][keep], mask[keep]

    @cached_property
    def outermost(self) -> Blocks:
        """The blocks that lie inside no other block; disjoint, and they cover the same pages."""
        if not self.overlapping:
            return self
        start, end, mask = self._cover
        # Masks stay below 2**52, so a float holds them and its exponent is the highest order + 1.
        order = np.frexp(mask.astype(np.float64))[1].astype(np.int64) - 1
        start, end, order = _merge_equal(start, end, order)
        return Blocks._from_frames(start, (end - start) >> order, order, self.page_shift)

    def find(self, addresses: ArrayLike) -> Index:
        """For each physical address in bytes (m,), the row of its run, or -1.

        Where blocks overlap, the run of the largest block is meant.
        """
        points = self._frames(addresses)
        if not self.overlapping:
            return self._find_in(np.arange(len(self)), points)
        result = np.full(points.shape, -1, np.intp)
        for order in sorted(self.orders(), reverse=True):
            row = self._find_in(np.flatnonzero(self.order == order), points)
            result = np.where(result < 0, row, result)
        return result

    def _find_in(self, rows: Index, points: NDArray[np.int64]) -> Index:
        """As :meth:`find` among disjoint, ascending ``rows``; ``points`` are page frames."""
        if rows.size == 0:
            return np.full(points.shape, -1, np.intp)
        place = np.searchsorted(self.first_frame[rows], points, side="right") - 1
        row = rows[np.maximum(place, 0)]
        return np.where((place >= 0) & (points < self.last_frame[row]), row, -1)

    def blocks_of(self, addresses: ArrayLike) -> tuple[NDArray[np.uint64], NDArray[np.int16]]:
        """The largest block that contains each physical address in bytes (m,).

        Returns:
            Physical start address in bytes and order of the blocks; 0 and -1 where there is none.
        """
        points = np.asarray(addresses, np.uint64)
        if self.bits is None:
            row = self.find(points)
            if len(self) == 0:
                return np.zeros(points.shape, np.uint64), np.full(points.shape, -1, np.int16)
            orders = np.where(row >= 0, self.order[row].astype(np.int16), np.int16(-1))
        else:
            orders = self.index.orders_at(self._frames(points))
        size_shift = np.maximum(orders, 0).astype(np.uint64) + np.uint64(self.page_shift)
        start = np.where(orders >= 0, (points >> size_shift) << size_shift, np.uint64(0))
        return start, orders

    def _frames(self, addresses: ArrayLike) -> NDArray[np.int64]:
        """Page frames of physical addresses in bytes."""
        return (np.asarray(addresses, np.uint64) >> np.uint64(self.page_shift)).astype(np.int64)

    @property
    def largest_order(self) -> int:
        """Page order of the largest block; 0 where there is none."""
        return int(self._loose[2].max(initial=0))

    @cached_property
    def _large(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ranges of page frames that blocks of more than one page cover, ascending."""
        loose = self.loose
        large = loose.order > 0
        return merge_columns(loose.first_frame[large], loose.last_frame[large])

    def all_single(self, frames: NDArray[Number]) -> bool:
        """Whether no block of more than one page lies between the lowest and highest frame."""
        first, past = self._large
        if not first.size or not frames.size:
            return True
        row = int(np.searchsorted(past, int(frames.min()), side="right"))
        return row == first.size or int(first[row]) > int(frames.max())

    def holds(self, addresses: ArrayLike) -> NDArray[np.bool_]:
        """For each physical address in bytes (m,), whether its page is preserved."""
        held: NDArray[np.bool_] = self.blocks_of(addresses)[1] >= 0
        return held

    def block_of(self, address: int) -> tuple[int, int] | None:
        """Physical start in bytes and order of the largest block that contains ``address``."""
        if not 0 <= address <= TOP:
            return None
        if self.bits is not None and not len(self.loose):
            start = address >> self.page_shift << self.page_shift
            return (start, 0) if self.bits.has(address >> self.page_shift) else None
        starts, order = self.blocks_of(np.array([address], np.uint64))
        return None if order[0] < 0 else (int(starts[0]), int(order[0]))

    @cached_property
    def index(self) -> FrameIndex:
        """Slots for the outermost blocks."""
        if self.bits is not None and not self.overlapping:
            loose = self.loose
            runs = Runs(loose.first_frame, loose.last_frame, loose.order.astype(np.int64))
            return FrameIndex(self.bits.base, self.bits.words, runs)
        outer = self.outermost
        runs = Runs(outer.first_frame, outer.last_frame, outer.order.astype(np.int64))
        return FrameIndex(np.zeros(0, np.int64), np.zeros((0, 8), np.uint64), runs)


def distinct_bytes(values: NDArray[np.uint8]) -> list[int]:
    """Every value once, ascending."""
    found: list[int] = np.flatnonzero(np.bincount(values, minlength=1)).tolist()
    return found


def _check_page_shift(page_shift: int) -> None:
    if page_shift not in _PAGE_SHIFTS:
        raise ValueError(f"page_shift lies between {_PAGE_SHIFTS[0]} and {_PAGE_SHIFTS[-1]}")


def _merge_equal(
    start: NDArray[np.int64], end: NDArray[np.int64], value: NDArray[Number]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Number]]:
    """Join neighbouring ranges that carry the same value."""
    new = np.append(True, (start[1:] != end[:-1]) | (value[1:] != value[:-1]))[: start.size]
    return start[new], end[np.append(new[1:], True)[: end.size]], value[new]
