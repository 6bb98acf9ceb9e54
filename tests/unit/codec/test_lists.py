"""Block lists and vmalloc chunks: what is there is walked, and every fault has its word."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.abi.geometry import Geometry
from khotool.abi.record import encode_record
from khotool.abi.registry import load_registry
from khotool.codec.blocks import BlockList, capacity, walk_blocks
from khotool.codec.vmalloc import VmallocArea, walk_vmalloc
from khotool.memory.overlay import OverlaySpace

GEOMETRY = Geometry(4096, "big")
REGISTRY = load_registry()
HEADER = REGISTRY.compile(REGISTRY.get("kho_block"), "kho_block_header_ser", GEOMETRY)
RECORD = REGISTRY.compile(REGISTRY.get("luo-v5"), "luo_session_ser", GEOMETRY)
CHUNK = REGISTRY.compile(REGISTRY.get("kho_vmalloc"), "kho_vmalloc_chunk", GEOMETRY)
FITS = capacity(HEADER, RECORD)
SLOTS = CHUNK.by_label("phys").count
A, B, C = 0x1000, 0x2000, 0x3000


def blocks(pages: dict[int, tuple[int, int]], first: int = A, most: int = 9) -> BlockList:
    """Walk blocks given as address to (next, count)."""
    writes = {
        address: encode_record(HEADER, {"next": following, "count": count}, "/").ljust(4096, b"\0")
        for address, (following, count) in pages.items()
    }
    read = OverlaySpace(None, writes).read
    return walk_blocks(read, first, HEADER, RECORD, max_blocks=most)


def chunks(
    pages: dict[int, tuple[int, list[int]]], wanted: int = 1, most: int = 9, first: int = A
) -> VmallocArea:
    """Walk chunks given as address to (next, addresses)."""
    writes = {
        address: encode_record(CHUNK, {"next": following, "phys": phys}, "/")
        for address, (following, phys) in pages.items()
    }
    read = OverlaySpace(None, writes).read
    return walk_vmalloc(read, first, CHUNK, wanted=wanted, max_chunks=most)


def test_records_that_fit() -> None:
    """51 sessions of 80 bytes fit 4 KiB, as the kernel has it."""
    assert FITS == 51
    assert SLOTS == 511


@pytest.mark.parametrize(
    ("pages", "addresses", "codes"),
    [
        ({}, [], ["missing"]),
        ({A: (0, 1)}, [A], []),
        ({A: (B, FITS), B: (0, 7)}, [A, B], []),
        ({A: (B, FITS), B: (A, FITS)}, [A, B], ["cycle"]),
        ({A: (A, FITS)}, [A], ["cycle"]),
        ({A: (B, 3), B: (0, 3)}, [A, B], ["short-block"]),
        ({A: (B, FITS)}, [A], ["missing"]),
        ({A: (0, 0)}, [A], ["count"]),
        ({A: (0, FITS + 1)}, [A], ["count"]),
        ({A: (0, (1 << 64) - 1)}, [A], ["count"]),
        ({A: (B + 8, FITS), B + 8: (0, 1)}, [A, B + 8], ["unaligned"]),
        ({A: ((1 << 64) - 4096, FITS)}, [A], ["missing"]),
    ],
)
def test_blocks(pages: dict[int, tuple[int, int]], addresses: list[int], codes: list[str]) -> None:
    """The blocks that are there, in order, and what is wrong with the list."""
    found = blocks(pages)
    assert [block.address for block in found.blocks] == addresses
    assert [problem.code for problem in found.problems] == codes
    assert all(0 <= block.used <= FITS for block in found.blocks)


def test_no_blocks() -> None:
    """An address of 0 is an empty list."""
    assert blocks({}, first=0) == BlockList([])


def test_blocks_stop_at_the_limit() -> None:
    """No more links are followed than allowed."""
    pages = {0x1000 * i: (0x1000 * (i + 1), FITS) for i in range(1, 30)}
    found = blocks(pages, most=5)
    assert len(found.blocks) == 5
    assert [problem.code for problem in found.problems] == ["limit"]


FULL = list(range(4096, 4096 * (SLOTS + 1), 4096))


@pytest.mark.parametrize(
    ("pages", "number", "codes"),
    [
        ({}, 0, ["missing"]),
        ({A: (0, [])}, 0, []),
        ({A: (0, [B, C])}, 2, []),
        ({A: (0, FULL)}, SLOTS, []),
        ({A: (B, FULL), B: (0, [])}, SLOTS, []),
        ({A: (B, FULL), B: (0, [A])}, SLOTS + 1, []),
        ({A: (B, FULL), B: (A, FULL)}, 2 * SLOTS, ["cycle"]),
        ({A: (B, [C]), B: (0, [C])}, 2, ["short-chunk"]),
        ({A: (B, FULL)}, SLOTS, ["missing"]),
        ({A: (0, [B, 0, C])}, 1, ["after-end"]),
        ({A: (B + 8, FULL), B + 8: (0, [])}, SLOTS, ["unaligned"]),
    ],
)
def test_chunks(pages: dict[int, tuple[int, list[int]]], number: int, codes: list[str]) -> None:
    """The addresses up to the first 0, and what is wrong with the list."""
    found = chunks(pages, wanted=4096)
    assert len(found.pages) == number
    assert [problem.code for problem in found.problems] == codes


def test_chunks_stop_once_there_is_enough() -> None:
    """Chunks behind what the descriptor declares are not followed for ever."""
    pages = {0x1000 * i: (0x1000 * (i + 1), FULL) for i in range(1, 30)}
    found = chunks(pages, wanted=2, most=100)
    assert len(found.chunks) < 5
    assert [problem.code for problem in found.problems] == ["limit"]
    assert chunks({}, first=0).chunks == []


@given(
    st.dictionaries(
        st.integers(1, 6).map(lambda n: n << 12),
        st.tuples(st.integers(0, 7).map(lambda n: n << 12), st.sampled_from([0, 1, FITS, 1 << 60])),
    )
)
def test_any_links(pages: dict[int, tuple[int, int]]) -> None:
    """However blocks link, each is visited once and the walk ends."""
    found = blocks(pages, most=100)
    visited = [block.address for block in found.blocks]
    assert len(set(visited)) == len(visited) <= len(pages)
    ends: Any = found.blocks[-1].next if found.blocks else A
    assert not ends or found.problems


@pytest.mark.parametrize(("page", "fits"), [(4096, 51), (16384, 204), (65536, 819)])
def test_records_that_fit_other_pages(page: int, fits: int) -> None:
    """The header takes its bytes from the first record's room."""
    geometry = Geometry(page, "little")
    header = REGISTRY.compile(REGISTRY.get("kho_block"), "kho_block_header_ser", geometry)
    record = REGISTRY.compile(REGISTRY.get("luo-v5"), "luo_session_ser", geometry)
    assert capacity(header, record) == fits


@pytest.mark.parametrize(
    ("numbers", "wanted", "visited"),
    [
        ([SLOTS] * 9, 2, 3),
        ([SLOTS] * 9, 0, 1),
        ([1] * 9, 3, 4),
        ([3] + [0] * 8, 3, 9),
        ([4] + [0] * 8, 3, 4),
        ([0] * 9, 0, 9),
    ],
)
def test_chunks_behind_the_last_address(numbers: list[int], wanted: int, visited: int) -> None:
    """Once there is more than wanted, no more chunks are followed than addresses are wanted."""
    pages = {0x1000 * i: (0x1000 * (i + 1), FULL[:n]) for i, n in enumerate(numbers, 1)}
    last = 0x1000 * len(numbers)
    pages[last] = (0, pages[last][1])
    found = chunks(pages, wanted=wanted, most=100)
    assert len(found.chunks) == visited
    stopped = [p.address for p in found.problems if p.code == "limit"]
    assert stopped == ([] if visited == len(numbers) else [0x1000 * (visited + 1)])


def test_chunks_stop_at_the_limit() -> None:
    """As many links as allowed are followed, whatever is wanted."""
    pages = {0x1000 * i: (0x1000 * (i + 1), FULL) for i in range(1, 6)}
    pages[0x5000] = (0, FULL)
    assert chunks(pages, wanted=1 << 60, most=5).problems == []
    found = chunks(pages, wanted=1 << 60, most=4)
    assert found.chunks == [0x1000, 0x2000, 0x3000, 0x4000]
    assert [(p.code, p.address, p.text) for p in found.problems] == [
        ("limit", 0x5000, "stopped after 4 chunks")
    ]
