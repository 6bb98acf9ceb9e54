"""Bitmaps to runs of set bits and back, on arrays of whole bitmaps at once."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Runs = NDArray[np.int64]

# 32768 words are 256 KiB: a chunk and its scratch arrays stay inside a second-level cache.
_CHUNK_WORDS = 32768
# Unpacked bits are one byte each, so dense parts are unpacked in pieces of 128 KiB.
_UNPACK_WORDS = 2048
# Up to this mean number of edges in a word, peeling the lowest bit is cheaper than unpacking.
_PEEL_MEAN = 6
_ONE = np.uint64(1)
_TOP = np.uint64(63)
_LITTLE_HOST = sys.byteorder == "little"


def native_words(data: NDArray[np.uint8], byteorder: str) -> Words:
    """Words of bitmap bytes as values of this host.

    Args:
        data: contiguous array of uint8 whose last axis is a multiple of 8 bytes long.
        byteorder: ``<`` or ``>``, the byte order of the image.

    Returns:
        uint64 array of the same shape, last axis divided by 8. A view where no swap is needed.
    """
    view = np.ascontiguousarray(data).view(f"{byteorder}u8")
    return view.astype(np.uint64, copy=False)


def image_bytes(words: Words, byteorder: str) -> NDArray[np.uint8]:
    """The inverse of :func:`native_words`: uint8, last axis multiplied by 8."""
    stored = np.ascontiguousarray(words.astype(f"{byteorder}u8", copy=False))
    return stored.view(np.uint8)


def lay_out(bitmaps: Words, first_bits: Runs) -> tuple[Words, Runs]:
    """Put bitmaps one after the other so that runs join exactly where the bitmaps do.

    A zero word goes behind each bitmap that is not followed by its neighbour; its position is
    the bit just past that bitmap, so that a run reaching the end ends there.

    Args:
        bitmaps: uint64 (n, words); native values.
        first_bits: int64 (n,); position of bit 0 of each bitmap. A bitmap and the next are
            neighbours when the positions differ by the number of bits of one bitmap.

    Returns:
        ``words`` uint64 and ``word_base`` int64 of one length, for :func:`runs_of_bits`.
    """
    count, width = bitmaps.shape
    bits = width * 64
    gap = np.ones(count, bool)
    gap[:-1] = first_bits[1:] != first_bits[:-1] + bits
    # One row of a group is one bitmap; groups are copied whole, never one bitmap at a time.
    place = np.arange(count, dtype=np.int64) * width
    place[1:] += np.cumsum(gap[:-1])
    total = count * width + int(np.count_nonzero(gap))
    words = np.zeros(total, np.uint64)
    base = np.empty(total, np.int64)
    if int(np.count_nonzero(gap)) == 1:
        words[: count * width] = bitmaps.reshape(-1)
        base[:] = first_bits[0] + 64 * np.arange(total, dtype=np.int64)
        return words, base
    row = np.arange(width, dtype=np.int64)
    step = max(1, _CHUNK_WORDS * 4 // width)
    for low in range(0, count, step):
        high = min(count, low + step)
        index = place[low:high, None] + row
        words[index] = bitmaps[low:high]
        base[index] = first_bits[low:high, None] + 64 * row
    base[place[gap] + width] = first_bits[gap] + bits
    return words, base


class _Output:
    """A growing buffer of positions; ``share`` is the part of the input already seen."""

    def __init__(self, data: Runs) -> None:
        self.data = data
        self.used = 0
        self.share = 1.0

    def room(self, more: int) -> Runs:
        """A view of ``more`` fresh places at the end."""
        need = self.used + more
        if need > self.data.size:
            # Touching fresh memory costs more than the arithmetic, so the final size is guessed
            # from what was found so far; it stays below the number of bits in the input.
            grown = np.empty(max(int(need / self.share) + 64, self.data.size * 2), np.int64)
            grown[: self.used] = self.data[: self.used]
            self.data = grown
        view = self.data[self.used : need]
        self.used = need
        return view


def runs_of_bits(words: Words, word_base: Runs | int = 0, buffer: Runs | None = None) -> Runs:
    """Maximal runs of set bits.

    Bit ``n`` of a bitmap is bit ``n % 64`` of word ``n / 64``. A run goes on from the last bit of
    one word to the first bit of the next; :func:`lay_out` places zero words where it must not.

    Args:
        words: uint64 (n,), native values.
        word_base: int64 (n,), position of bit 0 of each word; or the position of bit 0 of the
            first word, the others following without gap.
        buffer: int64 (any,), contiguous; the result is placed in it when it fits.

    Returns:
        int64 (runs, 2), half-open, in the unit of ``word_base``, in the order of the words.
    """
    words = np.ascontiguousarray(words, np.uint64)
    total = words.size
    out = _Output(np.empty(1024, np.int64) if buffer is None else buffer)
    size = min(total, _CHUNK_WORDS)
    edges_scratch = np.empty(size, np.uint64)
    carry_scratch = np.empty(size, np.uint64)
    mask_scratch = np.empty(size, bool)
    carry = np.uint64(0)
    for low in range(0, total, _CHUNK_WORDS):
        high = min(total, low + _CHUNK_WORDS)
        chunk = words[low:high]
        length = high - low
        edges = edges_scratch[:length]
        shifted = carry_scratch[:length]
        np.left_shift(chunk, _ONE, out=edges)
        np.bitwise_xor(edges, chunk, out=edges)
        np.right_shift(chunk, _TOP, out=shifted)
        np.bitwise_xor(edges[1:], shifted[:-1], out=edges[1:])
        edges[0] ^= carry
        carry = shifted[-1]
        mask = np.not_equal(edges, 0, out=mask_scratch[:length])
        found = np.flatnonzero(mask)
        base = word_base + low * 64 if isinstance(word_base, int) else word_base[low:high]
        out.share = high / total
        _positions(edges, found, base, out)
    if carry:
        if isinstance(word_base, int):
            out.room(1)[0] = word_base + total * 64
        else:
            out.room(1)[0] = word_base[-1] + 64
    return out.data[: out.used].reshape(-1, 2)


def _positions(edges: Words, found: NDArray[np.intp], base: Runs | int, out: _Output) -> None:
    """Append the position of every set bit of ``edges``; ``found`` lists its non-zero words."""
    few = edges if found.size == edges.size else edges[found]
    counts = np.bitwise_count(few)
    total = int(counts.sum(dtype=np.int64))
    if total <= found.size * _PEEL_MEAN:
        start = base + found * 64 if isinstance(base, int) else base[found]
        _peel(few, counts, start, out.room(total))
    elif found.size * 100 > edges.size * 35:
        _unpack(edges, base, total, out)
    else:
        start = base + found * 64 if isinstance(base, int) else base[found]
        _unpack(few, start, total, out)


def _peel(left: Words, counts: NDArray[np.uint8], base: Runs, room: Runs) -> None:
    """Write positions by taking the lowest set bit of every word, round after round."""
    place = np.cumsum(counts, dtype=np.int64)
    place -= counts
    while True:
        lowest = left & (~left + _ONE)
        room[place] = base + np.bitwise_count(lowest - _ONE)
        left = left ^ lowest
        more = np.flatnonzero(left != 0)
        if more.size == 0:
            return
        if more.size != left.size:
            left, base, place = left[more], base[more], place[more]
        place = place + 1


def _unpack(edges: Words, base: Runs | int, total: int, out: _Output) -> None:
    """Write positions of all bits of ``edges`` by unpacking them to bytes."""
    room = out.room(total)
    done = 0
    for low in range(0, edges.size, _UNPACK_WORDS):
        part = edges[low : low + _UNPACK_WORDS]
        if not _LITTLE_HOST:
            part = part.byteswap()
        bits = np.unpackbits(part.view(np.uint8), bitorder="little").view(bool).nonzero()[0]
        target = room[done : done + bits.size]
        if isinstance(base, int):
            np.add(bits, base + low * 64, out=target)
        else:
            np.take(base[low : low + _UNPACK_WORDS], bits >> 6, out=target, mode="clip")
            bits &= 63
            target += bits
        done += bits.size


def bits_of_runs(runs: Runs, nbits: int) -> Words:
    """Bitmap with the bits of ``runs`` set; the inverse of :func:`runs_of_bits` with base 0.

    Args:
        runs: int64 (n, 2), half-open bit positions, disjoint, inside ``0..nbits``.
        nbits: length of the bitmap in bits; rounded up to whole words.

    Returns:
        uint64 (ceil(nbits / 64),), native values.

    Raises:
        ValueError: a run does not lie inside the bitmap.
    """
    count = -(-nbits // 64)
    # The word behind the last takes the end of a run that reaches the end of the bitmap.
    words = np.zeros(count + 1, np.uint64)
    if runs.size:
        if int(runs.min()) < 0 or int(runs.max()) > nbits or bool((runs[:, 0] > runs[:, 1]).any()):
            raise ValueError("runs lie inside the bitmap")
        edge = np.ascontiguousarray(runs, np.int64).reshape(-1)
        np.bitwise_xor.at(words, edge >> 6, _ONE << (edge & 63).astype(np.uint64))
        for shift in (1, 2, 4, 8, 16, 32):
            words ^= words << np.uint64(shift)
        # The top bit of a word is the parity of its edges; an odd number before it inverts it.
        parity = np.bitwise_xor.accumulate(words >> _TOP)
        words[1:] ^= np.uint64(0) - parity[:-1]
    return words[:count]
