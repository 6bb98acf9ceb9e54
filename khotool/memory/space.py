"""Physical memory as a sparse address space, whatever file it comes from.

Addresses are physical addresses in bytes, below 2**64; lengths are bytes. Nothing here gives
the bytes a meaning: byte order is the caller's.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from enum import StrEnum
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from khotool.absent import Reason
from khotool.records import dataclass, field

Endian = Literal["little", "big"]
State = Literal["data", "zero", "hole", "error"]
Piece = tuple[int, memoryview | None, State]
Bytes2D = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
U64 = npt.NDArray[np.uint64]

#: Physical addresses are below this.
ADDRESS_LIMIT = 1 << 64
#: A read that must copy, because it spans segments or compressed pages, is at most this many bytes.
COPY_LIMIT = 1 << 30
#: Pages per array of ``first_words``.
WORDS_CHUNK = 65536
_FIND_CHUNK = 1 << 20


class MemoryFault(Exception):  # noqa: N818 - a missing byte is a fact about the file
    """Bytes that the source does not have.

    Args:
        address: physical address of the first missing byte.
        length: missing bytes from there on, up to the next byte that exists or the end of the
            request.
        reason: ``not-captured`` (the file never held them) or ``unreadable`` (it holds something
            that does not decode).
        detail: one sentence for a person.
    """

    def __init__(self, address: int, length: int, reason: Reason, detail: str) -> None:
        super().__init__(f"{address:#x}: {detail}")
        self.address = address
        self.length = length
        self.reason = reason
        self.detail = detail


class Elsewhere(StrEnum):
    """What the byte at an offset of a file is, where it is not memory."""

    HEADER = "header"
    BEYOND = "beyond"
    NO_FILE = "no-file"


class Part(StrEnum):
    """What a container is made of, where some of it is missing."""

    PAGES = "pages"
    SEGMENTS = "segments"
    RANGES = "ranges"
    HEADERS = "headers"
    RECORDS = "records"
    FILES = "files"
    STREAM = "stream"
    DUMP = "dump"


@dataclass(frozen=True, slots=True)
class Lack:
    """A part of a container that should be in the file and is not.

    Args:
        part: what is counted; see ``PARTS`` of ``khotool/check/rules/container.py``.
        missing: how many are missing; of: how many there should be; 0 where that is not known.
    """

    part: Part
    missing: int = 0
    of: int = 0


@dataclass(slots=True)
class SourceInfo:
    """What is known about the file itself.

    Args:
        path: as the user gave it.
        container: ``elf``, ``kdump``, ``raw``, ``lime``, ``debugfs``, ``fdt`` or ``overlay``.
        compression: of the whole file: ``gzip``, ``bzip2``, ``xz`` or ``zstd``; None for none.
        page_size: bytes per page as the file declares it, a power of two; None where it does not.
        endian: byte order as the container declares it.
        osrelease: kernel release, untrusted text.
        build: number, options and date of the kernel's build, untrusted text; None where the
            file does not hold the kernel itself.
        vmcoreinfo: lines of the VMCOREINFO note, split at the first ``=``; untrusted text.
        machine: ``x86_64``, ``aarch64``, ... as ``uname -m`` says it.
        notes: sentences worth telling the user.
        lacks: what the file should hold and does not, as after a copy that was cut short.
    """

    path: str
    container: str
    compression: str | None = None
    page_size: int | None = None
    endian: Endian | None = None
    osrelease: str | None = None
    build: str | None = None
    vmcoreinfo: dict[str, str] = field(default_factory=dict)
    machine: str | None = None
    notes: list[str] = field(default_factory=list)
    lacks: list[Lack] = field(default_factory=list)

    def lack(self, note: str, part: Part, missing: int = 0, of: int = 0) -> None:
        """Note that a part is missing; see ``Lack``."""
        self.notes.append(note)
        self.lacks.append(Lack(part, missing, of))


class AddressSpace(ABC):
    """A sparse array of bytes indexed by physical address."""

    info: SourceInfo

    @abstractmethod
    def read(self, address: int, length: int) -> memoryview:
        """Return exactly ``length`` bytes at ``address``.

        The view is read-only or must be treated so; it may alias the file.

        Raises:
            MemoryFault: a byte is missing, or the read must copy more than ``COPY_LIMIT`` bytes.
            ValueError: ``address`` or ``length`` is negative.
        """

    @abstractmethod
    def known(self, address: int, length: int) -> list[Piece]:
        """Cut ``[address, address + length)`` into pieces by what is known of them.

        Each piece is (address, bytes or None, state) and reaches to the address of the next
        one, the last to the end of the range. Only ``data`` pieces have bytes. The number of
        pieces grows with the segments or pages in the range, not with its bytes.
        """

    @abstractmethod
    def extents(self) -> U64:
        """Ranges backed by the source: shape (n, 2), half-open, ascending, merged, read-only."""

    @abstractmethod
    def contains(self, address: int, length: int = 1) -> bool:
        """Whether all of ``[address, address + length)`` is inside one extent."""

    def first_words(self, page_size: int, words: int = 1) -> Iterator[tuple[int, U64]]:
        """Iterate over the first words of every aligned page that is wholly backed.

        Args:
            page_size: bytes, a multiple of 8.
            words: 64-bit words wanted of each page, at most a page.

        Yields:
            Physical address of a page, and an array of shape (pages, words) and dtype ``<u8``
            for it and the pages that follow without a gap; at most ``WORDS_CHUNK`` pages an
            array. Ascending addresses. The arrays may alias the file and be unaligned.
        """
        check_words(page_size, words)
        for start, end in self.extents().tolist():
            first = -(-start // page_size) * page_size
            last = end // page_size * page_size
            for base in range(first, last, page_size * 4096):
                stop = min(base + page_size * 4096, last)
                pages = base + page_size * np.arange((stop - base) // page_size, dtype=np.uint64)
                rows, ok = self.gather(pages, words * 8)
                table = rows.view("<u8")
                for low, high in true_runs(ok):
                    yield base + low * page_size, table[low:high]

    def gather(self, addresses: U64, length: int) -> tuple[Bytes2D, Flags]:
        """Read ``length`` bytes at each of many addresses.

        Args:
            addresses: shape (n,), any order, repetitions allowed.
            length: bytes, at least 1.

        Returns:
            Bytes of shape (n, length), and which rows could be read in full; other rows are zero.
        """
        rows = np.zeros((len(addresses), length), dtype=np.uint8)
        ok = np.zeros(len(addresses), dtype=np.bool_)
        for index, address in enumerate(addresses.tolist()):
            try:
                rows[index] = np.frombuffer(self.read(address, length), dtype=np.uint8)
            except MemoryFault:
                continue
            ok[index] = True
        return rows, ok

    def at_offset(self, offset: int) -> int | Elsewhere:
        """Physical address of the byte at an offset of the uncompressed file.

        Of a page that is compressed on its own, the address of the page. ``NO_FILE`` where the
        bytes are not those of one file.
        """
        return Elsewhere.NO_FILE

    def next_data(self, address: int) -> int:
        """First physical address from ``address`` on that may hold anything but zeros."""
        return address

    def find(self, needle: bytes, start: int, end: int, limit: int) -> Iterator[int]:
        """Search ``[start, end)`` for a byte string.

        Args:
            needle: at least one byte.
            start: physical address.
            end: physical address, exclusive; the whole match lies before it.
            limit: bytes to search before giving up silently.

        Yields:
            Ascending physical addresses of matches, overlapping ones included. A match never
            crosses a gap.
        """
        if not needle:
            raise ValueError("an empty byte string is everywhere")
        # ``bytes.find`` is ten times slower on zeros, for a needle that has some.
        search = re.compile(re.escape(needle)).search
        keep = len(needle) - 1
        sought = any(needle)
        table = self.extents()
        start = min(max(start, 0), ADDRESS_LIMIT - 1)
        row = int(np.searchsorted(table[:, 1], np.uint64(start), side="right"))
        while row < len(table) and limit > 0:
            position = max(start, int(table[row, 0]))
            stop = min(end, int(table[row, 1]))
            row += 1
            if position >= end:
                return
            while stop - position > keep and limit > 0:
                position = max(self.next_data(position) - keep, position) if sought else position
                if stop - position <= keep:
                    break
                size = min(_FIND_CHUNK + keep, stop - position, limit + keep)
                following = position + size - keep
                try:
                    chunk = self.read(position, size)
                except MemoryFault as fault:
                    chunk = self.read(position, fault.address - position)
                    following = fault.address + max(fault.length, 1)
                match = search(chunk)
                while match is not None:
                    yield position + match.start()
                    match = search(chunk, match.start() + 1)
                limit -= max(following - position, 1)
                position = following

    @abstractmethod
    def close(self) -> None:
        """Release the file; views handed out before stay valid as long as they are referenced."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class IndexedSpace(AddressSpace):
    """A space that knows from the beginning where it has bytes."""

    _index: ExtentIndex

    def extents(self) -> U64:
        """See ``AddressSpace.extents``; some of it may still turn out to be unreadable."""
        return self._index.table

    def contains(self, address: int, length: int = 1) -> bool:
        """See ``AddressSpace.contains``."""
        return address >= 0 <= length and self._index.missing(address, length) is None

    def _close_index(self) -> None:
        """Have no bytes any more, so that reads fault."""
        self._index = ExtentIndex(np.empty((0, 2), dtype=np.uint64))


def check_words(page_size: int, words: int) -> None:
    """Refuse pages that do not hold that many 64-bit words with ValueError."""
    if page_size < 8 or page_size % 8 or not 1 <= words <= page_size // 8:
        raise ValueError(f"{words} words of pages of {page_size} bytes")


def true_runs(flags: Flags) -> list[tuple[int, int]]:
    """Half-open index ranges of consecutive True values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


class ExtentIndex:
    """Lookups in disjoint ascending ranges, shared by the readers.

    Args:
        table: shape (n, 2), half-open, ascending, merged.
    """

    def __init__(self, table: U64) -> None:
        self.table = np.ascontiguousarray(table, dtype=np.uint64)
        self.table.setflags(write=False)
        self._starts = u64_array(self.table[:, 0])
        self._ends = u64_array(self.table[:, 1])

    def missing(self, address: int, length: int) -> tuple[int, int] | None:
        """First gap inside a range: (address, bytes missing there), None when all is backed."""
        stop = address + length
        if length <= 0:
            return None
        index = bisect_right(self._starts, min(address, ADDRESS_LIMIT - 1)) - 1
        if index >= 0 and address < (end := self._ends[index]):
            if stop <= end:
                return None
            address = end
        following = index + 1
        until = self._starts[following] if following < len(self._starts) else stop
        return address, min(until, stop) - address


def u64_array(values: U64) -> array[int]:
    """Copy to an ``array`` of unsigned 64-bit integers, whose scalars are plain ``int``."""
    result = array("Q")
    result.frombytes(np.ascontiguousarray(values, dtype=np.uint64).tobytes())
    return result


def too_long(address: int, length: int) -> MemoryFault:
    """The fault of a read that would copy more than ``COPY_LIMIT`` bytes."""
    detail = f"a read of {length} bytes that is not one piece of the file is refused"
    return MemoryFault(address, length, Reason.UNREADABLE, detail)


def check_range(address: int, length: int) -> None:
    """Refuse negative addresses and lengths with ValueError."""
    if address < 0 or length < 0:
        raise ValueError(f"{length} bytes at {address}")
