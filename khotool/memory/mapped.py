"""A file mapped for reading: where it has no bytes, and memory given back after use."""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right
from collections.abc import Callable
from typing import IO, Any

LEAST_RELEASED = 4 << 20
"""Shorter arrays stay."""
LEAST_HOLE = 1 << 20
"""Shorter holes are read as the zeros that they are."""
MOST_PARTS = 4096
"""Parts of a file that are told apart; what follows counts as data."""
_ADVICE = getattr(mmap, "MADV_DONTNEED", None)


class Mapping(mmap.mmap):
    """A mapped file.

    Attributes:
        holes: byte offsets where holes start and end, ascending.
    """

    holes: tuple[tuple[int, int], ...] = ()

    def next_hole(self, offset: int) -> tuple[int, int]:
        """The first hole that ends after ``offset``; an empty one at the end where none does."""
        row = bisect_right(self.holes, offset, key=lambda hole: hole[1])
        return self.holes[row] if row < len(self.holes) else (len(self), len(self))


def map_for_reading(file: IO[bytes]) -> Mapping:
    """Map all of a file.

    Raises:
        OSError, ValueError: the file cannot be mapped.
    """
    mapped = Mapping(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.holes = tuple(_holes(file.fileno(), len(mapped)))
    return mapped


def _holes(descriptor: int, size: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    at = 0
    try:
        while at < size and len(found) < MOST_PARTS:
            start = os.lseek(descriptor, at, os.SEEK_HOLE)
            if start >= size:
                break
            try:
                at = os.lseek(descriptor, start, os.SEEK_DATA)
            except OSError:
                # Nothing but a hole is left.
                at = size
            if at - start >= LEAST_HOLE:
                found.append((start, at))
    except (OSError, AttributeError):
        # A file system or a platform that does not tell: all is data.
        return found
    return found


def mapping_of(view: Any) -> Mapping | None:
    """The mapping that a memoryview or an array is a view of."""
    while view is not None:
        if isinstance(view, Mapping):
            return view
        view = view.obj if isinstance(view, memoryview) else getattr(view, "base", None)
    return None


def row_releaser(values: Any) -> Callable[[int, int], None] | None:
    """What gives rows ``low..high`` of an array back; None if it is not mapped, or small.

    Args:
        values: ndarray of one axis, ascending in memory.
    """
    mapped = mapping_of(values)
    stride = values.strides[0] if values.ndim else 0
    if mapped is None or stride <= 0 or len(values) * stride < LEAST_RELEASED:
        return None
    import numpy as np

    whole = np.frombuffer(mapped, np.uint8)
    start = values.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return lambda low, high: give_back(mapped, start + low * stride, (high - low) * stride)


def give_back(mapped: Mapping | None, offset: int, length: int) -> None:
    """Let the pages of a part of a file leave this process; reading them again brings them back."""
    if mapped is None or _ADVICE is None or length < mmap.PAGESIZE:
        return
    start = offset // mmap.PAGESIZE * mmap.PAGESIZE
    try:
        mapped.madvise(_ADVICE, start, min(offset + length, len(mapped)) - start)
    except (OSError, ValueError):
        return
