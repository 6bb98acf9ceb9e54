"""Hand out physical memory for a handover that is laid out afresh."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from khotool.errors import EncodeError

U64 = np.ndarray[Any, np.dtype[np.uint64]]


class Allocator:
    """First fit over free ranges, lowest address first.

    Args:
        free: physical start and end in bytes of each range of memory.
        taken: ranges inside them that are in use, such as scratch.
    """

    def __init__(
        self, free: Iterable[tuple[int, int]], taken: Iterable[tuple[int, int]] = ()
    ) -> None:
        """Start with everything free that is not taken."""
        self.free: list[tuple[int, int]] = sorted(free)
        for start, end in taken:
            self.reserve(start, end)

    def reserve(self, start: int, end: int) -> bool:
        """Take a range away; False if part of it was not free."""
        left: list[tuple[int, int]] = []
        found = 0
        for low, high in self.free:
            if high <= start or low >= end:
                left.append((low, high))
                continue
            found += min(high, end) - max(low, start)
            left += [(a, b) for a, b in ((low, start), (end, high)) if a < b]
        self.free = left
        return found == end - start

    def take(self, count: int, size: int, path: str, align: int | None = None) -> U64:
        """``count`` blocks of ``size`` bytes, each aligned to ``align`` (its size by default).

        Returns:
            physical addresses, uint64 (count,), ascending.

        Raises:
            EncodeError: memory is used up; names ``path``.
        """
        align = align or size
        step = -(-size // align) * align
        parts: list[U64] = []
        left = count
        index = 0
        while left:
            if index == len(self.free):
                need = left * size
                raise EncodeError(path, f"memory is used up; {need} bytes more are needed")
            low, high = self.free[index]
            start = -(-low // align) * align
            fits = (high - start - size) // step + 1 if start + size <= high else 0
            if fits <= 0:
                index += 1
                continue
            number = min(fits, left)
            end = start + (number - 1) * step + size
            parts.append(np.uint64(start) + np.arange(number, dtype=np.uint64) * np.uint64(step))
            rest = [(a, b) for a, b in ((low, start), (end, high)) if a < b]
            self.free[index : index + 1] = rest
            left -= number
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)

    def take_one(self, size: int, path: str, align: int | None = None) -> int:
        """One block; as ``take``."""
        return int(self.take(1, size, path, align)[0])
