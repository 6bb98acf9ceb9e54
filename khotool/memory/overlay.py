"""Bytes written over a space, or over nothing: rendered pages, edits, test images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from khotool.memory.overlap import disjoint, merged
from khotool.memory.segments import Segment, SegmentedSpace
from khotool.memory.space import (
    ADDRESS_LIMIT,
    COPY_LIMIT,
    U64,
    AddressSpace,
    Bytes2D,
    Elsewhere,
    ExtentIndex,
    Flags,
    IndexedSpace,
    MemoryFault,
    Piece,
    SourceInfo,
    check_range,
    too_long,
)


class OverlaySpace(IndexedSpace):
    """Pieces of bytes on top of a space.

    Args:
        base: the space below; None for a space that holds nothing but the writes. It stays open
            until this space is closed, which closes it too.
        writes: physical address to bytes, or (address, bytes) pairs. Where writes overlap, the
            last one wins.
        info: description; by default the one of ``base`` with container ``overlay``.
    """

    def __init__(
        self,
        base: AddressSpace | None,
        writes: Mapping[int, bytes] | Iterable[tuple[int, bytes | bytearray | memoryview]],
        info: SourceInfo | None = None,
    ) -> None:
        pairs = list(writes.items()) if isinstance(writes, Mapping) else list(writes)
        self.info = info or _derived(base)
        self._base = base
        self._top = SegmentedSpace(
            SourceInfo(self.info.path, "overlay"),
            [
                Segment(address, address + len(data), memoryview(data).cast("B").toreadonly())
                for address, data in reversed(pairs)
                if len(data)
            ],
        )
        self._index = ExtentIndex(_union(self._top.extents(), base))

    def read(self, address: int, length: int) -> memoryview:
        """See ``AddressSpace.read``; no copy where the range is one piece of either layer."""
        check_range(address, length)
        if not length or self._top.contains(address, length):
            return self._top.read(address, length) if length else memoryview(b"")
        if self._base is None:
            return self._top.read(address, length)
        if not self._top.segments_between(address, address + length):
            return self._base.read(address, length)
        gap = self._index.missing(address, length)
        if gap is not None:
            # The layer below knows why its own bytes are missing.
            self._base.read(*gap)
        if length > COPY_LIMIT:
            raise too_long(address, length)
        result = bytearray(length)
        for at, view, state in self._top.known(address, length):
            if state == "data" and view is not None:
                result[at - address : at - address + len(view)] = view
        for start, end in self._gaps(address, address + length):
            result[start - address : end - address] = self._base.read(start, end - start)
        return memoryview(result).toreadonly()

    def _gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        pieces = self._top.known(start, end - start)
        return [(at, stop) for (at, _, state), stop in _ended(pieces, end) if state == "hole"]

    def known(self, address: int, length: int) -> list[Piece]:
        """See ``AddressSpace.known``."""
        check_range(address, length)
        if self._base is None:
            return self._top.known(address, length)
        result: list[Piece] = []
        upper = self._top.known(address, length)
        for piece, stop in _ended(upper, min(address + length, ADDRESS_LIMIT - 1)):
            if piece[2] == "hole":
                result.extend(self._base.known(piece[0], stop - piece[0]))
            else:
                result.append(piece)
        return result

    def at_offset(self, offset: int) -> int | Elsewhere:
        """See ``AddressSpace.at_offset``; of the file below."""
        return Elsewhere.NO_FILE if self._base is None else self._base.at_offset(offset)

    def first_words(self, page_size: int, words: int = 1) -> Iterator[tuple[int, U64]]:
        """See ``AddressSpace.first_words``; the pages without writes come from the base."""
        if self._base is None:
            yield from self._top.first_words(page_size, words)
            return
        if not len(self._top.extents()):
            yield from self._base.first_words(page_size, words)
            return
        yield from super().first_words(page_size, words)

    def gather(self, addresses: U64, length: int) -> tuple[Bytes2D, Flags]:
        """See ``AddressSpace.gather``."""
        if self._base is None:
            return self._top.gather(addresses, length)
        wanted = np.asarray(addresses, dtype=np.uint64)
        rows, ok = self._base.gather(wanted, length)
        table = self._top.extents()
        if length > 0 and len(table):
            # The first extent that ends after the address: it touches the row or is beyond it.
            index = np.searchsorted(table[:, 1], wanted, side="right")
            safe = np.minimum(index, len(table) - 1)
            starts = table[safe, 0]
            beyond = (starts > wanted) & (starts - wanted >= length)
            touched = np.flatnonzero((index < len(table)) & ~beyond)
            for row in touched.tolist():
                try:
                    rows[row] = np.frombuffer(self.read(int(wanted[row]), length), dtype=np.uint8)
                    ok[row] = True
                except MemoryFault:
                    rows[row], ok[row] = 0, False
        return rows, ok

    def close(self) -> None:
        """See ``AddressSpace.close``."""
        self._top.close()
        if self._base is not None:
            self._base.close()
        self._close_index()


def _ended(pieces: list[Piece], end: int) -> Iterator[tuple[Piece, int]]:
    """Each piece with the address where it ends."""
    stops = (piece[0] for piece in [*pieces[1:], (end, None, "hole")])
    return zip(pieces, stops, strict=False)


def _derived(base: AddressSpace | None) -> SourceInfo:
    if base is None:
        return SourceInfo("", "overlay")
    below = base.info
    return SourceInfo(
        below.path,
        "overlay",
        page_size=below.page_size,
        endian=below.endian,
        osrelease=below.osrelease,
        vmcoreinfo=dict(below.vmcoreinfo),
        machine=below.machine,
        notes=list(below.notes),
        lacks=list(below.lacks),
    )


def _union(top: U64, base: AddressSpace | None) -> U64:
    if base is None:
        return top
    both = np.concatenate([top, base.extents()])
    starts, ends, _, _ = disjoint(both[:, 0], both[:, 1])
    return merged(starts, ends)
