"""Lay out page tables: from what they map, or from the tables of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from khotool.codec.page_table import (
    MAX_LEVEL,
    PRESENT,
    SUPERPAGE,
    address_mask,
    child_mask,
)
from khotool.errors import EncodeError
from khotool.handover.values import Array, Mapping, PageTables

if TYPE_CHECKING:
    from khotool.encode.build import Builder

MAX_ENTRIES = 1 << 20
"""Entries of the last level that a manifest may ask for."""


def place_tables(builder: Builder, value: PageTables, level: int, path: str) -> int:
    """Build page tables in preserved pages of their own; physical address of the first.

    Args:
        level: of the first table.

    Raises:
        EncodeError: the level is impossible, or memory that is mapped is not whole pages.
    """
    if not 0 <= level <= MAX_LEVEL:
        raise EncodeError(path, f"level {level}; page tables have levels 0 to {MAX_LEVEL}")
    if value.old:
        return _copy(builder, value, path)
    return _Mapper(builder, level, path).build(value.maps)


def _copy(builder: Builder, value: PageTables, path: str) -> int:
    """Tables of an image at new places, and what they lead to at its new place."""
    page = builder.geometry.page_size
    new = np.array([builder.alloc_preserve(page, path) for _ in value.old], np.uint64)
    old = np.array(value.old, np.uint64)
    builder.places.move(old, new, np.full(len(new), page, np.uint64))
    mask = np.uint64(address_mask(builder.geometry))
    if value.fixed and any(
        level == 0 and words.any() for level, words in zip(value.levels, value.words, strict=True)
    ):
        builder.lost.append(f"{path}: hardware entries of its last level stay as they are")
    order = np.argsort(old)
    for address, level, given in zip(new.tolist(), value.levels, value.words, strict=True):
        words = given.copy()
        leads = child_mask(words, level)
        targets = words[leads] & mask
        row = np.minimum(np.searchsorted(old[order], targets), len(old) - 1)
        found = old[order][row] == targets
        targets[found] = new[order][row][found]
        words[leads] = (words[leads] & ~mask) | targets
        if not value.fixed:
            leaves = ((words & np.uint64(PRESENT)) != 0) & ~leads
            words[leaves] = (words[leaves] & ~mask) | builder.places.moved(words[leaves] & mask)
        _write(builder, address, words)
    return int(new[0])


def _write(builder: Builder, address: int, words: Array) -> None:
    builder.writes.append((address, words.astype(f"{builder.geometry.prefix}u8").tobytes()))


class _Mapper:
    """Tables that map ranges of device addresses."""

    def __init__(self, builder: Builder, level: int, path: str) -> None:
        self.builder = builder
        self.level = level
        self.path = path
        self.page = builder.geometry.page_size
        self.bits = builder.geometry.page_shift - 3
        self.tables: dict[tuple[int, int], tuple[int, Array]] = {}
        self.left = MAX_ENTRIES

    def build(self, maps: list[Mapping]) -> int:
        top = self.table(self.level, 0)[0]
        for item in maps:
            iova = item.iova
            for address, size in self.ranges(item):
                self.map(iova, address, size)
                iova += size
        for address, words in self.tables.values():
            _write(self.builder, address, words)
        return top

    def ranges(self, item: Mapping) -> list[tuple[int, int]]:
        """Physical address and bytes of what is mapped, in order."""
        if not item.table:
            return [(item.address, item.size)]
        starts, sizes = self.builder.places.table(item.table, self.path)
        return list(zip(starts.tolist(), sizes.tolist(), strict=True))

    def table(self, level: int, number: int) -> tuple[int, Array]:
        """The table of a level that covers the ``number``-th stretch of its size."""
        found = self.tables.get((level, number))
        if found is None:
            address = self.builder.alloc_preserve(self.page, self.path)
            found = address, np.zeros(self.page // 8, np.uint64)
            self.tables[level, number] = found
            if level < self.level:
                above = self.table(level + 1, number >> self.bits)[1]
                above[number & (len(above) - 1)] = address | PRESENT
        return found

    def map(self, iova: int, address: int, size: int) -> None:
        """Map one range, with entries above the last level where they fit."""
        if (iova | address | size) % self.page:
            raise EncodeError(self.path, f"{iova:#x}: what is mapped is not made of whole pages")
        end = iova + size
        if end > self.page << (self.bits * (self.level + 1)):
            raise EncodeError(self.path, f"{end:#x} is beyond what level {self.level} covers")
        while iova < end:
            level = 0
            while level < min(self.level, 2):
                reach = self.page << (self.bits * (level + 1))
                if (iova | address) % reach or end - iova < reach:
                    break
                level += 1
            reach = self.page << (self.bits * level)
            self.left -= 1
            if self.left < 0:
                raise EncodeError(self.path, f"more than {MAX_ENTRIES} entries")
            number = iova // reach
            words = self.table(level, number >> self.bits)[1]
            words[number & (len(words) - 1)] = address | PRESENT | (SUPERPAGE if level else 0)
            iova, address = iova + reach, address + reach
