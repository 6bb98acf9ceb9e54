from __future__ import annotations

import numpy as np
import pytest

from khotool.maps.bitmap_size import SizeEvidence, bitmap_size_evidence
from khotool.maps.preserved import Chunk
from tests.unit.maps.chunk_pages import element

PAGE = 4096
SPAN = 1 << 27


def chunk(elements: list[tuple[int, int]], order: int = 0, address: int = PAGE) -> Chunk:
    return Chunk(address, 0, order, len(elements), np.array(elements, element()))


def reasons(*chunks: Chunk) -> list[str]:
    found = bitmap_size_evidence(list(chunks), page_shift=12)
    assert all((one.layout, one.certain) == ("512", True) for one in found)
    return [one.reason for one in found]


def loose(bitmap: int) -> str:
    return f"bitmap {bitmap:#x} in chunk 0x1000 is not at a page boundary"


def odd(start: int) -> str:
    text = "does not begin at a multiple of what a page of bits spans"
    return f"element at {start:#x} in chunk 0x1000 {text}"


def close(low: int, high: int) -> str:
    text = "are closer than what a page of bits spans"
    return f"elements at {low:#x} and {high:#x} in chunk 0x1000 {text}"


@pytest.mark.parametrize(
    ("elements", "order", "expected"),
    [
        ([(0, PAGE + 1)], 0, [loose(PAGE + 1)]),
        ([(0, 8 * PAGE), (SPAN, PAGE + 512), (2 * SPAN, PAGE + 1024)], 0, [loose(PAGE + 512)]),
        ([(SPAN // 2, PAGE)], 0, [odd(SPAN // 2)]),
        ([(1, PAGE)], 0, [odd(1)]),
        ([(0, PAGE), (SPAN // 2, 2 * PAGE), (5, 3 * PAGE)], 0, [odd(SPAN // 2), close(0, 5)]),
        ([(9 * SPAN, PAGE), (SPAN, 2 * PAGE), (SPAN, 4 * PAGE)], 0, [close(SPAN, SPAN)]),
        (
            [(9 * SPAN, PAGE), (0, 2 * PAGE), (SPAN - 1, 4 * PAGE)],
            0,
            [odd(SPAN - 1), close(0, SPAN - 1)],
        ),
        ([(0, PAGE), (7 * SPAN, 2 * PAGE), (7 * SPAN, 4 * PAGE)], 0, [close(7 * SPAN, 7 * SPAN)]),
        ([(SPAN, PAGE)], 1, [odd(SPAN)]),
        ([(1 << 63, PAGE)], 37, [odd(1 << 63)]),
        ([(1 << 63, PAGE)], 51, [odd(1 << 63)]),
    ],
)
def test_small_bitmaps_are_certain(
    elements: list[tuple[int, int]], order: int, expected: list[str]
) -> None:
    """The first bitmap, element or pair that a writer of whole pages cannot have made."""
    assert reasons(chunk(elements, order)) == expected


@pytest.mark.parametrize(
    ("chunks", "number"),
    [
        ([chunk([(0, PAGE)])], 1),
        ([chunk([(0, PAGE), (SPAN, 2 * PAGE)]), chunk([(0, 3 * PAGE)], 3)], 3),
        ([chunk([]), chunk([(0, PAGE)])], 1),
        ([chunk([(1 << 63, PAGE)], 36)], 1),
        ([chunk([(1, 1)], 52)], 1),
    ],
)
def test_whole_pages_are_probable(chunks: list[Chunk], number: int) -> None:
    """Where nothing speaks for small bitmaps, the more there are the likelier pages are."""
    chance = {1: "0.12", 3: "0.002"}[number]
    assert bitmap_size_evidence(chunks, page_shift=12) == [
        SizeEvidence(
            "page",
            False,
            f"all {number} bitmaps lie at page boundaries and span multiples of a page of bits; "
            f"by chance {chance}",
        )
    ]


def test_nothing_is_known_without_elements() -> None:
    """No elements speak for no size; every chunk that has some is looked at."""
    assert bitmap_size_evidence([], page_shift=12) == []
    assert bitmap_size_evidence([chunk([])], page_shift=12) == []
    last = chunk([(0, 1)], address=2 * PAGE)
    assert reasons(chunk([]), chunk([(9, 9)], 52), last) == [
        "bitmap 0x1 in chunk 0x2000 is not at a page boundary"
    ]
