"""The pages of a kdump-compressed dump as an address space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from khotool.absent import Reason
from khotool.memory.pagecodec import BadPage, PageCodec
from khotool.memory.pagemap import PageMap
from khotool.memory.segments import SegmentedSpace
from khotool.memory.space import (
    ADDRESS_LIMIT,
    COPY_LIMIT,
    U64,
    Elsewhere,
    ExtentIndex,
    IndexedSpace,
    MemoryFault,
    Piece,
    SourceInfo,
    check_range,
    check_words,
    too_long,
    true_runs,
)

#: struct page_desc: s64 offset, u32 size, u32 flags, u64 page_flags.
DESCRIPTOR_SIZE = 24
_CACHE_BYTES = 32 << 20
_CHUNK = 4096


class KdumpSpace(IndexedSpace):
    """Pages that are decompressed when they are read; the latest ones are kept.

    Args:
        info: description of the source; its byte order is the one of the descriptors.
        file: the bytes of the file by offset, reassembled where it is flattened.
        block_size: bytes of a page.
        pages: the pages in the file, by PFN; physical address is PFN times ``block_size``.
        descriptors_at: offset of the descriptor of the first page.
        release: called by ``close``.
    """

    def __init__(
        self,
        info: SourceInfo,
        file: SegmentedSpace,
        block_size: int,
        pages: PageMap,
        descriptors_at: int,
        release: Callable[[], None] | None,
    ) -> None:
        self.info = info
        self._file = file
        self._block = block_size
        self._pages = pages
        self._descriptors_at = descriptors_at
        self._release = release
        self._codec = PageCodec(block_size)
        order = "<" if info.endian == "little" else ">"
        self._layout = np.dtype(
            [
                ("offset", f"{order}i8"),
                ("size", f"{order}u4"),
                ("flags", f"{order}u4"),
                ("page_flags", f"{order}u8"),
            ]
        )
        runs = pages.runs()
        # The last byte of the address space is out of reach of a half-open range.
        runs = runs[runs[:, 1] <= (ADDRESS_LIMIT - 1) // block_size]
        self._index = ExtentIndex(runs * np.uint64(block_size))
        self._page = lru_cache(maxsize=max(_CACHE_BYTES // block_size, 16))(self._load)

    def _describe(self, first: int, count: int) -> npt.NDArray[np.void]:
        at = self._descriptors_at + first * DESCRIPTOR_SIZE
        raw = self._file.read(at, count * DESCRIPTOR_SIZE)
        return np.frombuffer(raw, dtype=self._layout)

    def _stored(self, offset: int, size: int) -> memoryview:
        if offset <= 0 or not 0 < size <= 2 * self._block:
            raise BadPage(f"its descriptor names {size} bytes at {offset}")
        try:
            return self._file.read(offset, size)
        except MemoryFault as fault:
            raise BadPage(f"cut off: byte {fault.address} of the dump is missing") from None

    def _load(self, pfn: int) -> memoryview:
        (descriptor,) = self._describe(self._pages.rank(pfn), 1).tolist()
        offset, size, flags, _ = descriptor
        try:
            return memoryview(self._codec.page(self._stored(offset, size), flags)).toreadonly()
        except BadPage as error:
            address = pfn * self._block
            raise MemoryFault(address, self._block, Reason.UNREADABLE, str(error)) from None

    def read(self, address: int, length: int) -> memoryview:
        """See ``AddressSpace.read``; no copy when the range is inside one page."""
        check_range(address, length)
        gap = self._index.missing(address, length)
        if gap is not None:
            detail = "excluded from the dump, or no memory"
            raise MemoryFault(*gap, Reason.NOT_CAPTURED, detail)
        if not length:
            return memoryview(b"")
        if length > COPY_LIMIT:
            raise too_long(address, length)
        pfn, start = divmod(address, self._block)
        if start + length <= self._block:
            return self._checked(pfn, address, length)[start : start + length]
        result = bytearray(length)
        done = 0
        while done < length:
            pfn, start = divmod(address + done, self._block)
            size = min(self._block - start, length - done)
            page = self._checked(pfn, address, length)
            result[done : done + size] = page[start : start + size]
            done += size
        return memoryview(result).toreadonly()

    def _checked(self, pfn: int, address: int, length: int) -> memoryview:
        try:
            return self._page(pfn)
        except MemoryFault as fault:
            # The fault of the page, cut to what was asked for.
            first = max(fault.address, address)
            last = min(fault.address + fault.length, address + length)
            raise MemoryFault(first, last - first, fault.reason, fault.detail) from None

    def known(self, address: int, length: int) -> list[Piece]:
        """See ``AddressSpace.known``; one piece a page, ``error`` where it does not decompress."""
        check_range(address, length)
        pieces: list[Piece] = []
        position, stop = address, min(address + length, ADDRESS_LIMIT - 1)
        while position < stop:
            gap = self._index.missing(position, stop - position)
            backed = stop if gap is None else gap[0]
            while position < backed:
                end = min((position // self._block + 1) * self._block, backed)
                try:
                    pieces.append((position, self.read(position, end - position), "data"))
                except MemoryFault:
                    pieces.append((position, None, "error"))
                position = end
            if gap is not None:
                pieces.append((position, None, "hole"))
                position = sum(gap)
        return pieces

    def at_offset(self, offset: int) -> int | Elsewhere:
        """See ``AddressSpace.at_offset``; of pages that share their bytes, the first."""
        logical = self._file.at_offset(offset)
        if isinstance(logical, Elsewhere):
            return logical
        for start, end in (self._index.table // np.uint64(self._block)).tolist():
            for first in range(start, end, _CHUNK):
                pfns = np.arange(first, min(first + _CHUNK, end), dtype=np.uint64)
                ranks = self._pages.ranks(pfns)
                try:
                    described = self._describe(int(ranks[0]), len(ranks))
                except MemoryFault:
                    return Elsewhere.HEADER
                inside = logical - described["offset"]
                rows = np.flatnonzero((inside >= 0) & (inside < described["size"]))
                if len(rows):
                    row = int(rows[0])
                    plain = int(described["size"][row]) == self._block
                    return (first + row) * self._block + (int(inside[row]) if plain else 0)
        return Elsewhere.HEADER

    def first_words(self, page_size: int, words: int = 1) -> Iterator[tuple[int, U64]]:
        """See ``AddressSpace.first_words``; only the beginning of each page is decompressed."""
        check_words(page_size, words)
        if page_size % self._block or words * 8 > self._block:
            yield from super().first_words(page_size, words)
            return
        ratio = page_size // self._block
        for start, end in self.extents().tolist():
            first, last = -(-start // page_size), end // page_size
            for base in range(first, last, _CHUNK):
                stop = min(base + _CHUNK, last)
                pfns = np.arange(base, stop, dtype=np.uint64) * np.uint64(ratio)
                table, ok = self._prefixes(pfns, words * 8)
                for low, high in true_runs(ok):
                    yield (base + low) * page_size, table[low:high].view("<u8")

    def _prefixes(
        self, pfns: U64, length: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        ranks = self._pages.ranks(pfns)
        low = int(ranks[0])
        described = self._describe(low, int(ranks[-1]) + 1 - low)[ranks - np.uint64(low)]
        rows = np.zeros((len(pfns), length), dtype=np.uint8)
        ok = np.zeros(len(pfns), dtype=np.bool_)
        # Equal pages, above all those of zeros, may share their bytes in the file.
        latest: tuple[int, int, int] | None = None
        previous = 0
        for row, (offset, size, flags, _) in enumerate(described.tolist()):
            if latest == (offset, size, flags):
                rows[row], ok[row] = rows[previous], ok[previous]
                continue
            latest, previous = (offset, size, flags), row
            try:
                prefix = self._codec.prefix(self._stored(offset, size), flags, length)
            except BadPage:
                continue
            if len(prefix) == length:
                rows[row] = np.frombuffer(prefix, dtype=np.uint8)
                ok[row] = True
        return rows, ok

    def close(self) -> None:
        """See ``AddressSpace.close``; reads after it fault."""
        self._page.cache_clear()
        self._file.close()
        self._close_index()
        release, self._release = self._release, None
        if release is not None:
            release()
