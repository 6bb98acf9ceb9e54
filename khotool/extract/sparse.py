"""Writers of files with holes: seekable ones keep the holes, streams get zeros."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from khotool.errors import KhotoolError

if TYPE_CHECKING:
    from hashlib import _Hash

Buffer = bytes | memoryview
BATCH = 512
"""Buffers of one system call; the kernel takes 1024."""
ZEROS = bytes(1 << 20)


class Sink(Protocol):
    """Takes a file's bytes in ascending order."""

    def data(self, buffers: Sequence[Buffer]) -> None:
        """Append bytes."""
        ...

    def hole(self, length: int) -> None:
        """Append a hole of ``length`` bytes."""
        ...

    def finish(self) -> None:
        """The file is complete."""
        ...


class SparseFile:
    """Writes to a seekable file; holes are never written.

    Args:
        handle: open file descriptor of an empty regular file.
    """

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.at = 0

    def data(self, buffers: Sequence[Buffer]) -> None:
        """Append bytes.

        Raises:
            KhotoolError: the file cannot hold them.
        """
        for low in range(0, len(buffers), BATCH):
            part = [memoryview(buffer) for buffer in buffers[low : low + BATCH]]
            self.at += _write_all(
                part, lambda left, done: os.pwritev(self.handle, left, self.at + done)
            )

    def hole(self, length: int) -> None:
        """Append a hole of ``length`` bytes."""
        self.at += length

    def finish(self) -> None:
        """Give the file its size.

        Raises:
            KhotoolError: the file system has no files of this size.
        """
        try:
            os.ftruncate(self.handle, self.at)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "too large"
            raise KhotoolError(f"a file of {self.at} bytes cannot be made: {reason}") from error


class Stream:
    """Writes to a pipe or terminal; holes are zeros.

    Args:
        handle: open file descriptor.
    """

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def data(self, buffers: Sequence[Buffer]) -> None:
        """Append bytes."""
        for low in range(0, len(buffers), BATCH):
            part = [memoryview(buffer) for buffer in buffers[low : low + BATCH]]
            _write_all(part, lambda left, _done: os.writev(self.handle, left))

    def hole(self, length: int) -> None:
        """Append zeros."""
        while length > 0:
            size = min(length, len(ZEROS))
            self.data([ZEROS if size == len(ZEROS) else ZEROS[:size]])
            length -= size

    def finish(self) -> None:
        """Nothing is left to do."""


class Hashing:
    """Feeds a hash with a file's bytes, and passes them on.

    Args:
        sink: where the bytes go; None for nowhere.
        hash: of ``hashlib``.
    """

    def __init__(self, sink: Sink | None, hash: _Hash) -> None:
        self.sink = sink
        self.hash = hash

    def data(self, buffers: Sequence[Buffer]) -> None:
        """Append bytes."""
        for buffer in buffers:
            self.hash.update(buffer)
        if self.sink is not None:
            self.sink.data(buffers)

    def hole(self, length: int) -> None:
        """Append a hole of ``length`` bytes."""
        left = length
        while left > 0:
            size = min(left, len(ZEROS))
            self.hash.update(ZEROS if size == len(ZEROS) else ZEROS[:size])
            left -= size
        if self.sink is not None:
            self.sink.hole(length)

    def finish(self) -> None:
        """The file is complete."""
        if self.sink is not None:
            self.sink.finish()


def _write_all(part: list[memoryview], write: Callable[[list[memoryview], int], int]) -> int:
    """Write all of some buffers, however little each call takes; returns their bytes.

    Raises:
        KhotoolError: the disk is full, or the like.
        BrokenPipeError: nobody reads any longer.
    """
    total = done = sum(len(view) for view in part)
    done = 0
    while done < total:
        try:
            count = write(part, done)
        except BrokenPipeError:
            raise
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "too large"
            raise KhotoolError(f"cannot write the output: {reason}") from error
        done += count
        while part and count >= len(part[0]):
            count -= len(part.pop(0))
        if count:
            part[0] = part[0][count:]
    return total
