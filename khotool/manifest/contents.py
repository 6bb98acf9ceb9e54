"""What synthetic payload holds: patterns, files, noise."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from khotool.document.json_input import number
from khotool.errors import EncodeError
from khotool.handover.values import Array, Buffer, Contents

KINDS = ("pattern", "fill", "random", "file", "hex")
ReadAt = Callable[[int, int], bytes]
"""Offset and length in bytes to contents."""
PIECE = 1 << 20


def contents_from(
    data: Any, where: str, folder: Path, size: int, page: int
) -> tuple[ReadAt | None, int]:
    """A reader of contents and their size in bytes.

    Args:
        data: the manifest's ``contents``: ``"none"``, ``"zero"``, or a table with one of
            ``pattern``, ``fill``, ``random``, ``file``, ``hex``.
        folder: relative file names start here.
        size: bytes as the manifest says; -1 to take the contents' own.

    Raises:
        EncodeError: no such kind, or a file that cannot be read or is longer than ``size``.
    """
    if data is None or data == "none":
        return None, max(size, 0)
    if data == "zero":
        return (lambda offset, length: bytes(length)), max(size, 0)
    if not isinstance(data, dict) or len(data) != 1 or next(iter(data)) not in KINDS:
        raise EncodeError(where, f"expected 'none', 'zero', or one of {', '.join(KINDS)}")
    kind, value = next(iter(data.items()))
    if kind in ("file", "hex"):
        raw = _bytes(kind, value, where, folder)
        if 0 <= size < len(raw):
            raise EncodeError(where, f"{len(raw)} bytes of contents, but size is {size}")
        length = len(raw) if size < 0 else size
        return (lambda offset, n: raw[offset : offset + n].ljust(n, b"\0")), length
    if kind == "pattern":
        if value != "page":
            raise EncodeError(f"{where}.pattern", f"{value!r} is no pattern; 'page' is")
        return (lambda offset, n: page_pattern(offset, n, page)), max(size, 0)
    if kind == "fill":
        letter = _letter(value, f"{where}.fill")
        return (lambda offset, n: letter * n), max(size, 0)
    seed = number(value, f"{where}.random")
    return (lambda offset, n: noise(seed, offset, n)), max(size, 0)


def _letter(value: Any, where: str) -> bytes:
    if isinstance(value, str) and len(value) == 1 and value.isascii():
        return value.encode()
    code = -1 if isinstance(value, str) else number(value, where)
    if not 0 <= code < 256:
        raise EncodeError(where, "expected one ASCII character or a number below 256")
    return bytes([code])


def _bytes(kind: str, value: Any, where: str, folder: Path) -> bytes:
    try:
        if kind == "hex":
            return bytes.fromhex(value)
        made: bytes = (folder / value).read_bytes()
        return made
    except (TypeError, ValueError, OSError) as error:
        raise EncodeError(f"{where}.{kind}", f"cannot be read: {error}") from None


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
        size: bytes of the file; what lies behind it in a page is zero.
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
