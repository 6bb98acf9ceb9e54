"""Writers of files with holes: seekable ones keep the holes, streams get zeros."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from khotool.errors import InputError, KhotoolError

if TYPE_CHECKING:
    from hashlib import _Hash

Buffer = bytes | memoryview
BATCH = 512
"""Buffers of one system call; the kernel takes 1024."""
ZEROS = bytes(1 << 20)
MOST_ZEROS = 1 << 40
"""Bytes of one hole that are written or hashed as zeros; an image can claim far more."""


class Sink(Protocol):
    """Takes a file's bytes in ascending order."""

    def data(self, buffers: Sequence[Buffer]) -> None:
        """Append bytes."""

    def hole(self, length: int) -> None:
        """Append a hole of ``length`` bytes."""

    def finish(self) -> None:
        """The file is complete."""


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
            InputError: the file system has no files of this size.
        """
        try:
            os.ftruncate(self.handle, self.at)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "too large"
            raise InputError(f"a file of {self.at} bytes cannot be made: {reason}") from error


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
        """Append zeros.

        Raises:
            InputError: far too many of them.
        """
        if length > MOST_ZEROS:
            raise InputError(f"a hole of {length} bytes cannot go to a pipe; name a file with -o")
        while length > 0:
            size = min(length, len(ZEROS))
            self.data([ZEROS if size == len(ZEROS) else ZEROS[:size]])
            length -= size

    def finish(self) -> None:
        """Nothing is left to do."""


class Collected:
    """Keeps a file in memory; whoever writes to it has looked at its size."""

    def __init__(self) -> None:
        self.parts: list[Buffer] = []

    def bytes(self) -> bytes:
        """The file."""
        return b"".join(self.parts)

    def data(self, buffers: Sequence[Buffer]) -> None:
        """Append bytes."""
        self.parts += buffers

    def hole(self, length: int) -> None:
        """Append zeros."""
        self.parts.append(bytes(length))

    def finish(self) -> None:
        """Nothing is left to do."""


class Hashing:
    """Feeds a hash with a file's bytes, and passes them on.

    Args:
        sink: where the bytes go; None for nowhere.
        hash: of ``hashlib``.
        zeros: bytes of holes that may be hashed; beyond them there is no digest.
    """

    def __init__(self, sink: Sink | None, hash: _Hash, zeros: int = MOST_ZEROS) -> None:
        self.sink = sink
        self.hash = hash
        self.zeros = zeros

    def hexdigest(self) -> str | None:
        """The digest so far; None if the holes were too large."""
        return self.hash.hexdigest() if self.zeros >= 0 else None

    def data(self, buffers: Sequence[Buffer]) -> None:
        """Append bytes."""
        for buffer in buffers:
            self.hash.update(buffer)
        if self.sink is not None:
            self.sink.data(buffers)

    def hole(self, length: int) -> None:
        """Append a hole of ``length`` bytes."""
        self.zeros -= length
        left = length if self.zeros >= 0 else 0
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
        BrokenPipeError: the reader is gone.
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
