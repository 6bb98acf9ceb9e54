"""Preserved memory: its amount, its blocks and its owners."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from khotool.absent import Absent
from khotool.maps.preserved import PreservedMap
from khotool.model.image import Image
from khotool.model.path import paths_above
from khotool.pages.blocks import Blocks
from khotool.pages.owners import OwnedRanges, Ownership
from khotool.records import dataclass


class HasPath(Protocol):
    """Any object of a view, which has a path in the model."""

    @property
    def path(self) -> str:
        """As ``khotool dump`` prints it."""


@dataclass(frozen=True, slots=True)
class PageRange:
    """Preserved pages that follow each other, of one order and one owner.

    Args:
        start: physical address in bytes of the first page.
        size: bytes.
        pages: number of pages.
        order: log2 of the pages in each block.
        owner: path of the value that reaches them; None for none, which is a leak.
    """

    start: int
    size: int
    pages: int
    order: int
    owner: str | None

    @property
    def end(self) -> int:
        """Physical address in bytes after the last page."""
        return self.start + self.size


@dataclass(frozen=True, repr=False)
class Memory:
    """Preserved memory of an image.

    Args:
        map: the preserved-page map.
        page_size: bytes.
    """

    image: Image
    map: PreservedMap
    page_size: int

    def __repr__(self) -> str:
        return f"<Memory {self.layout}: {self.pages} pages>"

    @property
    def blocks(self) -> Blocks:
        """The preserved blocks."""
        return self.map.blocks

    @property
    def layout(self) -> str:
        """How the map is stored, such as ``radix``."""
        return self.map.layout

    @property
    def pages(self) -> int:
        """Preserved pages."""
        return self.blocks.pages

    @property
    def bytes(self) -> int:
        """Preserved bytes."""
        return self.pages * self.page_size

    @property
    def orders(self) -> dict[int, int]:
        """Number of blocks of each page order."""
        return self.blocks.orders()

    @property
    def ranges(self) -> NDArray[np.uint64]:
        """Preserved physical ranges: uint64 (n, 2), start and end in bytes, ascending."""
        found: NDArray[np.uint64] = self.blocks.ranges()
        return found

    @cached_property
    def ownership(self) -> Ownership:
        """Who owns each page, as arrays."""
        found = self.image.ownership()
        assert found is not None
        return found

    def __iter__(self) -> Iterator[PageRange]:
        """All preserved pages, ascending, cut where order or owner change."""
        for part in self.ownership.pieces():
            yield from self._ranges(part, np.arange(len(part)))

    @property
    def leaks(self) -> tuple[PageRange, ...]:
        """Preserved pages that nothing reaches, ascending."""
        owned = self.ownership
        if not owned.unowned_pages:
            return ()
        return tuple(
            row
            for part in owned.pieces()
            for row in self._ranges(part, np.flatnonzero(part.owner < 0))
        )

    @cached_property
    def pages_by_owner(self) -> dict[str | None, int]:
        """Preserved pages by path of the owner, those of None without one, which come last.

        A page of several owners counts for the first of them.
        """
        owned = self.ownership
        unowned, *count = owned.pages_by_owner().tolist()
        pages: dict[str | None, int] = {}
        for path, number in zip([*owned.owners, None], [*count, unowned], strict=True):
            if number:
                pages[path] = pages.get(path, 0) + number
        return pages

    def pages_of(self, thing: HasPath | str) -> int:
        """Preserved pages that a session, a file, or any path, and all below it, own."""
        return self._pages_below.get(thing if isinstance(thing, str) else thing.path, 0)

    def bytes_of(self, thing: HasPath | str) -> int:
        """Preserved bytes that a session, a file, or any path, and all below it, own."""
        return self.pages_of(thing) * self.page_size

    def owners_of(self, address: int) -> tuple[str, ...]:
        """Paths of all owners of the page at a physical address in bytes."""
        owned = self.ownership
        return tuple(owned.owners[number] for number in owned.owners_of(address))

    def is_preserved(self, address: int) -> bool:
        """True if the page at a physical address in bytes is preserved."""
        return self.blocks.block_of(address) is not None

    @cached_property
    def _pages_below(self) -> dict[str, int]:
        """Pages by path of every owner, and of everything that owners are below."""
        found: dict[str, int] = {}
        for owner, pages in self.pages_by_owner.items():
            for path in {owner, "/", *paths_above(owner)} if owner is not None else ():
                found[path] = found.get(path, 0) + pages
        return found

    def _ranges(self, rows: OwnedRanges, which: NDArray[np.intp]) -> Iterator[PageRange]:
        owners = self.ownership.owners
        columns = (rows.start, rows.pages, rows.order, rows.owner)
        for start, pages, order, owner in zip(*(c[which].tolist() for c in columns), strict=True):
            path = owners[owner] if owner >= 0 else None
            yield PageRange(start, pages * self.page_size, pages, order, path)


def memory_of(image: Image) -> Memory | Absent:
    """The preserved memory of an image, or why its map is absent."""
    if isinstance(image.map, Absent):
        return image.map
    return Memory(image, image.map, image.geometry.page_size)
