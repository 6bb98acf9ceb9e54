from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.pages import bitmaps as bits

WORD = st.one_of(
    st.sampled_from([0, (1 << 64) - 1, 1, 1 << 63, 0x5555555555555555, 0xFF00FF00FF00FF00]),
    st.integers(0, (1 << 64) - 1),
)


def slow_runs(words: list[int], base: list[int]) -> list[list[int]]:
    """Runs bit by bit; a bit that does not follow the previous one in position ends the run."""
    found: list[list[int]] = []
    for word, first in zip(words, base, strict=True):
        for bit in range(64):
            if word >> bit & 1:
                if found and found[-1][1] == first + bit:
                    found[-1][1] += 1
                else:
                    found.append([first + bit, first + bit + 1])
    return found


@given(st.lists(WORD, max_size=40), st.integers(0, 1 << 52))
def test_runs_agree_with_bit_by_bit(words: list[int], base: int) -> None:
    """Runs of one long bitmap are those found bit by bit, with either form of the base."""
    array = np.array(words, np.uint64)
    bases = [base + 64 * n for n in range(len(words))]
    expected = slow_runs(words, bases)
    assert bits.runs_of_bits(array, base).tolist() == expected
    assert bits.runs_of_bits(array, np.array(bases, np.int64)).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 12), st.lists(WORD, min_size=2, max_size=2)), max_size=8))
def test_bitmaps_join_exactly_at_neighbours(parts: list[tuple[int, list[int]]]) -> None:
    """Runs go on into the neighbouring bitmap and never across a gap between bitmaps."""
    placed = sorted(dict(parts).items())
    bitmaps = np.array([words for _, words in placed], np.uint64).reshape(-1, 2)
    first = np.array([place * 128 for place, _ in placed], np.int64)
    got = bits.runs_of_bits(*bits.lay_out(bitmaps, first))
    words = [word for _, pair in placed for word in pair]
    base = [place * 128 + 64 * half for place, _ in placed for half in (0, 1)]
    assert got.tolist() == slow_runs(words, base)


@given(st.lists(WORD, max_size=40))
def test_bits_of_runs_is_the_inverse(words: list[int]) -> None:
    """A bitmap made of its own runs is the same bitmap."""
    array = np.array(words, np.uint64)
    again = bits.bits_of_runs(bits.runs_of_bits(array), array.size * 64)
    assert again.tolist() == words


@pytest.mark.parametrize("density", [0.0, 0.0005, 0.01, 0.2, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("clustered", [False, True])
def test_long_bitmaps_of_any_density(density: float, clustered: bool) -> None:
    """Chunk borders and every strategy for dense and sparse parts give the runs of plain bits."""
    random = np.random.default_rng(5)
    count = 70_000 * 64
    plain = random.random(count) < density
    if clustered:
        # Only some stretches keep their bits, so that most words are zero.
        plain &= np.repeat(random.random(count // 3200) < 0.2, 3200)
    words = np.packbits(plain, bitorder="little").view("<u8").astype(np.uint64)
    edge = np.diff(np.concatenate([[0], plain.view(np.int8), [0]]))
    expected = np.stack([np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)], axis=1)
    base = np.arange(words.size, dtype=np.int64) * 64
    buffer = np.empty(count + 2, np.int64)
    assert np.array_equal(bits.runs_of_bits(words), expected)
    assert np.array_equal(bits.runs_of_bits(words, base, buffer), expected)
    assert np.array_equal(bits.bits_of_runs(expected, count), words)


def test_byte_order_of_the_image_decides() -> None:
    """Words are read and written in the byte order of the image."""
    data = np.arange(16, dtype=np.uint8)
    for order, name in (("<", "little"), (">", "big")):
        words = bits.native_words(data, order)
        assert words.tolist() == [
            int.from_bytes(bytes(range(n, n + 8)), name)  # type: ignore[arg-type]
            for n in (0, 8)
        ]
        assert bits.image_bytes(words, order).tolist() == data.tolist()


def test_runs_outside_the_bitmap_are_refused() -> None:
    """A run past the end, or a reversed one, is an error of the caller."""
    for run in ([60, 65], [-1, 3], [5, 4]):
        with pytest.raises(ValueError, match="inside"):
            bits.bits_of_runs(np.array([run], np.int64), 64)


@pytest.mark.parametrize("places", [[], [0], [0, 1, 2], [0, 1, 3], [0, 2, 3], [0, 2, 4], [3, 4]])
def test_full_bitmaps_join(places: list[int]) -> None:
    """Neighbours make one run, a gap between them two, wherever they stand in the list."""
    bitmaps = np.full((len(places), 2), (1 << 64) - 1, np.uint64)
    words, base = bits.lay_out(bitmaps, np.array(places, np.int64) * 128)
    full = [[place * 128, place * 128 + 128] for place in places]
    joined: list[list[int]] = []
    for low, high in full:
        if joined and joined[-1][1] == low:
            joined[-1][1] = high
        else:
            joined.append([low, high])
    assert bits.runs_of_bits(words, base).tolist() == joined
    # A zero word stands at the bit behind each bitmap that no neighbour follows.
    ends = {high for _, high in joined}
    assert base[words == 0].tolist() == sorted(ends)
    assert words.size == base.size == 2 * len(places) + len(joined)


def test_bitmaps_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few bitmaps are laid out at once, and however few words looked at, runs agree."""
    random = np.random.default_rng(7)
    bitmaps = random.integers(0, 1 << 64, (40, 3), dtype=np.uint64)
    bitmaps[random.random((40, 3)) < 0.5] = (1 << 64) - 1
    first = np.cumsum(random.integers(1, 3, 40)) * 192
    whole = bits.runs_of_bits(*bits.lay_out(bitmaps, first)).tolist()
    base = [int(place) + 64 * word for place in first for word in range(3)]
    assert whole == slow_runs(bitmaps.reshape(-1).tolist(), base)
    for chunk, unpack in ((1, 1), (2, 5), (7, 3)):
        monkeypatch.setattr(bits, "_CHUNK_WORDS", chunk)
        monkeypatch.setattr(bits, "_UNPACK_WORDS", unpack)
        for mean in (0, 6, 64):
            monkeypatch.setattr(bits, "_PEEL_MEAN", mean)
            assert bits.runs_of_bits(*bits.lay_out(bitmaps, first)).tolist() == whole
            # The same words as one bitmap, from a given bit on.
            words = bitmaps.reshape(-1)
            expected = slow_runs(words.tolist(), [9 + 64 * n for n in range(words.size)])
            assert bits.runs_of_bits(words, 9).tolist() == expected


def test_any_buffer_will_do() -> None:
    """A buffer that is too small, exact or large changes nothing; a fitting one is used."""
    words = np.full(9, 0x5555555555555555, np.uint64)
    expected = bits.runs_of_bits(words).tolist()
    assert len(expected) == 9 * 32
    for size in (0, 1, 575, 576, 577, 5000):
        buffer = np.full(size, -1, np.int64)
        found = bits.runs_of_bits(words, 0, buffer)
        assert found.tolist() == expected
        assert np.shares_memory(found, buffer) is (size >= 576)


def test_words_are_not_changed() -> None:
    """Looking at words leaves them as they are."""
    for word in (1, 0x5555555555555555, (1 << 64) - 1):
        words = np.full(5, word, np.uint64)
        bits.runs_of_bits(words)
        assert words.tolist() == [word] * 5


def test_runs_that_fill_the_bitmap() -> None:
    """A run may end with the bitmap, which is made of whole words."""
    made = bits.bits_of_runs(np.array([[0, 3], [60, 65]], np.int64), 65)
    assert made.tolist() == [0b111 | 0xF << 60, 1]
    assert bits.bits_of_runs(np.array([[0, 64]], np.int64), 64).tolist() == [(1 << 64) - 1]
    assert bits.bits_of_runs(np.empty((0, 2), np.int64), 0).tolist() == []
