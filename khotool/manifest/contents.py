"""What synthetic payload holds: patterns, files, noise."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np

from khotool.handover.values import Array, Contents, Stored
from khotool.manifest.making import Making
from khotool.memory.mapped import give_back, mapping_of
from khotool.memory.writer import Stretch
from khotool.structured import Table, Value

ReadAt = Callable[[int, int], bytes]
"""Offset and length in bytes to contents."""
PIECE = 1 << 20


def contents_from(
    table: Table, making: Making, size: int | None, page: int
) -> tuple[ReadAt | None, int]:
    """A reader of the ``contents`` of a table, and their size in bytes.

    Args:
        table: ``contents`` is ``"none"``, ``"zero"``, or a table with one of ``KINDS``.
        making: what may be read and made.
        size: bytes as the manifest says; None to take the contents' own.
    """
    given = table.get("contents")
    length = size or 0
    if given is None or given.raw == "none":
        return None, length
    if given.raw == "zero":
        return _limited(making, given, lambda offset, n: _filled(b"\0", n), length)
    if not isinstance(given.raw, dict) or len(given.raw) != 1:
        given.mistake(f"expected 'none', 'zero', or a table of one of {', '.join(KINDS)}")
        return None, length
    inner = given.table()
    if not inner.raw.keys() & set(KINDS):
        inner.know(*KINDS)
        return None, length
    kind, value = inner.values()[0]
    if kind in ("file", "hex"):
        raw = making.file(value) if kind == "file" else value.hexadecimal()
        if size is not None and size < len(raw):
            given.mistake(f"{len(raw)} bytes of contents, but size is {size}")
        length = len(raw) if size is None else size

        def stored(offset: int, n: int) -> bytes:
            part = raw[offset : offset + n].ljust(n, b"\0")
            give_back(mapping_of(raw), offset, n)
            return part

        return _limited(making, given, stored, length)
    return _limited(making, given, GENERATED[kind](value, page), length)


def _limited(making: Making, given: Value, read: ReadAt, size: int) -> tuple[ReadAt | None, int]:
    return (read, size) if making.spend(given, contents=size) else (None, 0)


@lru_cache(maxsize=64)
def _filled(letter: bytes, n: int) -> bytes:
    """So many times a byte; equal pieces are one object, however many there are."""
    return letter * n


def _pattern(value: Value, page: int) -> ReadAt:
    value.choice(("page",))
    # The pattern is the same again after 256 pages.
    return lambda offset, n: page_pattern(offset % (page << 8), n, page)


def _fill(value: Value, page: int) -> ReadAt:
    raw = value.raw
    if isinstance(raw, str) and len(raw) == 1 and raw.isascii():
        letter = raw.encode()
    elif isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < 256:
        letter = bytes([raw])
    else:
        value.mistake("expected one ASCII character or a number below 256")
        letter = b"\0"
    return lambda offset, n: _filled(letter, n)


def _random(value: Value, page: int) -> ReadAt:
    seed = value.integer()
    return lambda offset, n: noise(seed, offset, n)


GENERATED: dict[str, Callable[[Value, int], ReadAt]] = {
    "pattern": _pattern,
    "fill": _fill,
    "random": _random,
}
KINDS = (*GENERATED, "file", "hex")


@lru_cache(maxsize=64)
def page_pattern(offset: int, length: int, page: int) -> bytes:
    """Byte i of page p is (p + i) mod 256."""
    at = np.arange(offset, offset + length, dtype=np.int64)
    return ((at // page + at % page) & 0xFF).astype(np.uint8).tobytes()


def noise(seed: int, offset: int, length: int) -> bytes:
    """Bytes of a repeatable stream: SHA-256 of seed and block number, 32 bytes a block."""
    first, last = offset // 32, -(-(offset + length) // 32)
    data = b"".join(
        hashlib.sha256(f"{seed}:{block}".encode()).digest() for block in range(first, last)
    )
    start = offset - first * 32
    return bytes(data[start : start + length])


def file_contents(read: ReadAt, offsets: Array, size: int, page: int) -> Contents:
    """Contents of blocks that hold parts of a file.

    Args:
        offsets: uint64 (n,) position in the file of each block's first byte.
        size: bytes of the file; what follows it in its last page is zero.
    """

    def fill(new: Array, sizes: Array) -> Iterator[tuple[int, Stored]]:
        end = np.uint64(-(-size // page) * page)
        kept = offsets < end
        start, at = new[kept], offsets[kept]
        length = np.minimum(sizes[kept], end - at)
        apart = np.flatnonzero(start[1:] != start[:-1] + length[:-1]) + 1
        bounds = [0, *apart.tolist(), len(start)] if len(start) else []
        for low, high in pairwise(bounds):
            blocks = _Blocks(read, size, at[low:high], length[low:high])
            first, size_of = int(start[low]), length[low:high]
            stretch = Stretch(int(size_of.sum()), blocks.part, size_of, PIECE)
            if len(stretch) > PIECE:
                yield first, stretch
            else:
                yield from ((first + at, piece) for at, piece in stretch.split())

    return fill


class _Blocks:
    """Blocks that follow each other in memory, wherever their contents are in a file.

    Args:
        read: the file.
        size: bytes of it; zeros follow.
        offsets: uint64 (n,) position in the file of each block's first byte.
        lengths: uint64 (n,) bytes of each block.
    """

    def __init__(self, read: ReadAt, size: int, offsets: Array, lengths: Array) -> None:
        self.read, self.size = read, size
        # Blocks that follow each other in the file, too, are read together.
        starts = np.cumsum(lengths) - lengths
        first = np.ones(len(offsets), bool)
        first[1:] = offsets[1:] != offsets[:-1] + lengths[:-1]
        self.starts, self.offsets = starts[first], offsets[first]

    def part(self, at: int, length: int) -> bytes:
        """Bytes at an offset from the first block's start."""
        found = []
        row = int(np.searchsorted(self.starts, np.uint64(at), side="right")) - 1
        end = at + length
        while at < end:
            last = row + 1 == len(self.starts)
            stop = end if last else min(end, int(self.starts[row + 1]))
            offset = int(self.offsets[row]) + at - int(self.starts[row])
            there = max(0, min(stop - at, self.size - offset))
            found.append(self.read(offset, there).ljust(stop - at, b"\0"))
            at, row = stop, row + 1
        return found[0] if len(found) == 1 else b"".join(found)
