"""What synthetic payload holds: patterns, files, noise."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from khotool.handover.values import Array, Buffer, Contents
from khotool.structured import Table, Value

ReadAt = Callable[[int, int], bytes]
"""Offset and length in bytes to contents."""
PIECE = 1 << 20
MAX_CONTENTS = 16 << 30
"""Bytes of contents of one file or region, which are made in memory."""


def contents_from(
    table: Table, folder: Path, size: int | None, page: int
) -> tuple[ReadAt | None, int]:
    """A reader of the ``contents`` of a table, and their size in bytes.

    Args:
        table: ``contents`` is ``"none"``, ``"zero"``, or a table with one of ``KINDS``.
        folder: relative file names start here.
        size: bytes as the manifest says; None to take the contents' own.
    """
    given = table.get("contents")
    length = size or 0
    if given is None or given.raw == "none":
        return None, length
    if given.raw == "zero":
        return _limited(given, lambda offset, n: bytes(n), length)
    if not isinstance(given.raw, dict) or len(given.raw) != 1:
        given.mistake(f"expected 'none', 'zero', or a table of one of {', '.join(KINDS)}")
        return None, length
    inner = given.table()
    if not inner.raw.keys() & set(KINDS):
        inner.know(*KINDS)
        return None, length
    kind, value = inner.values()[0]
    if kind in ("file", "hex"):
        raw = _bytes(kind, value, folder)
        if size is not None and size < len(raw):
            given.mistake(f"{len(raw)} bytes of contents, but size is {size}")
        length = len(raw) if size is None else size
        return _limited(given, lambda offset, n: raw[offset : offset + n].ljust(n, b"\0"), length)
    return _limited(given, GENERATED[kind](value, page), length)


def _limited(given: Value, read: ReadAt, size: int) -> tuple[ReadAt | None, int]:
    if size > MAX_CONTENTS:
        given.mistake(f"{size} bytes; at most {MAX_CONTENTS} are made, or 'none'")
        return None, 0
    return read, size


def _pattern(value: Value, page: int) -> ReadAt:
    value.choice(("page",))
    return lambda offset, n: page_pattern(offset, n, page)


def _fill(value: Value, page: int) -> ReadAt:
    raw = value.raw
    if isinstance(raw, str) and len(raw) == 1 and raw.isascii():
        letter = raw.encode()
    elif isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < 256:
        letter = bytes([raw])
    else:
        value.mistake("expected one ASCII character or a number below 256")
        letter = b"\0"
    return lambda offset, n: letter * n


def _random(value: Value, page: int) -> ReadAt:
    seed = value.integer()
    return lambda offset, n: noise(seed, offset, n)


GENERATED: dict[str, Callable[[Value, int], ReadAt]] = {
    "pattern": _pattern,
    "fill": _fill,
    "random": _random,
}
KINDS = (*GENERATED, "file", "hex")


def _bytes(kind: str, value: Value, folder: Path) -> bytes:
    if kind == "hex":
        return value.hexadecimal()
    name = value.text(nul=False)
    if not name:
        return b""
    try:
        if (folder / name).stat().st_size > MAX_CONTENTS:
            value.mistake(f"larger than {MAX_CONTENTS} bytes")
            return b""
        return (folder / name).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        value.mistake(f"{name!r:.60} cannot be read: {reason}")
        return b""


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

    def fill(new: Array, sizes: Array) -> Iterator[tuple[int, Buffer]]:
        end = -(-size // page) * page
        for address, length, offset in zip(
            new.tolist(), sizes.tolist(), offsets.tolist(), strict=True
        ):
            at = 0
            while at < length and offset + at < end:
                n = min(PIECE, length - at, end - offset - at)
                here = max(0, min(n, size - offset - at))
                yield address + at, read(offset + at, here).ljust(n, b"\0")
                at += n

    return fill
