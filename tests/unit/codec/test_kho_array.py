"""Sparse arrays of words: what is laid out is read back, and every fault has its word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.abi.compile import CompiledStruct
from khotool.abi.geometry import PAGE_SIZES, Geometry
from khotool.abi.record import encode_record
from khotool.abi.registry import load_registry
from khotool.codec.kho_array import Words, build, walk_array
from khotool.codec.tables import merge_pages
from khotool.memory.overlay import OverlaySpace

REGISTRY = load_registry()
A, B, C = 0x1000, 0x2000, 0x3000


def page_struct(page_size: int = 4096, order: Any = "little") -> CompiledStruct:
    return REGISTRY.compile(REGISTRY.get("kho_array"), "kho_array_page", Geometry(page_size, order))


def walk(pages: dict[int, tuple[int, int, list[int]]], first: int = A, most: int = 9) -> Words:
    """Walk pages given as address to (next, startpos, entries)."""
    page = page_struct()
    writes = {
        address: encode_record(
            page, {"next": following, "startpos": start, "entries": entries}, "/"
        )
        for address, (following, start, entries) in pages.items()
    }
    return walk_array(OverlaySpace(None, writes).read, first, page, max_pages=most)


def test_words_that_fit() -> None:
    """510 words fit 4 KiB, as the posting has it."""
    assert page_struct().by_label("entries").count == 510


@pytest.mark.parametrize(
    ("pages", "found", "codes"),
    [
        ({}, [], ["missing"]),
        ({A: (0, 0, [])}, [], []),
        ({A: (0, 0, [0, 7, 0, 9])}, [(1, 7), (3, 9)], []),
        ({A: (B, 510, [5]), B: (0, 0, [6])}, [(510, 5), (0, 6)], []),
        ({A: (A, 0, [5])}, [(0, 5)], ["cycle"]),
        ({A: (C, 0, [5])}, [(0, 5)], ["missing"]),
        ({A: (0, 7, [5])}, [(7, 5)], ["unaligned"]),
        ({A: (0, (1 << 64) - 1, [5])}, [((1 << 64) - 510, 5)], ["unaligned"]),
        # The last multiple of 510: the page would reach beyond the last position.
        ({A: (0, (1 << 64) - 256, [5])}, [((1 << 64) - 510, 5)], ["unaligned"]),
    ],
)
def test_pages(
    pages: dict[int, tuple[int, int, list[int]]], found: list[tuple[int, int]], codes: list[str]
) -> None:
    """Words by position, and what stops the walk."""
    words = walk(pages)
    pairs = zip(words.position.tolist(), words.word.tolist(), strict=True)
    assert list(pairs) == found
    assert [problem.code for problem in words.problems] == codes


def test_an_empty_array_has_no_pages() -> None:
    """An address of 0 is an array without words."""
    words = walk({}, first=0)
    assert (words.pages, len(words.word), words.problems) == ([], 0, [])


def test_unaligned_page_and_limit() -> None:
    """A page at an odd address is read and told; links end at the limit."""
    page = page_struct()
    data = encode_record(page, {"next": 0, "startpos": 0, "entries": [3]}, "/")
    words = walk_array(OverlaySpace(None, {A + 8: data}).read, A + 8, page, max_pages=9)
    assert [problem.code for problem in words.problems] == ["unaligned"]
    assert words.address.tolist() == [A + 8 + 16]
    chain = {A: (B, 0, [1]), B: (C, 510, [2]), C: (0, 1020, [3])}
    words = walk(chain, most=2)
    assert [problem.code for problem in words.problems] == ["limit"]
    assert words.word.tolist() == [1, 2]


@given(st.data())
def test_what_is_built_is_read(data: st.DataObject) -> None:
    """Any positions, page size and byte order; each word stands where its address says."""
    page = page_struct(
        data.draw(st.sampled_from(PAGE_SIZES)), data.draw(st.sampled_from(["little", "big"]))
    )
    position = st.one_of(st.integers(0, 3000), st.integers(0, (1 << 64) - 1024 * 1024))
    words = data.draw(st.dictionaries(position, st.integers(1, (1 << 64) - 1), max_size=20))

    def allocate(count: int) -> list[int]:
        return [(number + 1) << 20 for number in range(count)]

    first, writes = build(
        np.array(list(words), np.uint64), np.array(list(words.values()), np.uint64), page, allocate
    )
    space = OverlaySpace(None, dict(writes))
    found = walk_array(space.read, first, page, max_pages=99)
    assert found.problems == []
    assert dict(zip(found.position.tolist(), found.word.tolist(), strict=True)) == words
    assert found.position.tolist() == sorted(words)
    assert len(found.pages) == len({p // page.by_label("entries").count for p in words})
    for address, word in zip(found.address.tolist(), found.word.tolist(), strict=True):
        assert int.from_bytes(space.read(address, 8), page.geometry.byteorder) == word
    pieces = merge_pages(found.address, 8, 8 * len(found.address)).tolist()
    assert [a for start, size in pieces for a in range(start, start + size, 8)] == (
        found.address.tolist()
    )


@pytest.mark.parametrize(
    ("address", "pieces"),
    [
        ([], []),
        ([0x1000], [[0x1000, 8]]),
        ([0x1000, 0x1008, 0x1010], [[0x1000, 24]]),
        ([0x1000, 0x1010, 0x1018, 0x1008], [[0x1000, 8], [0x1010, 16], [0x1008, 8]]),
        ([0x1000, 0x0FF8], [[0x1000, 8], [0x0FF8, 8]]),
    ],
)
def test_pieces_are_words_one_behind_the_other(address: list[int], pieces: list[list[int]]) -> None:
    """A gap, a step back and a repeated place end a piece."""
    found = merge_pages(np.array(address, np.uint64), 8, 8 * len(address))
    assert found.shape == (len(pieces), 2)
    assert found.tolist() == pieces
