"""Memory of the running host, read page by page through a file descriptor."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator

import numpy as np

from khotool.absent import Reason
from khotool.memory.overlap import disjoint, merged
from khotool.memory.segments import Ranges
from khotool.memory.space import (
    ADDRESS_LIMIT,
    COPY_LIMIT,
    U64,
    WORDS_CHUNK,
    ExtentIndex,
    IndexedSpace,
    MemoryFault,
    Piece,
    SourceInfo,
    check_range,
    check_words,
    too_long,
    u64_array,
)

ReadAt = Callable[[int, int], bytes]
"""Takes bytes and an offset in the file; returns that many bytes or fewer, or raises OSError."""

#: Bytes of pages that are kept, so that a second look finds what the first one saw.
CACHE_LIMIT = 256 << 20
#: Bytes asked for at once.
BATCH = 1 << 20
#: Offsets in a file are signed.
OFFSET_LIMIT = 1 << 63


class LiveSpace(IndexedSpace):
    """Physical memory of a kernel that goes on running while it is read.

    A page is read when it is first asked for, and kept, so that one decode sees one copy of each
    page. Different pages are read at different times: a list may have changed between its head
    and its tail. Pages beyond ``cache`` bytes are not kept, and may differ when read again.

    A page that the kernel refuses to give is unreadable. /proc/kcore gives zeros for many of
    them (offline, poisoned or not accepted), which look like pages of zeros.

    Args:
        info: description of the source; notes are appended to it.
        read_at: reads the file; never asked for more than ``BATCH`` bytes.
        ranges: physical ranges and their offsets in the file, in order of precedence. Only
            whole pages of them are used.
        page_size: bytes, a power of two.
        release: called by ``close``.
        cache: bytes of pages that are kept.
    """

    def __init__(
        self,
        info: SourceInfo,
        read_at: ReadAt,
        ranges: Ranges,
        *,
        page_size: int,
        release: Callable[[], None] | None = None,
        cache: int = CACHE_LIMIT,
    ) -> None:
        self.info = info
        self.page_size = page_size
        self._read_at = read_at
        self._release = release
        self._room = cache // page_size
        self._pages: dict[int, bytes] = {}
        self._faults: dict[int, str] = {}
        starts, ends, offsets = _whole_pages(ranges, page_size)
        low, high, owner, _ = disjoint(starts, ends)
        self._starts, self._ends = u64_array(low), u64_array(high)
        self._offsets = u64_array(offsets[owner] + (low - starts[owner]))
        self._index = ExtentIndex(merged(low, high))

    def read(self, address: int, length: int) -> memoryview:
        """See ``AddressSpace.read``."""
        check_range(address, length)
        if not length:
            return memoryview(b"")
        gap = self._index.missing(address, length)
        if gap is not None:
            raise MemoryFault(*gap, Reason.NOT_CAPTURED, "not memory of this host")
        size = self.page_size
        first, last = address // size, (address + length - 1) // size
        if first == last:
            page = self._page(first, last, address)
            at = address - first * size
            return memoryview(page)[at : at + length]
        if length > COPY_LIMIT:
            raise too_long(address, length)
        result = bytearray(length)
        for number in range(first, last + 1):
            base = number * size
            low, high = max(base, address), min(base + size, address + length)
            page = self._page(number, last, low)
            result[low - address : high - address] = page[low - base : high - base]
        return memoryview(result).toreadonly()

    def glance(self, address: int, length: int) -> bytes | None:
        """A few bytes inside one page, without keeping the page; None if they cannot be read."""
        number, at = divmod(address, self.page_size)
        if not self.contains(address, length) or at + length > self.page_size:
            return None
        page = self._pages.get(number)
        if page is not None:
            return page[at : at + length]
        index = bisect_right(self._starts, address) - 1
        try:
            data = self._read_at(length, self._offsets[index] + address - self._starts[index])
        except (OSError, OverflowError, ValueError):
            return None
        return data if len(data) == length else None

    def _page(self, number: int, last: int, wanted: int) -> bytes:
        """The page of ``wanted``; those up to ``last`` after it may be read along with it."""
        page = self._pages.get(number)
        if page is not None:
            return page
        if number not in self._faults:
            page = self._load(number, last)
            if page is not None:
                return page
        start, end = number * self.page_size, (number + 1) * self.page_size
        detail = f"{self.info.path}: {self._faults[number]}"
        raise MemoryFault(max(start, wanted), end - max(start, wanted), Reason.UNREADABLE, detail)

    def _load(self, number: int, last: int) -> bytes | None:
        size = self.page_size
        if len(self._pages) >= self._room:
            last = number
        count = min(self._run(number, last), BATCH // size or 1, max(self._room, 1))
        data = self._fetch(number, count)
        if len(data) < size * count and count > 1:
            # One bad page fails all of a read: ask for this one alone.
            count, data = 1, self._fetch(number, 1)
        if len(data) < size:
            return None
        for index in range(count):
            if len(self._pages) >= self._room:
                break
            self._pages.setdefault(number + index, data[index * size : (index + 1) * size])
        return data[:size]

    def _run(self, number: int, last: int) -> int:
        """Pages from ``number`` to ``last`` that are contiguous in the file."""
        index = bisect_right(self._starts, number * self.page_size) - 1
        stop = min(self._ends[index] // self.page_size, last + 1)
        return max(stop - number, 1)

    def _fetch(self, number: int, count: int) -> bytes:
        """Bytes of pages; fewer than asked for, and a reason kept, if they cannot be read."""
        address = number * self.page_size
        index = bisect_right(self._starts, address) - 1
        offset = self._offsets[index] + address - self._starts[index]
        if offset + count * self.page_size > OFFSET_LIMIT:
            self._faults[number] = "its place is past the end of any file"
            return b""
        try:
            data = self._read_at(count * self.page_size, offset)
        except (OSError, OverflowError, ValueError) as error:
            if count == 1:
                self._faults[number] = getattr(error, "strerror", None) or str(error)
            return b""
        if len(data) < self.page_size and count == 1:
            self._faults[number] = f"{len(data)} of {self.page_size} bytes could be read"
        return data

    def known(self, address: int, length: int) -> list[Piece]:
        """See ``AddressSpace.known``; after ``COPY_LIMIT`` bytes of data, the rest is an error."""
        check_range(address, length)
        pieces: list[Piece] = []
        position, stop = address, min(address + length, ADDRESS_LIMIT - 1)
        left = COPY_LIMIT
        while position < stop:
            gap = self._index.missing(position, stop - position)
            end = stop if gap is None else gap[0]
            while position < end:
                if left <= 0:
                    pieces.append((position, None, "error"))
                    position = end
                    break
                size = min(BATCH, end - position)
                view, until = self._some(position, size)
                pieces.append((position, view, "data" if view is not None else "error"))
                left -= until - position
                position = until
            if gap is not None:
                pieces.append((gap[0], None, "hole"))
                position = gap[0] + gap[1]
        return pieces

    def _some(self, address: int, length: int) -> tuple[memoryview | None, int]:
        """Bytes up to the first unreadable page, or None for such a page; and where they end."""
        try:
            return self.read(address, length), address + length
        except MemoryFault as fault:
            if fault.address > address:
                return self.read(address, fault.address - address), fault.address
            bound = (address // self.page_size + 1) * self.page_size
            return None, min(bound, address + length)

    def first_words(self, page_size: int, words: int = 1) -> Iterator[tuple[int, U64]]:
        """See ``AddressSpace.first_words``: reads all memory, and keeps none of it."""
        check_words(page_size, words)
        step = min(max(BATCH // page_size, 1), WORDS_CHUNK)
        for index in range(len(self._starts)):
            start, end = self._starts[index], self._ends[index]
            shift = self._offsets[index] - start
            page = -(-start // page_size) * page_size
            while end - page >= page_size:
                count = min((end - page) // page_size, step)
                for base, data in self._stream(page, count * page_size, page_size, shift):
                    pages = len(data) // page_size
                    if pages:
                        yield base, np.ndarray((pages, words), "<u8", data, 0, (page_size, 8))
                page += count * page_size

    def _stream(
        self, address: int, length: int, page_size: int, shift: int
    ) -> Iterator[tuple[int, bytes]]:
        """A piece of the file whole, or page by page where it cannot be read whole."""
        for step in (length, page_size):
            for base in range(address, address + length, step):
                try:
                    data = self._read_at(step, base + shift)
                except (OSError, OverflowError, ValueError):
                    data = b""
                if len(data) == step:
                    yield base, data
                elif step > page_size:
                    break
            else:
                return

    def close(self) -> None:
        """See ``AddressSpace.close``; reads after it fault."""
        release, self._release = self._release, None
        self._pages, self._faults = {}, {}
        self._close_index()
        for name in ("_starts", "_ends", "_offsets"):
            setattr(self, name, u64_array(np.empty((0,), dtype=np.uint64)))
        if release is not None:
            release()


def _whole_pages(ranges: Ranges, page_size: int) -> tuple[U64, U64, U64]:
    """Starts, ends and offsets of the whole pages in each range; empty ranges are left out."""
    low, mask = np.uint64(page_size - 1), ~np.uint64(page_size - 1)
    starts = (ranges.starts + low) & mask
    ends = ranges.ends & mask
    # A start that is rounded up past 2**64 comes out below the range.
    keep = (starts >= ranges.starts) & (ends > starts)
    return starts[keep], ends[keep], (ranges.offsets + (starts - ranges.starts))[keep]
