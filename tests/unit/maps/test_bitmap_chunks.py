from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.errors import EncodeError
from khotool.limits import Limits
from khotool.maps.preserved import PageKind
from khotool.pages.blocks import Blocks
from tests.unit.maps.chunk_pages import Memory, block_sets, store, walk


@settings(max_examples=60, deadline=None)
@given(block_sets(), st.sampled_from(["<", ">"]), st.booleans())
def test_walk_reads_what_build_wrote(blocks: Blocks, byteorder: str, small: bool) -> None:
    """Any blocks survive the list, for every page size, byte order and size of bitmaps."""
    size = 512 if small else 1 << blocks.page_shift
    memory, first = store(blocks, byteorder, size)
    found = walk(memory, first, blocks.page_shift, byteorder, size)
    assert found.blocks == blocks
    if not len(blocks):
        assert (first, found.problem_counts) == (0, {"null-root": 1})
        return
    assert (found.complete, found.problems, found.layout) == (True, [], "bitmap-chunks")
    orders = [chunk.order for chunk in found.chunks]
    assert orders == sorted(orders)
    assert sorted(found.pages.address.tolist()) == sorted(memory.pieces)
    for chunk in found.chunks:
        starts = chunk.elements["phys_start"].tolist()
        assert starts == sorted(set(starts))
    last = found.pages[len(found.pages) - 1]
    assert (last.kind, last.size, last.parent) == (
        PageKind.BITMAP,
        size,
        found.chunks[-1].address,
    )


def test_a_full_chunk_is_followed_by_another() -> None:
    """The 256th bitmap of one order begins a second chunk of 4 KiB."""
    blocks = Blocks.single(np.arange(300, dtype=np.uint64) << np.uint64(27), 0, 12)
    memory, first = store(blocks, "<", 4096)
    found = walk(memory, first)
    assert [chunk.num_elms for chunk in found.chunks] == [255, 45]
    assert found.blocks == blocks


def test_hostile_headers_are_named_and_bounded() -> None:
    """A count past the page, an impossible order, a cycle and a wild pointer are problems."""
    memory = Memory()
    memory.pieces[1 << 30] = b"\1" + bytes(4095)
    memory.chunk(4096, [(0, 1 << 30)], after=8192, count=0xFFFFFFFF)
    memory.chunk(8192, [(0, 1 << 30)], after=12288, order=52)
    memory.chunk(12288, [], after=4096)
    found = walk(memory, 4096)
    assert found.problem_counts["too-many-elements"] == 1
    assert found.problem_counts["bad-order"] == 1
    assert found.problem_counts["chunk-cycle"] == 1
    assert [chunk.num_elms for chunk in found.chunks] == [0xFFFFFFFF, 1, 0]
    assert [chunk.elements.size for chunk in found.chunks] == [255, 1, 0]
    assert found.blocks.orders() == {0: 1}
    assert not found.complete
    memory.chunk(4096, [], after=7)
    assert list(walk(memory, 4096).problem_counts) == ["unaligned-chunk"]
    memory.chunk(4096, [], after=1 << 50)
    assert list(walk(memory, 4096).problem_counts) == ["missing-chunk"]
    for first in (-4096, 1 << 64, 1):
        assert list(walk(memory, first).problem_counts) == ["unaligned-chunk"]


def test_hostile_elements_are_named() -> None:
    """Unaligned starts, missing and shared bitmaps, and blocks past the end are problems."""
    memory = Memory()
    top = (1 << 64) - (1 << 27)
    for number in range(4):
        memory.pieces[(1 << 30) + number * 4096] = b"\xff" * 4096
    memory.chunk(
        4096,
        [
            (0, 1 << 30),
            (1 << 27, 1 << 30),
            (2 << 27, (1 << 30) + 8),
            (3 << 27, 1 << 50),
            ((4 << 27) + 4096, (1 << 30) + 4096),
            (top + 4096, (1 << 30) + 8192),
        ],
    )
    found = walk(memory, 4096)
    assert found.problem_counts == {
        "unaligned-start": 2,
        "shared-bitmap": 2,
        "missing-bitmap": 1,
        "out-of-range": 1,
    }
    assert found.blocks.clipped == 1
    assert found.blocks.start.tolist() == [0, (4 << 27) + 4096, top + 4096]
    assert found.blocks.count.tolist() == [32768, 32768, 32767]
    assert not found.complete


def test_limits_hold() -> None:
    """Chunks past the chain limit and bitmaps past the node limit are not read."""
    blocks = Blocks.single(np.arange(600, dtype=np.uint64) << np.uint64(27), 0, 12)
    memory, first = store(blocks, "<", 4096)
    short = walk(memory, first, limits=Limits(chain=2))
    assert (len(short.chunks), short.complete) == (2, False)
    few = walk(memory, first, limits=Limits(nodes=13))
    assert (few.blocks.pages, few.complete) == (10, False)
    with pytest.raises(EncodeError, match="bitmaps"):
        store(Blocks.from_runs([0], [1 << 52], [0], 12), "<", 512)
    with pytest.raises(ValueError, match="power of two"):
        walk(memory, first, size=500)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.booleans())
def test_random_pages_give_a_map_and_problems(seed: int, small: bool) -> None:
    """Garbage with pointers that hit never raises and ends."""
    random = np.random.default_rng(seed)
    memory = Memory()
    for number in range(1, 9):
        words = random.integers(0, 1 << 64, 512, dtype=np.uint64)
        near = random.integers(0, 10, 512).astype(np.uint64) << np.uint64(12)
        words = np.where(random.random(512) < 0.7, near, words)
        words[1] = random.integers(0, 60) | (random.integers(0, 400) << 32)
        memory.pieces[number << 12] = words.astype("<u8").tobytes()
    found = walk(memory, 4096, size=512 if small else 4096)
    assert len(found.chunks) <= 8
