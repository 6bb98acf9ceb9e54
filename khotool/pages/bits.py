"""Preserved single pages as the bitmaps in which an image holds them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from khotool.pages.bitmaps import lay_out, runs_of_bits
from khotool.records import dataclass

Frames = NDArray[np.int64]
Words = NDArray[np.uint64]
_ALIGN = 512
"""Frames of a granule of slots, which a bitmap begins and ends with."""
_PIECE_WORDS = 1 << 14
"""Words whose runs are made together."""


@dataclass(frozen=True, eq=False)
class PageBits:
    """Bitmaps of one size, one bit a page.

    Args:
        base: int64 (n,), page frame number of bit 0 of each bitmap; ascending, multiples of the
            bits of one bitmap.
        words: uint64 (n, width), native values; width is a power of two, at least 8.
    """

    base: Frames
    words: Words

    @staticmethod
    def fits(base: Frames, words: Words) -> bool:
        """Whether bitmaps hold whole granules and begin at multiples of their size."""
        width = words.shape[1] * 64
        return width % _ALIGN == 0 and not width & (width - 1) and not bool((base % width).any())

    @classmethod
    def of(cls, base: Frames, words: Words) -> PageBits | None:
        """Bitmaps that fit in any order, those of one place together; None without a bit."""
        if not base.size or not bool(words.any()):
            return None
        if bool((base[1:] <= base[:-1]).any()):
            row = np.argsort(base, kind="stable")
            base, words = base[row], words[row]
            head = np.flatnonzero(np.append(True, base[1:] != base[:-1]))
            if head.size < base.size:
                base, words = base[head], np.bitwise_or.reduceat(words, head, axis=0)
        return cls(base, words)

    @property
    def width(self) -> int:
        """Bits of one bitmap."""
        width: int = self.words.shape[1] * 64
        return width

    def equals(self, other: PageBits) -> bool:
        """Whether two have the same bitmaps, which is more than the same pages."""
        return np.array_equal(self.base, other.base) and np.array_equal(self.words, other.words)

    @cached_property
    def pages(self) -> int:
        """Number of bits."""
        return int(np.bitwise_count(self.words).sum(dtype=np.int64))

    @cached_property
    def run_count(self) -> int:
        """Number of maximal runs of bits."""
        flat = self.words.reshape(-1)
        starts = flat << np.uint64(1)
        np.invert(starts, out=starts)
        starts &= flat
        # Bit 0 of a word starts no run where the word before it ends with a bit.
        carry = flat[:-1] >> np.uint64(63)
        edge = np.arange(1, self.base.size) * self.words.shape[1] - 1
        carry[edge[self.base[1:] != self.base[:-1] + self.width]] = 0
        carry &= starts[1:]
        count: int = np.bitwise_count(starts).sum(dtype=np.int64).item()
        return count - int(carry.sum())

    def runs(self) -> Frames:
        """Maximal runs of bits as page frames int64 (n, 2), half-open, ascending."""
        return runs_of_bits(*lay_out(self.words, self.base))

    def runs_near(self, low: int, high: int) -> Frames:
        """Runs of the bitmaps that reach into page frames ``low..high``."""
        first = int(np.searchsorted(self.base, low - self.width, side="right"))
        part = slice(first, int(np.searchsorted(self.base, high)))
        if not self.base[part].size:
            return np.empty((0, 2), np.int64)
        return runs_of_bits(*lay_out(self.words[part], self.base[part]))

    def run_pieces(self) -> Iterator[Frames]:
        """The rows of :meth:`runs`, some at a time."""
        held = np.empty((0, 2), np.int64)
        step = max(1, _PIECE_WORDS // self.words.shape[1])
        for low in range(0, self.base.size, step):
            part = slice(low, low + step)
            runs = runs_of_bits(*lay_out(self.words[part], self.base[part]))
            if held.size and runs.size and runs[0, 0] == held[0, 1]:
                runs[0, 0] = held[0, 0]
            else:
                runs = np.concatenate([held, runs])
            # The last one may go on in the next part.
            held = runs[-1:]
            yield runs[:-1]
        yield held

    def has(self, frame: int) -> bool:
        """Whether a page frame has a bit."""
        row = int(np.searchsorted(self.base, frame, side="right")) - 1
        at = frame - int(self.base[row]) if row >= 0 else -1
        return 0 <= at < self.width and bool(int(self.words[row, at >> 6]) >> (at & 63) & 1)

    @cached_property
    def _before(self) -> Frames:
        """Number of bits before each word, and of all."""
        count = np.bitwise_count(self.words.reshape(-1))
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(count, dtype=np.int64)])

    def rank(self, frames: Frames) -> Frames:
        """Number of bits below each page frame."""
        row = np.searchsorted(self.base, frames, side="right") - 1
        inside = np.minimum(frames - self.base[np.maximum(row, 0)], self.width)
        word = np.maximum(row, 0) * self.words.shape[1] + (inside >> 6)
        count = self._before[np.where(row >= 0, word, 0)]
        part = (inside & 63).astype(np.uint64)
        rest = np.where((row >= 0) & (part > 0), word, 0)
        below = (np.uint64(1) << part) - np.uint64(1)
        within = np.bitwise_count(self.words.reshape(-1)[rest] & below).astype(np.int64)
        ranks: Frames = np.where(row >= 0, count + np.where(part > 0, within, 0), 0)
        return ranks
