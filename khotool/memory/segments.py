"""An address space made of ranges of uncompressed bytes, such as the segments of an ELF core."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from khotool.absent import Reason
from khotool.memory.mapped import Mapping, give_back, mapping_of
from khotool.memory.overlap import disjoint, merged
from khotool.memory.space import (
    ADDRESS_LIMIT,
    COPY_LIMIT,
    U64,
    WORDS_CHUNK,
    Bytes2D,
    Elsewhere,
    ExtentIndex,
    Flags,
    IndexedSpace,
    MemoryFault,
    Piece,
    SourceInfo,
    check_range,
    check_words,
    too_long,
    u64_array,
)
from khotool.records import dataclass


def _until_hole(
    mapped: Mapping | None, offset: int, pages: int, page_size: int
) -> tuple[int, bool]:
    """How many of the pages at a file offset to take together, and whether the file has none."""
    if mapped is None or not mapped.holes:
        return pages, False
    start, end = mapped.next_hole(offset)
    if start <= offset:
        inside = min((end - offset) // page_size, pages)
        return (inside, True) if inside else (1, False)
    return max(min(pages, -(-(start - offset) // page_size)), 1), False


@dataclass(frozen=True, slots=True)
class Segment:
    """A range of physical addresses.

    Args:
        start: physical address of the first byte.
        end: physical address after the last byte.
        buffer: the ``end - start`` bytes, or None where there are none.
        state: ``data`` with a buffer; without one ``zero`` (reads as zeros) or ``hole`` (known
            to be missing: reads fault with ``detail``).
        detail: why it is a hole.
    """

    start: int
    end: int
    buffer: memoryview | None
    state: Literal["data", "zero", "hole"] = "data"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ranges:
    """Many ranges of one buffer.

    Args:
        starts: shape (n,), physical addresses.
        ends: shape (n,), exclusive.
        offsets: shape (n,), byte of the buffer where each range begins; the caller checked that
            all of the range is inside the buffer.
    """

    starts: U64
    ends: U64
    offsets: U64


@dataclass(frozen=True, slots=True)
class Holes:
    """Ranges known to be missing and why; they may overlap anything.

    Args:
        starts: shape (n,), physical addresses.
        ends: shape (n,), exclusive.
        detail: one sentence for a person.
        reason: the same for programs.
    """

    starts: U64
    ends: U64
    detail: str
    reason: Reason = Reason.NOT_CAPTURED


class _HoleIndex:
    def __init__(self, holes: Holes) -> None:
        order = np.argsort(holes.starts, kind="stable")
        self.starts = u64_array(holes.starts[order])
        ends = holes.ends[order]
        self.reach = u64_array(np.maximum.accumulate(ends) if len(ends) else ends)
        self.detail = holes.detail
        self.reason = holes.reason

    def covers(self, address: int) -> bool:
        index = bisect_right(self.starts, address) - 1
        return index >= 0 and address < self.reach[index]


class SegmentedSpace(IndexedSpace):
    """Ranges of bytes held in memory or in a mapped file.

    Where segments overlap, the first one given wins and a note in ``info`` says so.

    Args:
        info: description of the source; notes are appended to it.
        segments: the ranges, in order of precedence. Those that pass the end of the address
            space are clipped, with a note.
        release: called by ``close``.
    """

    def __init__(
        self,
        info: SourceInfo,
        segments: Iterable[Segment],
        release: Callable[[], None] | None = None,
    ) -> None:
        backed: list[Segment] = []
        holes: dict[str, list[tuple[int, int]]] = {}
        clipped = 0
        for segment in segments:
            end = min(segment.end, ADDRESS_LIMIT - 1)
            clipped += end != segment.end
            if segment.buffer is not None and len(segment.buffer) < segment.end - segment.start:
                raise ValueError(f"segment at {segment.start:#x} is longer than its bytes")
            if segment.start < 0 or segment.start >= end:
                continue
            if segment.state == "hole":
                holes.setdefault(segment.detail, []).append((segment.start, end))
            else:
                backed.append(segment)
        if clipped:
            info.notes.append(f"{clipped} segments pass the end of the address space: clipped")
        buffers = [segment.buffer for segment in backed]
        self._setup(
            info,
            buffers,
            Ranges(
                np.array([segment.start for segment in backed], dtype=np.uint64),
                np.array([min(s.end, ADDRESS_LIMIT - 1) for s in backed], dtype=np.uint64),
                np.zeros(len(backed), dtype=np.uint64),
            ),
            np.arange(len(backed), dtype=np.uint64),
            [
                Holes(
                    np.array([start for start, _ in ranges], dtype=np.uint64),
                    np.array([end for _, end in ranges], dtype=np.uint64),
                    detail,
                )
                for detail, ranges in holes.items()
            ],
            release,
        )

    @classmethod
    def from_ranges(
        cls,
        info: SourceInfo,
        buffer: memoryview,
        ranges: Ranges,
        holes: Sequence[Holes] = (),
        release: Callable[[], None] | None = None,
    ) -> SegmentedSpace:
        """Build from arrays: for files with many segments.

        Args:
            info: description of the source; notes are appended to it.
            buffer: the bytes of the file.
            ranges: segments in order of precedence, each at least one byte long.
            holes: ranges that fault with a detail unless some segment covers them.
            release: called by ``close``.
        """
        space = cls.__new__(cls)
        which = np.zeros(len(ranges.starts), dtype=np.uint64)
        space._setup(info, [buffer], ranges, which, holes, release)
        return space

    def _setup(
        self,
        info: SourceInfo,
        buffers: list[memoryview | None],
        ranges: Ranges,
        which: U64,
        holes: Sequence[Holes],
        release: Callable[[], None] | None,
    ) -> None:
        self.info = info
        self._release = release
        self._buffers = buffers
        starts, ends, owner, overlaps = disjoint(ranges.starts, ranges.ends)
        if overlaps:
            info.notes.append(f"{overlaps} segments overlap others: the first in the file wins")
        offsets = ranges.offsets[owner] + (starts - ranges.starts[owner])
        self._start_table, self._end_table, self._offset_table = starts, ends, offsets
        self._starts, self._ends = u64_array(starts), u64_array(ends)
        self._offsets, self._which = u64_array(offsets), u64_array(which[owner])
        self._index = ExtentIndex(merged(starts, ends))
        self._holes = [_HoleIndex(kind) for kind in holes]

    def _slice(self, index: int, address: int, length: int) -> memoryview:
        buffer = self._buffers[self._which[index]]
        if buffer is None:
            if length > COPY_LIMIT:
                raise too_long(address, length)
            return memoryview(bytes(length))
        offset = self._offsets[index] + address - self._starts[index]
        return buffer[offset : offset + length]

    def read(self, address: int, length: int) -> memoryview:
        """See ``AddressSpace.read``; no copy when the range is inside one segment."""
        if address < 0 or length < 0:
            check_range(address, length)
        index = bisect_right(self._starts, address) - 1 if address < ADDRESS_LIMIT else -1
        if index >= 0 and address + length <= self._ends[index]:
            buffer = self._buffers[self._which[index]]
            if buffer is None:
                return self._slice(index, address, length)
            start = self._offsets[index] + address - self._starts[index]
            return buffer[start : start + length]
        gap = self._index.missing(address, length)
        if gap is not None:
            raise MemoryFault(*gap, *self._why(gap[0]))
        if length > COPY_LIMIT:
            raise too_long(address, length)
        result = bytearray(length)
        done = 0
        while done < length:
            here = address + done
            part = self._slice(index, here, min(self._ends[index] - here, length - done))
            result[done : done + len(part)] = part
            done += len(part)
            index += 1
        return memoryview(result).toreadonly()

    def _why(self, address: int) -> tuple[Reason, str]:
        for kind in self._holes:
            if kind.covers(address):
                return kind.reason, kind.detail
        return Reason.NOT_CAPTURED, "not in the file"

    def known(self, address: int, length: int) -> list[Piece]:
        """See ``AddressSpace.known``."""
        check_range(address, length)
        pieces: list[Piece] = []
        position, stop = address, min(address + length, ADDRESS_LIMIT - 1)
        index = max(bisect_right(self._starts, min(position, stop)) - 1, 0)
        while position < stop:
            if index < len(self._starts) and self._ends[index] <= position:
                index += 1
            start = self._starts[index] if index < len(self._starts) else stop
            if start > position:
                pieces.append((position, None, "hole"))
                position = min(start, stop)
                continue
            end = min(self._ends[index], stop)
            if self._buffers[self._which[index]] is None:
                pieces.append((position, None, "zero"))
            else:
                pieces.append((position, self._slice(index, position, end - position), "data"))
            position = end
        return pieces

    def first_words(self, page_size: int, words: int = 1) -> Iterator[tuple[int, U64]]:
        """See ``AddressSpace.first_words``; pages inside one segment are not copied."""
        check_words(page_size, words)
        shape = (1, words)
        following = 0
        for index in range(len(self._starts)):
            start, end = self._starts[index], self._ends[index]
            page = max(-(-start // page_size) * page_size, following)
            mapped = mapping_of(self._buffers[self._which[index]])
            while end - page >= page_size:
                pages = min((end - page) // page_size, WORDS_CHUNK)
                offset = self._offsets[index] + page - start
                pages, empty = _until_hole(mapped, offset, pages, page_size)
                if empty:
                    yield page, np.broadcast_to(np.zeros((1, words), dtype="<u8"), (pages, words))
                else:
                    yield page, self._words(index, page, pages, page_size, words)
                    if pages == WORDS_CHUNK:
                        give_back(mapped, offset, pages * page_size)
                page += pages * page_size
            # A page that begins here and continues in the segments that follow without a gap.
            if page < end and self.contains(page, page_size):
                yield page, np.frombuffer(self.read(page, words * 8), "<u8").reshape(shape)
                following = page + page_size

    def _words(self, index: int, page: int, pages: int, page_size: int, words: int) -> U64:
        buffer = self._buffers[self._which[index]]
        if buffer is None:
            return np.broadcast_to(np.zeros((1, words), dtype="<u8"), (pages, words))
        offset = self._offsets[index] + page - self._starts[index]
        return np.ndarray((pages, words), "<u8", buffer, offset, (page_size, 8))

    def at_offset(self, offset: int) -> int | Elsewhere:
        """See ``AddressSpace.at_offset``."""
        buffer = self._buffers[0] if len(self._buffers) == 1 else None
        if buffer is None:
            return Elsewhere.NO_FILE
        if not 0 <= offset < len(buffer):
            return Elsewhere.BEYOND
        inside = np.uint64(offset) - self._offset_table < self._end_table - self._start_table
        if not inside.any():
            return Elsewhere.HEADER
        row = int(inside.argmax())
        return offset - self._offsets[row] + self._starts[row]

    def next_data(self, address: int) -> int:
        """See ``AddressSpace.next_data``; jumps over a hole of the file, to its end at most."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._ends[index]:
            return address
        mapped = mapping_of(self._buffers[self._which[index]])
        if mapped is None or not mapped.holes:
            return address
        offset = self._offsets[index] + address - self._starts[index]
        start, end = mapped.next_hole(offset)
        if not start <= offset < end:
            return address
        return min(address + end - offset, int(self._ends[index]))

    def gather(self, addresses: U64, length: int) -> tuple[Bytes2D, Flags]:
        """See ``AddressSpace.gather``."""
        buffer = self._buffers[0] if len(self._buffers) == 1 else None
        if buffer is None or not len(self._starts) or len(buffer) < length or length < 1:
            return super().gather(addresses, length)
        wanted = np.asarray(addresses, dtype=np.uint64)
        index = np.searchsorted(self._start_table, wanted, side="right").astype(np.int64) - 1
        safe = np.maximum(index, 0)
        inside = (index >= 0) & (wanted < self._end_table[safe])
        inside[inside] = self._end_table[safe[inside]] - wanted[inside] >= length
        rows = np.zeros((len(wanted), length), dtype=np.uint8)
        table, where = safe[inside], wanted[inside]
        offsets = self._offset_table[table] + (where - self._start_table[table])
        windows = np.lib.stride_tricks.sliding_window_view(
            np.frombuffer(buffer, dtype=np.uint8), length
        )
        rows[inside] = windows[offsets.astype(np.int64)]
        ok = inside
        # Rows that begin in one segment and end in the next one.
        rest = np.flatnonzero(~inside & (index >= 0) & (wanted < self._end_table[safe]))
        if len(rest):
            slow, found = super().gather(wanted[rest], length)
            rows[rest], ok[rest] = slow, found
        return rows, ok

    def backed(self, address: int, length: int) -> int:
        """Number of bytes of the range that exist before the first gap."""
        gap = self._index.missing(address, length)
        return length if gap is None else gap[0] - address

    def segments_between(self, start: int, end: int) -> int:
        """Number of disjoint segments that touch ``[start, end)``."""
        first = bisect_right(self._ends, start)
        return max(bisect_left(self._starts, end) - first, 0)

    def close(self) -> None:
        """See ``AddressSpace.close``; reads after it fault."""
        release, self._release = self._release, None
        self._buffers = []
        for name in ("_starts", "_ends", "_offsets", "_which"):
            setattr(self, name, array("Q"))
        empty = np.empty((0,), dtype=np.uint64)
        self._start_table = self._end_table = self._offset_table = empty
        self._close_index()
        if release is not None:
            release()
