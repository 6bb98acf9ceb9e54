"""Which pages a bitmap names, and how many come before a page."""

from __future__ import annotations

import numpy as np

from khotool.memory.space import U64, true_runs

_CHUNK = 1 << 16


class PageMap:
    """A bitmap with one bit a page, lowest bit of the lowest byte first.

    Args:
        bits: the bytes of the bitmap; copied.
        first: PFN of the first page that counts; the bits below are ignored.
        stop: PFN after the last page that counts.
    """

    def __init__(self, bits: memoryview, first: int, stop: int) -> None:
        stop = min(stop, len(bits) * 8)
        size = -(-max(stop, 0) // 64) * 8
        raw = np.zeros(size, dtype=np.uint8)
        given = np.frombuffer(bits, dtype=np.uint8, count=min(size, len(bits)))
        raw[: len(given)] = given
        self._words: U64 = raw.view("<u8").astype(np.uint64)
        self._clear(0, first)
        self._clear(stop, len(self._words) * 64)
        self._count()

    def _clear(self, first: int, stop: int) -> None:
        first, stop = max(first, 0), min(stop, len(self._words) * 64)
        if first >= stop:
            return
        low, high = first // 64, stop // 64
        head = (1 << first % 64) - 1
        tail = ((1 << 64) - 1) ^ ((1 << stop % 64) - 1)
        if low == high:
            self._words[low] &= np.uint64(head | tail)
            return
        self._words[low] &= np.uint64(head)
        self._words[low + 1 : high] = 0
        if stop % 64:
            self._words[high] &= np.uint64(tail)

    def _count(self) -> None:
        counts = np.bitwise_count(self._words)
        self._before = np.concatenate([[0], np.cumsum(counts, dtype=np.uint64)]).astype(np.uint64)

    def __len__(self) -> int:
        return int(self._before[-1])

    def rank(self, pfn: int) -> int:
        """Number of pages with bits below ``pfn``, which lies inside the bitmap."""
        word, bit = divmod(pfn, 64)
        below = int(self._words[word]) & ((1 << bit) - 1)
        return int(self._before[word]) + below.bit_count()

    def ranks(self, pfns: U64) -> U64:
        """``rank`` of many pages inside the bitmap."""
        word, bit = pfns >> np.uint64(6), pfns & np.uint64(63)
        below = self._words[word] & ((np.uint64(1) << bit) - np.uint64(1))
        result: U64 = self._before[word] + np.bitwise_count(below)
        return result

    def keep_first(self, count: int) -> None:
        """Drop every page after the first ``count`` of them."""
        if count >= len(self):
            return
        word = int(np.searchsorted(self._before, np.uint64(count), side="right")) - 1
        left = count - int(self._before[word])
        value, kept = int(self._words[word]), 0
        for _ in range(left):
            lowest = value & -value
            kept |= lowest
            value ^= lowest
        self._words[word] = kept
        self._words[word + 1 :] = 0
        self._count()

    def runs(self) -> U64:
        """Consecutive pages: shape (n, 2), half-open ranges of PFNs, ascending and merged."""
        parts: list[U64] = [np.empty((0, 2), dtype=np.uint64)]
        for base in range(0, len(self._words), _CHUNK):
            words = self._words[base : base + _CHUNK]
            if not words.any():
                continue
            bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
            found = np.array(true_runs(bits.astype(np.bool_)), dtype=np.uint64) + np.uint64(
                base * 64
            )
            parts.append(found)
        table = np.concatenate(parts)
        if not len(table):
            return table
        gap = table[1:, 0] != table[:-1, 1]
        return np.stack(
            [table[np.concatenate([[True], gap]), 0], table[np.concatenate([gap, [True]]), 1]],
            axis=1,
        )
