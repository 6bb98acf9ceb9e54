"""All bytes of a file, mapped or expanded, for as long as they are needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from khotool.errors import InputError
from khotool.memory.compression import detect, expand, map_file
from khotool.memory.regular import open_regular

LIMIT = 8 << 30
"""Bytes a compressed file may expand to; a vmlinux with all debug information stays below."""
SMALL = 64 << 20
"""Up to this many bytes are read instead of mapped: files of sysfs cannot be mapped."""


@contextmanager
def whole_file(path: str, limit: int = LIMIT) -> Iterator[memoryview]:
    """The bytes of a file, decompressed if it is compressed with gzip, bzip2, xz or zstd.

    Args:
        limit: bytes allowed, expanded.

    Raises:
        InputError: no such file, empty, larger than the limit, or a damaged stream.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            kind = detect(file.read(16))
            file.seek(0)
            if kind is not None:
                expanded = expand(path, file, kind, size, limit)
                data, release = expanded.data, expanded.release
                if expanded.notes:
                    release()
                    raise InputError(f"{path}: {expanded.notes[0]}")
            elif size <= SMALL:
                content = file.read(SMALL + 1)
                data, release = memoryview(content), _nothing
            else:
                data, release = map_file(file)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name a file that exists") from None
    try:
        if not len(data):
            raise InputError(f"{path}: the file is empty")
        yield data
    finally:
        release()


def _nothing() -> None:
    return
