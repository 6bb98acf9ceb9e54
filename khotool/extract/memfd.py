"""A memfd's contents: which folio is which part of the file."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.absent import Absent
from khotool.errors import InputError
from khotool.extract.plan import U64, Plan, merge
from khotool.model.image import Image
from khotool.view.folios import Folios

UNKNOWN_SIZE = np.int16(-1)


def memfd_plan(folios: Folios) -> Plan:
    """The contents of a file, as its record and its folios say.

    A folio covers the pages of the preserved block that starts at it; where the map does not
    have it, the pages up to the next index.

    Raises:
        InputError: the record has no size that could be read.
    """
    image, record = folios.image, folios.record
    size = record.number("size")
    if not isinstance(size, int):
        raise InputError(f"{image.info.path}: {record.path}/size could not be read")
    notes: list[str] = []
    pfn, index = _ordered(folios.pfn, folios.index, image, size, notes)
    page = image.geometry.page_size
    pages = -(-size // page)
    room = np.append(index[1:], np.uint64(pages))[: len(index)] - index
    covered = np.minimum(_pages_of(image, pfn, index, room, notes), room)
    shift = np.uint64(image.geometry.page_shift)
    offset = index << shift
    length = np.minimum(covered << shift, np.uint64(size) - offset)
    lost = max(folios.rows.declared - len(folios), 0)
    return Plan(record.path, "memfd", size, *merge(offset, pfn << shift, length), notes, lost)


def _ordered(pfn: U64, index: U64, image: Image, size: int, notes: list[str]) -> tuple[U64, U64]:
    """Folios that exist and lie inside the file, by ascending index, each index once."""
    shift = image.geometry.page_shift
    kept = (pfn != 0) & (pfn < np.uint64(1 << (64 - shift)))
    pages = np.uint64(-(-size // image.geometry.page_size))
    beyond = kept & (index >= pages)
    if beyond.any():
        notes.append(f"{int(beyond.sum())} folios lie beyond the end of the file; left out")
        kept &= ~beyond
    pfn, index = pfn[kept], index[kept]
    if len(index) > 1 and not bool((index[1:] > index[:-1]).all()):
        order = np.argsort(index, kind="stable")
        pfn, index = pfn[order], index[order]
        again = np.append(False, index[1:] == index[:-1])
        if again.any():
            notes.append(f"{int(again.sum())} folios repeat an index; the first of each is taken")
            pfn, index = pfn[~again], index[~again]
    return pfn, index


def _pages_of(image: Image, pfn: U64, index: U64, room: U64, notes: list[str]) -> U64:
    """Pages of each folio."""
    shift = np.uint64(image.geometry.page_shift)
    if isinstance(image.map, Absent):
        if len(pfn):
            notes.append(
                "the preserved-page map is absent; folio sizes are taken from the gaps between "
                "their indexes and from the file size"
            )
        return pages_from_gaps(pfn, index, room, image.geometry.page_shift)
    start, order = image.map.blocks.blocks_of(pfn << shift)
    known = order != UNKNOWN_SIZE
    within = known & (start != pfn << shift)
    size = np.uint64(1) << np.where(known, order, 0).astype(np.uint64)
    pages: U64 = size - (pfn - np.where(known, start >> shift, pfn))
    if within.any():
        notes.append(
            f"{int(within.sum())} folios start inside a preserved block; they are taken to end "
            "with it"
        )
    if not known.all():
        lost = int((~known).sum())
        notes.append(
            f"{lost} folios are not preserved; their size is taken from the gap to the next index"
        )
        gaps = pages_from_gaps(pfn, index, room, image.geometry.page_shift)
        pages = np.where(known, pages, gaps)
    if bool((pages[:-1] > room[:-1]).any()):
        notes.append(
            f"{int((pages[:-1] > room[:-1]).sum())} folios reach over the next index; they are cut"
        )
    return pages


def pages_from_gaps(pfn: U64, index: U64, room: U64, page_shift: int) -> U64:
    """Pages that folios have at most: powers of two, aligned in memory and in the file.

    Args:
        pfn: uint64 (n,), page frames of the first pages.
        index: uint64 (n,), page indexes, ascending.
        room: uint64 (n,), pages up to the next index; of the last, up to the end of the file.
        page_shift: log2 of the page size in bytes; bounds a folio to what one entry of the
            page table above the lowest maps.
    """
    both = pfn | index | np.uint64(1 << (page_shift - 3))
    aligned = both & (~both + np.uint64(1))
    fits = _power_below(room)
    if len(fits):
        # The last folio may reach beyond the end of the file.
        fits[-1] = max(int(fits[-1]), 1 << (int(room[-1]) - 1).bit_length())
    smallest: U64 = np.minimum(aligned, fits)
    return smallest


def _power_below(values: U64) -> Any:
    """The largest power of two not above each value; values are at least 1."""
    result = values.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        result |= result >> np.uint64(shift)
    return result - (result >> np.uint64(1))
