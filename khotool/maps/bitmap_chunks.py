"""The chunk list of preserved blocks: kho-v1.

A chunk is a page: a header, then elements that each name a bitmap and the address of its bit 0.
All blocks of a chunk have the order its header gives. Where the fields lie, and how many bytes a
bitmap has, the caller says: 512 up to 6.17, a page since 6.18, under one compatible string.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from khotool.abi.geometry import Geometry
from khotool.limits import Budget, Limits
from khotool.maps.nodes import leaf_words, leaves_of, too_many
from khotool.maps.preserved import (
    Chunk,
    MapPages,
    PageKind,
    PreservedMap,
    ProblemLog,
    ReadPages,
    blocks_of_bitmaps,
)
from khotool.pages.bitmaps import Runs, image_bytes, native_words
from khotool.pages.blocks import Blocks
from khotool.records import dataclass, field

Allocate = Callable[[int], NDArray[np.uint64]]
"""Number of pieces -> their physical addresses uint64 (n,) in bytes."""

_BATCH_BYTES = 16 << 20


def capacity(page_shift: int, header: np.dtype[np.void], element: np.dtype[np.void]) -> int:
    """Number of elements that fit one chunk."""
    return ((1 << page_shift) - header.itemsize) // element.itemsize


def span_shift(bitmap_bytes: int, page_shift: int) -> int:
    """Log2 of the bytes that one bitmap of order 0 describes."""
    return (bitmap_bytes * 8).bit_length() - 1 + page_shift


def walk(
    read_pages: ReadPages,
    read_bitmaps: ReadPages,
    first: int,
    *,
    geometry: Geometry,
    bitmap_bytes: int,
    header: np.dtype[np.void],
    element: np.dtype[np.void],
    limits: Limits,
) -> PreservedMap:
    """Decode the chunk list from its first chunk.

    Problems: ``null-root``, ``unaligned-chunk``, ``missing-chunk``, ``chunk-cycle``,
    ``too-many-elements`` (those that fit are read), ``bad-order`` (the chunk holds no blocks),
    ``unaligned-start`` (blocks are rounded down to their own size), ``missing-bitmap``,
    ``shared-bitmap`` (bytes that an earlier element names are not read again),
    ``out-of-range`` (blocks past 2**64), ``limit``.

    Args:
        read_pages: reads whole pages.
        read_bitmaps: reads ``bitmap_bytes`` at any address.
        first: physical address in bytes of the first chunk.
        geometry: page size and byte order of the map.
        bitmap_bytes: length of a bitmap, a power of two from 8 to a page.
        header: fields ``next`` (physical address in bytes), ``order``, ``num_elms``.
        element: fields ``phys_start`` and ``bitmap`` (physical addresses in bytes).
        limits: ``chain`` bounds the chunks, ``nodes`` chunks and bitmaps, ``bytes`` their size.

    Raises:
        ValueError: the size of a bitmap is impossible.
    """
    _check_bitmap(bitmap_bytes, geometry)
    state = _Walk(read_pages, read_bitmaps, geometry, bitmap_bytes, limits)
    state.chain(first, header, element)
    return state.finish()


@dataclass(slots=True)
class _Walk:
    read_pages: ReadPages
    read_bitmaps: ReadPages
    geometry: Geometry
    bitmap_bytes: int
    limits: Limits
    budget: Budget = field(init=False)
    log: ProblemLog = field(default_factory=ProblemLog)
    complete: bool = True
    chunks: list[Chunk] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.budget = Budget(self.limits)

    @property
    def page_shift(self) -> int:
        """log2 of the page size in bytes."""
        return self.geometry.page_shift

    def stop(self, code: str, address: int, message: str) -> None:
        """Report that a part of the map stays unread."""
        self.complete = False
        self.log.add(code, address, message)

    def chain(self, first: int, header: np.dtype[np.void], element: np.dtype[np.void]) -> None:
        """Follow the chunks from ``first``."""
        page = 1 << self.page_shift
        fit = capacity(self.page_shift, header, element)
        seen: set[int] = set()
        address, before = first, first
        if first == 0:
            self.stop("null-root", 0, "the map has no first chunk")
        while address:
            if address % page or address >> 64:
                self.stop("unaligned-chunk", before, f"chunk {address:#x} is not at a page")
                return
            if address in seen:
                self.stop("chunk-cycle", before, f"chunk {before:#x} leads back to {address:#x}")
                return
            if len(seen) >= self.limits.chain or not self.budget.spend(1, page):
                self.stop("limit", address, f"chunks after the first {len(seen)} are not read")
                return
            seen.add(address)
            data, ok = self.read_pages(np.array([address], np.uint64))
            if not ok[0]:
                self.stop("missing-chunk", address, f"chunk {address:#x} is not captured")
                return
            raw = data[0].tobytes()
            head = np.frombuffer(raw, header, 1)[0]
            count, order = int(head["num_elms"]), int(head["order"])
            if count > fit:
                self.log.add(
                    "too-many-elements",
                    address,
                    f"chunk {address:#x} claims {count} elements, {fit} fit its page",
                )
            if order > 63 - self.page_shift:
                self.stop("bad-order", address, f"chunk {address:#x} has blocks of order {order}")
            elements = np.frombuffer(raw, element, min(count, fit), header.itemsize)
            before, address = address, int(head["next"])
            self.chunks.append(Chunk(before, address, order, count, elements))

    def finish(self) -> PreservedMap:
        """Read the bitmaps of all chunks."""
        table = _Elements.of(self.chunks)
        chunk_pages = np.array([chunk.address for chunk in self.chunks], np.uint64)
        count = chunk_pages.size
        kept = self.readable(table, chunk_pages)
        parts, there = self.bitmaps(table, kept)
        pages = MapPages(
            np.concatenate([chunk_pages, table.bitmap[there]]),
            np.repeat(np.array([PageKind.CHUNK, PageKind.BITMAP], np.uint8), [count, there.size]),
            np.zeros(count + there.size, np.uint8),
            np.concatenate([np.zeros(count, np.uint64), table.number[there].astype(np.uint64)]),
            np.concatenate([np.arange(count) - 1, table.chunk[there]]),
            np.repeat(
                np.array([1 << self.page_shift, self.bitmap_bytes], np.uint32), [count, there.size]
            ),
        )
        blocks = Blocks.join(parts, self.page_shift)
        if blocks.clipped:
            self.log.add("out-of-range", 0, f"{blocks.clipped} blocks lie past the last address")
        log = self.log
        return PreservedMap(
            "bitmap-chunks", blocks, pages, log.kept, self.complete, log.counts, self.chunks
        )

    def readable(self, table: _Elements, chunk_pages: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Rows of the elements whose bitmaps are read, ascending by order, then address."""
        good = np.flatnonzero(table.order <= 63 - self.page_shift)
        span = span_shift(self.bitmap_bytes, self.page_shift)
        # Order and span together may pass 64 bits: a shift by 64 leaves address 0 alone aligned.
        shift = np.minimum(table.order[good] + span, 64).astype(np.uint64)
        odd = good[(table.start[good] >> shift) << shift != table.start[good]]
        self.log.add_many(
            "unaligned-start",
            odd.size,
            lambda i: (
                int(chunk_pages[table.chunk[odd[i]]]),
                f"bit 0 of bitmap {int(table.bitmap[odd[i]]):#x} is at "
                f"{int(table.start[odd[i]]):#x}, not a multiple of what a bitmap spans",
            ),
        )
        # Each byte is decoded once, so that the result is bounded by the bytes that exist.
        shared = _overlapping(table.bitmap[good], self.bitmap_bytes)
        again = good[shared]
        self.complete = self.complete and not again.size
        self.log.add_many(
            "shared-bitmap",
            again.size,
            lambda i: (
                int(table.bitmap[again[i]]),
                f"bitmap {int(table.bitmap[again[i]]):#x} overlaps an earlier one",
            ),
        )
        good = good[~shared]
        allowed = min(
            self.limits.nodes - self.budget.nodes,
            (self.limits.bytes - self.budget.bytes) // self.bitmap_bytes,
        )
        if good.size > max(allowed, 0):
            good = good[: max(allowed, 0)]
            self.stop("limit", 0, f"only {good.size} bitmaps are read")
        return good[np.lexsort((table.start[good], table.order[good]))]

    def bitmaps(
        self, table: _Elements, rows: NDArray[np.intp]
    ) -> tuple[list[Blocks], NDArray[np.intp]]:
        """Blocks of the bitmaps of ``rows``, and the rows that could be read, ascending."""
        parts: list[Blocks] = []
        there: list[NDArray[np.intp]] = [np.zeros(0, np.intp)]
        batch = max(1, _BATCH_BYTES // self.bitmap_bytes)
        bounds = np.flatnonzero(np.diff(table.order[rows], prepend=-1)).tolist()
        for begin, end in zip(bounds, [*bounds, rows.size][1:], strict=True):
            for low in range(begin, end, batch):
                part = rows[low : min(end, low + batch)]
                data, ok = self.read_bitmaps(table.bitmap[part])
                self._report_missing(table.bitmap[part[~ok]])
                part = part[ok]
                there.append(part)
                if part.size:
                    order = int(table.order[part[0]])
                    words = native_words(data[ok], self.geometry.prefix)
                    first = table.start[part] >> np.uint64(self.page_shift + order)
                    number = first.astype(np.int64)
                    parts.append(blocks_of_bitmaps(words, number, order, self.page_shift))
        return parts, np.sort(np.concatenate(there))

    def _report_missing(self, missing: NDArray[np.uint64]) -> None:
        if missing.size:
            self.complete = False
            self.log.add_many(
                "missing-bitmap",
                missing.size,
                lambda i: (int(missing[i]), f"bitmap {int(missing[i]):#x} is not captured"),
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Elements:
    """All elements as columns: chunk row, number in the chunk, order and the two addresses."""

    chunk: NDArray[np.int64]
    number: NDArray[np.int64]
    order: NDArray[np.int64]
    start: NDArray[np.uint64]
    bitmap: NDArray[np.uint64]

    @classmethod
    def of(cls, chunks: list[Chunk]) -> _Elements:
        sizes = np.array([chunk.elements.size for chunk in chunks], np.int64)
        none = np.zeros(0, np.uint64)
        total = int(sizes.sum())
        return cls(
            np.repeat(np.arange(sizes.size), sizes),
            np.arange(total) - np.repeat(np.cumsum(sizes) - sizes, sizes),
            np.repeat(np.array([chunk.order for chunk in chunks], np.int64), sizes),
            np.concatenate([none, *(chunk.elements["phys_start"] for chunk in chunks)]),
            np.concatenate([none, *(chunk.elements["bitmap"] for chunk in chunks)]),
        )


def _overlapping(address: NDArray[np.uint64], size: int) -> NDArray[np.bool_]:
    """Which bitmaps to leave out so that no two of the others share a byte.

    Bitmaps aligned to their size, as the writer's are, stay; of equal ones the first does.
    """
    row = np.argsort(address, kind="stable")
    place = address[row]
    slot = place & ~np.uint64(size - 1)
    aligned = slot == place
    shared = np.zeros(address.size, bool)
    regular = np.flatnonzero(aligned)
    shared[row[regular[1:]]] = slot[regular[1:]] == slot[regular[:-1]]
    loose = np.flatnonzero(~aligned)
    near = np.append(False, place[loose[1:]] - place[loose[:-1]] < np.uint64(size))[: loose.size]
    near |= np.isin(slot[loose], slot[regular])
    near |= np.isin(slot[loose] + np.uint64(size), slot[regular])
    shared[row[loose]] = near
    return shared


def build(
    blocks: Blocks,
    *,
    geometry: Geometry,
    bitmap_bytes: int,
    header: np.dtype[np.void],
    element: np.dtype[np.void],
    allocate_pages: Allocate,
    allocate_bitmaps: Allocate,
    limits: Limits | None = None,
) -> tuple[int, list[tuple[int, bytes]]]:
    """Make the chunk list of ``blocks`` as the kernel's writer does; the inverse of :func:`walk`.

    Chunks ascend by order, elements by address; each order begins a chunk, and a full one is
    followed by another.

    Args:
        blocks: what the list holds.
        geometry: page size, that of ``blocks``, and byte order of the map.
        bitmap_bytes: length of a bitmap, a power of two from 8 to a page.
        header: as for :func:`walk`.
        element: as for :func:`walk`.
        allocate_pages: called once with the number of chunks; addresses are page aligned.
        allocate_bitmaps: called once with the number of bitmaps. Page-size bitmaps each have a
            page; of 512-byte ones the kernel puts as many into a page as fit.
        limits: ``nodes`` bounds chunks and bitmaps together.

    Returns:
        Physical address in bytes of the first chunk, 0 if there is none; physical address and
        contents of every chunk, then of every bitmap.

    Raises:
        EncodeError: the blocks need more chunks and bitmaps than the limit.
        ValueError: page sizes differ, or the size of a bitmap is impossible.
    """
    _check_bitmap(bitmap_bytes, geometry)
    page_shift = geometry.page_shift
    if blocks.page_shift != page_shift:
        raise ValueError("the page size of the blocks differs")
    most = (limits or Limits()).nodes
    fit = capacity(page_shift, header, element)
    bits = bitmap_bytes * 8
    orders: list[int] = []
    starts: list[NDArray[np.uint64]] = []
    contents: list[NDArray[np.uint8]] = []
    used = 0
    for order in blocks.orders():
        index, words = _bitmaps_of(blocks, order, bits, most - used)
        used += index.size + -(-index.size // fit)
        if used > most:
            raise too_many(most)
        shift = np.uint64(page_shift + order)
        data = image_bytes(words, geometry.prefix).reshape(-1, bitmap_bytes)
        for low in range(0, index.size, fit):
            orders.append(order)
            # The first bit of a bitmap lies in the address space, since one of its bits does.
            starts.append((index[low : low + fit] * bits).astype(np.uint64) << shift)
            contents.append(data[low : low + fit])
    if not orders:
        return 0, []
    pages = np.asarray(allocate_pages(len(orders)), np.uint64)
    places = np.asarray(allocate_bitmaps(sum(start.size for start in starts)), np.uint64)
    writes: list[tuple[int, bytes]] = []
    done = 0
    for number, start in enumerate(starts):
        head = np.zeros(1, header)
        head["next"] = pages[number + 1] if number + 1 < pages.size else 0
        head["order"] = orders[number]
        head["num_elms"] = start.size
        table = np.zeros(start.size, element)
        table["phys_start"] = start
        table["bitmap"] = places[done : done + start.size]
        done += start.size
        chunk = (head.tobytes() + table.tobytes()).ljust(geometry.page_size, b"\0")
        writes.append((int(pages[number]), chunk))
    for place, row in zip(places.tolist(), (row for part in contents for row in part), strict=True):
        writes.append((place, row.tobytes()))
    return int(pages[0]), writes


def _bitmaps_of(
    blocks: Blocks, order: int, bits: int, most: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Ascending numbers and words (n, bits / 64) of the bitmaps that blocks of ``order`` need."""
    mine = blocks.order == order
    start = blocks.first_frame[mine] >> order
    runs: Runs = np.stack([start, start + blocks.count[mine]], axis=1)
    shift = bits.bit_length() - 1
    index = leaves_of(runs, shift, most)
    return index, leaf_words(runs, index, shift)


def _check_bitmap(bitmap_bytes: int, geometry: Geometry) -> None:
    if not 8 <= bitmap_bytes <= geometry.page_size or bitmap_bytes & (bitmap_bytes - 1):
        raise ValueError("a bitmap has a power of two of bytes, from 8 to a page")
