"""A space that remembers which bytes were read of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from khotool.memory.space import U64, AddressSpace, Bytes2D, Elsewhere, Flags, Piece


class SeenSpace(AddressSpace):
    """A space whose single reads are kept; searches over all of memory are not.

    Args:
        base: the space that is read; closed with this one.
    """

    def __init__(self, base: AddressSpace) -> None:
        self.info = base.info
        self.base = base
        self._reads: set[tuple[int, int]] = set()
        self._gathered: list[tuple[U64, int]] = []

    def reads(self) -> list[tuple[int, int]]:
        """Physical address and bytes of every read, each once, ascending."""
        seen = set(self._reads)
        for addresses, length in self._gathered:
            seen.update((address, length) for address in addresses.tolist())
        return sorted(seen)

    def read(self, address: int, length: int) -> memoryview:
        """See ``AddressSpace.read``."""
        # Where only a part of it is there, that part matters as well.
        self._reads.add((address, length))
        return self.base.read(address, length)

    def gather(self, addresses: U64, length: int) -> tuple[Bytes2D, Flags]:
        """See ``AddressSpace.gather``."""
        rows, ok = self.base.gather(addresses, length)
        self._gathered.append((np.asarray(addresses, np.uint64)[ok], length))
        return rows, ok

    def known(self, address: int, length: int) -> list[Piece]:
        """See ``AddressSpace.known``."""
        return self.base.known(address, length)

    def extents(self) -> U64:
        """See ``AddressSpace.extents``."""
        return self.base.extents()

    def contains(self, address: int, length: int = 1) -> bool:
        """See ``AddressSpace.contains``."""
        return self.base.contains(address, length)

    def at_offset(self, offset: int) -> int | Elsewhere:
        """See ``AddressSpace.at_offset``."""
        return self.base.at_offset(offset)

    def first_words(self, page_size: int, words: int = 1) -> Iterator[tuple[int, U64]]:
        """See ``AddressSpace.first_words``."""
        return self.base.first_words(page_size, words)

    def find(self, needle: bytes, start: int, end: int, limit: int) -> Iterator[int]:
        """See ``AddressSpace.find``."""
        return self.base.find(needle, start, end, limit)

    def close(self) -> None:
        """See ``AddressSpace.close``."""
        self.base.close()
