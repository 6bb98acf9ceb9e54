"""Maps are written back as they were read, whole or damaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.abi.compile import CompiledStruct
from khotool.abi.geometry import Geometry
from khotool.abi.registry import load_registry
from khotool.maps.preserved import Chunk, MapPages, PageKind
from khotool.maps.render import clip_runs, map_writes
from khotool.pages.blocks import Blocks
from tests.unit.maps import chunk_pages, radix_pages

REGISTRY = load_registry()
PAGE = 4096


def geometry_of(shift: int, byteorder: str) -> Geometry:
    return Geometry(1 << shift, "little" if byteorder == "<" else "big")


def structs(geometry: Geometry) -> tuple[CompiledStruct, CompiledStruct]:
    kho = REGISTRY.get("kho-v1")
    header = REGISTRY.compile(kho, "khoser_mem_chunk_hdr", geometry)
    return header, REGISTRY.compile(kho, "khoser_mem_bitmap_ptr", geometry)


@settings(max_examples=30, deadline=None)
@given(radix_pages.block_sets(), radix_pages.ORDERS)
def test_a_tree_is_written_as_it_was(blocks: Blocks, byteorder: str) -> None:
    """Every page of a tree, at its address, byte for byte, in the order of the pages."""
    memory, root, _, _ = radix_pages.store(blocks, byteorder)
    found = radix_pages.walk(memory, root, blocks.page_shift, byteorder)
    writes = list(map_writes(found, geometry_of(blocks.page_shift, byteorder)))
    assert [address for address, _ in writes] == found.pages.address.tolist()
    assert dict(writes) == {address: page.tobytes() for address, page in memory.pages.items()}


@settings(max_examples=30, deadline=None)
@given(chunk_pages.block_sets(), radix_pages.ORDERS, st.booleans())
def test_a_list_is_written_as_it_was(blocks: Blocks, byteorder: str, small: bool) -> None:
    """Every chunk and bitmap of a list, byte for byte; the rest of a chunk's page is not told."""
    size = 512 if small else 1 << blocks.page_shift
    memory, first = chunk_pages.store(blocks, byteorder, size)
    found = chunk_pages.walk(memory, first, blocks.page_shift, byteorder, size)
    geometry = geometry_of(blocks.page_shift, byteorder)
    writes = dict(map_writes(found, geometry, *structs(geometry)))
    assert sorted(writes) == sorted(memory.pieces)
    for address, piece in writes.items():
        assert memory.pieces[address] == piece.ljust(len(memory.pieces[address]), b"\0")
    assert list(map_writes(found, geometry)) == []
    assert list(map_writes(found, geometry, structs(geometry)[0])) == []
    assert list(map_writes(found, geometry, None, structs(geometry)[1])) == []


def test_an_early_tree_is_written_as_it_was() -> None:
    """Keys that lost the marker of order 0 are written without it."""
    blocks = Blocks.from_runs([1 << 30, 5 << 40], [3, 2], [0, 3], 14)
    memory, root, _, _ = radix_pages.store(blocks, "<", depth=4)
    found = radix_pages.walk(memory, root, 14, depth=4)
    writes = dict(map_writes(found, Geometry(16384)))
    assert writes == {address: page.tobytes() for address, page in memory.pages.items()}


def leaf(prefix: int) -> MapPages:
    """A lone leaf page."""
    return MapPages(
        np.array([PAGE], np.uint64),
        np.array([PageKind.LEAF], np.uint8),
        np.zeros(1, np.uint8),
        np.array([prefix], np.uint64),
        np.full(1, -1, np.int64),
        np.full(1, PAGE, np.uint32),
    )


@pytest.mark.parametrize("prefix", [0, 1 << 38, (1 << 48) - 1, 1 << 48, (1 << 64) - 1])
def test_a_leaf_without_blocks_is_zero(prefix: int) -> None:
    """A leaf that no block lies in, or none can, is a page of zeros."""
    memory, root, _, _ = radix_pages.store(Blocks.from_runs([1 << 40], [2], [0], 12), "<")
    found = replace(radix_pages.walk(memory, root), pages=leaf(prefix))
    assert list(map_writes(found, Geometry())) == [(PAGE, bytes(PAGE))]


def test_no_pages_are_no_writes() -> None:
    """A map without pages writes nothing."""
    memory, root, _, _ = radix_pages.store(Blocks.empty(12), "<")
    found = replace(radix_pages.walk(memory, root), pages=MapPages.empty())
    assert list(map_writes(found, Geometry())) == []


def test_pages_of_unknown_chunks_are_left_out() -> None:
    """Bitmaps need the chunk that names them, and chunks their header, as stored."""
    blocks = Blocks.from_runs([0, 1 << 27], [3, 5], [0, 0], 12)
    memory, first = chunk_pages.store(blocks, "<", PAGE)
    found = chunk_pages.walk(memory, first)
    geometry = Geometry()
    assert list(map_writes(replace(found, chunks=[]), geometry, *structs(geometry))) == []
    (chunk,) = found.chunks
    short = Chunk(chunk.address, 0, 0, 2, chunk.elements[:1])
    writes = dict(map_writes(replace(found, chunks=[short]), geometry, *structs(geometry)))
    bitmap = int(chunk.elements["bitmap"][0])
    assert sorted(writes) == [first, bitmap]
    assert writes[bitmap] == b"\7".ljust(PAGE, b"\0")
    orphans = replace(found.pages, parent=np.full(len(found.pages), -1, np.int64))
    writes = dict(map_writes(replace(found, pages=orphans), geometry, *structs(geometry)))
    assert sorted(writes) == [first]


RUNS = [[0, 5], [8, 16], [20, 21], [30, 40]]


@pytest.mark.parametrize("base", [0, 5, 8, 16, 24, 40, (1 << 63) - 8, (1 << 63) - 9, 1 << 63])
def test_runs_are_cut_to_a_bitmap(base: int) -> None:
    """The part of each run inside the bitmap, counted from its first bit; none is empty."""
    expected = [
        [max(low, base) - base, min(high, base + 8) - base]
        for low, high in RUNS
        if low < base + 8 and high > base
    ]
    assert clip_runs(np.array(RUNS, np.int64), base, 8).reshape(-1, 2).tolist() == expected
    assert clip_runs(np.array(RUNS, np.int64), base, 8).shape[1] == 2


def test_a_run_up_to_the_last_bit() -> None:
    """The last bitmap whose bits a 64-bit integer can number is cut too."""
    top = (1 << 63) - 1
    assert clip_runs(np.array([[0, top]], np.int64), top - 8, 8).tolist() == [[0, 8]]
