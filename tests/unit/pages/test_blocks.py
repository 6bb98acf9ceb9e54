from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.pages.blocks import Blocks
from khotool.pages.runs import TOP

RUNS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 6), st.integers(0, 4)), min_size=0, max_size=10
)
SHIFTS = st.sampled_from([12, 14, 16])
Triples = list[tuple[int, int, int]]


def make(triples: Triples, page_shift: int, base: int = 0) -> Blocks:
    """Blocks from (index of the first block, count, order)."""
    return Blocks.from_runs(
        [base + (index << (order + page_shift)) for index, _, order in triples],
        [count for _, count, _ in triples],
        [order for _, _, order in triples],
        page_shift,
    )


def covering(triples: Triples) -> dict[int, set[int]]:
    """Page frame number -> orders of the blocks around it."""
    cover: dict[int, set[int]] = {}
    for index, count, order in triples:
        for frame in range(index << order, (index + count) << order):
            cover.setdefault(frame, set()).add(order)
    return cover


@given(RUNS, SHIFTS)
def test_blocks_agree_with_a_model_per_page(triples: Triples, shift: int) -> None:
    """Counts, ranges, overlaps, outermost blocks and lookups are what single pages say."""
    blocks = make(triples, shift)
    cover = covering(triples)
    assert blocks.pages == len(cover)
    distinct = {(order, index + n) for index, count, order in triples for n in range(count)}
    assert sum(blocks.orders().values()) == len(distinct)
    covered = {
        frame
        for low, high in blocks.ranges().tolist()
        for frame in range(low >> shift, high >> shift)
    }
    assert covered == set(cover)
    overlaps: dict[int, list[int]] = {}
    for low, high, orders in blocks.overlaps():
        for frame in range(low >> shift, high >> shift):
            overlaps[frame] = orders
    assert overlaps == {f: sorted(o) for f, o in cover.items() if len(o) > 1}
    outer = blocks.outermost
    assert not outer.overlapping
    assert outer.pages == len(cover)
    frames = np.arange(700, dtype=np.uint64)
    rows = blocks.find(frames << np.uint64(shift)).tolist()
    starts, found = blocks.blocks_of((frames << np.uint64(shift)) + np.uint64(7))
    for frame in frames.tolist():
        order = max(cover.get(frame, {-1}))
        assert int(found[frame]) == order
        assert (rows[frame] < 0) == (order < 0)
        if order >= 0:
            assert int(blocks.order[rows[frame]]) == order
            assert int(starts[frame]) == frame >> order << (order + shift)
            assert blocks.block_of(frame << shift) == (int(starts[frame]), order)


@given(RUNS, SHIFTS, st.randoms(use_true_random=False))
def test_the_form_does_not_depend_on_the_order_of_the_input(
    triples: Triples, shift: int, random: object
) -> None:
    """The same blocks in any order and cut are equal, and sorted."""
    single = [(index + n, 1, order) for index, count, order in triples for n in range(count)]
    random.shuffle(single)  # type: ignore[attr-defined]
    blocks = make(triples, shift)
    assert make(single, shift) == blocks
    keys = list(zip(blocks.start.tolist(), blocks.order.tolist(), strict=True))
    assert keys == sorted(keys)


@pytest.mark.parametrize("shift", [12, 14, 16])
def test_runs_end_at_the_end_of_the_address_space(shift: int) -> None:
    """Blocks past 2**64 are left out and counted; the last page is exact."""
    last = (1 << 64) - (1 << shift)
    blocks = Blocks.from_runs([last - (1 << shift)], [5], [0], shift)
    assert (blocks.pages, blocks.clipped) == (2, 3)
    assert blocks.ranges().tolist() == [[last - (1 << shift), TOP]]
    assert blocks.end.tolist() == [TOP]
    assert blocks.block_of(TOP) == (last, 0)
    assert blocks.block_of(1 << 64) is None
    huge = Blocks.from_runs([0], [9], [63 - shift], shift)
    assert (huge.count.tolist(), huge.clipped) == ([2], 7)
    assert huge.pages == 1 << (64 - shift)


def test_impossible_orders_are_refused() -> None:
    """An order whose block has 2**64 bytes or more is an error of the caller."""
    with pytest.raises(ValueError, match="orders"):
        Blocks.from_runs([0], [1], [52], 12)
    with pytest.raises(ValueError, match="page_shift"):
        Blocks.empty(3)


def test_no_blocks_is_a_set_too() -> None:
    """Every question has an answer for the empty set."""
    blocks = Blocks.empty(12)
    assert (len(blocks), blocks.pages, blocks.orders()) == (0, 0, {})
    assert blocks.find([0, TOP]).tolist() == [-1, -1]
    assert blocks.block_of(4096) is None
    assert list(blocks.overlaps()) == []
    assert blocks.ranges().shape == (0, 2)
    assert Blocks.join([], 12) == blocks


@pytest.mark.parametrize("frame", [1 << 30, 1 << 35, 1 << 45])
def test_a_stray_block_costs_no_memory(frame: int) -> None:
    """One block far away is found, and no table reaches that far for it."""
    blocks = make([(0, 100, 0), (frame, 1, 0)], 12)
    assert blocks.block_of(frame << 12) == (frame << 12, 0)
    assert blocks.index.table.nbytes <= 16 << 20
