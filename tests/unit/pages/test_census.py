"""Owners of pages against a reference that looks at one page after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from khotool.pages import around, bits, census, claims, frames, owners
from khotool.pages.around import Around, range_around
from khotool.pages.blocks import Blocks
from khotool.pages.claims import Claims, ClaimsBuilder, Column
from khotool.pages.owners import Ownership, find_owners
from khotool.pages.runs import TOP
from khotool.pages.tables import DoubleOwned, OwnedRanges, UnpreservedRanges

PATHS = ["/a", "/b", "/c", "/a", "/map", "/d"]
OUTSIDE = [path == "/map" for path in PATHS]
SPAN = 4096
"""Frames that everything lies in, from the base on."""
Triples = list[tuple[int, int, int]]


class Case:
    """Blocks and claims in both forms."""

    def __init__(
        self,
        shift: int,
        base: int,
        blocks: Blocks,
        order_of: dict[int, int],
        claims: Claims,
        ranges: Triples,
    ) -> None:
        self.shift = shift
        self.base = base
        self.blocks = blocks
        self.order_of = order_of
        self.claims = claims
        self.ranges = ranges

    def __repr__(self) -> str:
        loose = self.blocks.loose
        return f"Case({self.shift}, {self.base:#x}, {loose.start}, {loose.order}, {self.ranges})"


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps so small that few pages need several."""
    monkeypatch.setattr(census, "CHUNK", 256)
    monkeypatch.setattr(census, "MANY_OUTSIDE", 40)
    monkeypatch.setattr(claims, "CHUNK", 16)
    monkeypatch.setattr(owners, "_SCAN", 1024)
    monkeypatch.setattr(frames, "_CHUNK", 1024)
    monkeypatch.setattr(bits, "_PIECE_WORDS", 16)
    monkeypatch.setattr(around, "FEW", 1)
    monkeypatch.setattr(around, "MANY", 2)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Bitmaps and runs of all orders, claims of bytes and of columns."""
    shift = draw(st.sampled_from([12, 14, 16]))
    base = draw(st.sampled_from([0, 1 << 21, (1 << 31) - 2048, (1 << 36) - 2048, 1 << 40]))
    seed = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    width = draw(st.sampled_from([8, 16, 64]))
    slots = SPAN // (width * 64)
    chosen = draw(st.lists(st.integers(0, slots - 1), max_size=4))
    density = draw(st.sampled_from([0.0, 0.01, 0.5, 1.0]))
    words = (
        np.packbits(seed.random((len(chosen), width * 64)) < density, axis=1, bitorder="little")
        .view("<u8")
        .astype(np.uint64)
        .reshape(len(chosen), width)
    )
    bases = base + np.array(chosen, np.int64) * width * 64
    runs = draw(
        st.lists(
            st.tuples(st.integers(0, 11), st.integers(0, SPAN - 1), st.integers(1, 5)), max_size=8
        )
    )
    runs = [(order, first >> order << order, count) for order, first, count in runs]
    loose = Blocks.from_runs(
        [(base + first) << shift for _, first, _ in runs],
        [count for _, _, count in runs],
        [order for order, _, _ in runs],
        shift,
    )
    order_of: dict[int, int] = {}
    for order, first, count in runs:
        for frame in range(first, first + (count << order)):
            order_of[base + frame] = max(order, order_of.get(base + frame, 0))
    for start, row in zip(bases.tolist(), words, strict=True):
        for bit in np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist():
            order_of.setdefault(start + bit, 0)
    blocks = Blocks.from_words(bases, words, shift, loose)
    ranges, columns = draw(claim_sets(shift, base, seed))
    made = Claims(
        np.array([start for start, _, _ in ranges], np.uint64),
        np.array([end for _, end, _ in ranges], np.uint64),
        np.array([owner for _, _, owner in ranges], np.int32),
        PATHS,
        np.array(OUTSIDE),
        tuple(columns),
    )
    for owner, column in columns:
        for start in column.addresses(slice(None)).tolist():
            if start + (1 << shift) <= TOP:
                ranges = [*ranges, (start, start + (1 << shift), owner)]
    return Case(shift, base, blocks, order_of, made, ranges)


@st.composite
def claim_sets(
    draw: st.DrawFn, shift: int, base: int, seed: np.random.Generator
) -> tuple[Triples, list[tuple[int, Column]]]:
    """Byte ranges with their owner, and columns of page frames or addresses."""
    page = 1 << shift
    top = min((base + SPAN) << shift, TOP)
    ranges: Triples = []
    for _ in range(draw(st.integers(0, 6))):
        start = (base << shift) + draw(st.integers(0, SPAN * page - 1))
        size = draw(st.sampled_from([0, 1, 100, page, 3 * page, 40 * page, 3000 * page]))
        ranges.append((start, min(start + size, top), draw(st.integers(0, len(PATHS) - 1))))
    columns: list[tuple[int, Column]] = []
    for _ in range(draw(st.integers(0, 4))):
        count = draw(st.sampled_from([1, 5, 100, 600]))
        frame = base + seed.integers(0, SPAN, count).astype(np.uint64)
        owner = draw(st.integers(0, len(PATHS) - 1))
        kind = draw(st.sampled_from(["pfn", "parts", "address"]))
        order = draw(st.sampled_from(["<u8", ">u8"]))
        if kind == "pfn":
            column = Column(_strided(frame, order), up=shift)
        elif kind == "parts":
            mask = ((1 << 52) - 1) << 4
            column = Column(_strided(frame << np.uint64(4) | np.uint64(5), order), mask, 4, shift)
        else:
            offset = draw(st.sampled_from([0, 8]))
            column = Column(_strided((frame << np.uint64(shift)) + np.uint64(offset), order))
        columns.append((owner, column))
    return ranges, columns


def _strided(values: NDArray[np.uint64], order: str) -> NDArray[np.uint64]:
    rows = np.zeros((values.size, 2), order)
    rows[:, 0] = values
    return rows[:, 0]


def owners_by_page(case: Case) -> dict[int, set[int]]:
    """Owners of every claimed page, those of its block among them."""
    found: dict[int, set[int]] = {}
    for start, end, owner in case.ranges:
        if start >= end:
            continue
        frame = start >> case.shift
        while frame <= (end - 1) >> case.shift:
            order = case.order_of.get(frame, 0)
            first = frame >> order << order
            for other in range(first, first + (1 << order)):
                found.setdefault(other, set()).add(PATHS.index(PATHS[owner]))
            frame = first + (1 << order)
    return found


def pages_of(
    case: Case, table: OwnedRanges | DoubleOwned | UnpreservedRanges
) -> Iterator[tuple[int, int]]:
    """Row and frame of every page of a table; no page comes twice."""
    seen: set[int] = set()
    start, pages = table.start.tolist(), table.pages.tolist()
    for row, (low, count) in enumerate(zip(start, pages, strict=True)):
        for frame in range(low >> case.shift, (low >> case.shift) + count):
            assert frame not in seen
            seen.add(frame)
            yield row, frame


@settings(max_examples=60, deadline=None)
@given(cases())
def test_owners_are_those_of_single_pages(case: Case) -> None:
    """Totals, ranges, double owners and pages without a block, whatever the memory looks like."""
    want = owners_by_page(case)
    made = find_owners(case.blocks, case.claims)
    order_of = case.order_of
    assert case.blocks.pages == made.preserved_pages == len(order_of)
    assert made.owned_pages == len(order_of.keys() & want.keys())
    assert made.unowned_pages == len(order_of) - made.owned_pages
    check_ranges(case, made, want)
    doubles = {f: o for f, o in want.items() if f in order_of and len(o) > 1}
    table = made.double_owned
    got = {
        frame: (int(table.first[row]), int(table.second[row]), int(table.owners[row]))
        for row, frame in pages_of(case, table)
    }
    assert got == {f: (min(o), max(o), len(o)) for f, o in doubles.items()}
    assert made.double_owned_pages == len(doubles)
    lost = {f: min(o - {4}) for f, o in want.items() if f not in order_of and o - {4}}
    rows = made.unpreserved
    assert {f: int(rows.owner[row]) for row, f in pages_of(case, rows)} == lost
    assert made.unpreserved_pages == len(lost)
    claims_ = case.claims
    for frame in [*range(case.base, case.base + SPAN, 97), *doubles, *lost][:200]:
        address = (frame << case.shift) + 3
        check_around(made, address)
        check_around(made, made.around(address).end % TOP)
        check_around(made, made.around(address).start)
        assert made.owners_of(address) == sorted(want.get(frame, ()))
        order = order_of.get(frame, 0)
        first = frame >> order << order
        found = claims_.owners_of(first, first + (1 << order), case.shift)
        assert found == sorted(want.get(frame, ()))


def check_around(made: Ownership, address: int) -> None:
    """What is around an address is a row of all ranges, or the gap between two."""
    table = made.ranges
    size = table.pages.astype(object) << made.blocks.page_shift
    starts, ends = table.start.tolist(), (table.start.astype(object) + size).tolist()
    row = bisect_right(starts, address) - 1
    found = made.around(address)
    if row >= 0 and address < ends[row]:
        want = Around(starts[row], ends[row], int(table.order[row]), int(table.owner[row]))
    else:
        after = starts[row + 1] if row + 1 < len(starts) else 1 << 64
        want = Around(ends[row] if row >= 0 else 0, after)
    assert found == want


@pytest.mark.parametrize("frame", [0, 1, 4095, 1 << 20, (1 << 52) - 1])
def test_memory_around_nothing_and_around_one_long_range(frame: int) -> None:
    """Without blocks all is one gap; a long range is found whole from any of its pages."""
    none = ClaimsBuilder().build()
    check_around(find_owners(Blocks.empty(12), none), frame << 12)
    for order in (0, 3, 9, 20):
        blocks = Blocks.from_runs([1 << 33], [(1 << 21) >> order], order, 12)
        made = find_owners(blocks, none)
        for at in (frame, (1 << 21) + (frame % (1 << 20)), (1 << 22) - 1, 1 << 22):
            check_around(made, at << 12)


def check_ranges(case: Case, made: Ownership, want: dict[int, set[int]]) -> None:
    """The ranges have every page, with its order and lowest owner, and none could be longer."""
    table = made.ranges
    seen = {
        frame: (int(table.order[row]), int(table.owner[row]))
        for row, frame in pages_of(case, table)
    }
    assert seen == {f: (o, min(want.get(f, {-1}))) for f, o in case.order_of.items()}
    ends = table.start + (table.pages.astype(np.uint64) << np.uint64(case.shift))
    touching = table.start[1:] == ends[:-1]
    assert bool((table.start[1:] >= ends[:-1]).all())
    same = (table.order[1:] == table.order[:-1]) & (table.owner[1:] == table.owner[:-1])
    assert not bool((touching & same).any())
    total = np.zeros(len(PATHS) + 1, np.int64)
    np.add.at(total, table.owner + 1, table.pages)
    assert made.pages_by_owner().tolist() == total.tolist()


@settings(max_examples=60, deadline=None)
@given(cases())
def test_bitmaps_and_runs_are_the_same_blocks(case: Case) -> None:
    """Blocks that keep bitmaps answer as blocks made of runs do."""
    blocks, shift = case.blocks, case.shift
    runs = Blocks.from_runs(blocks.start, blocks.count, blocks.order, shift)
    assert (len(blocks), blocks.pages, blocks.orders()) == (len(runs), runs.pages, runs.orders())
    assert blocks == runs
    for each in (blocks, runs):
        columns = zip(*each.pieces(), strict=True)
        pieces = [np.concatenate(column).tolist() for column in columns] or [[], [], []]
        assert pieces == [runs.start.tolist(), runs.count.tolist(), runs.order.tolist()]
    assert blocks.overlapping == runs.overlapping
    assert blocks.range_count == len(blocks.ranges()) == len(runs.ranges())
    around = np.arange(case.base, case.base + SPAN + 4096, 3, dtype=np.uint64)
    addresses = (around << np.uint64(shift)) + np.uint64(5)
    for mine, theirs in zip(blocks.blocks_of(addresses), runs.blocks_of(addresses), strict=True):
        assert np.asarray(mine).tolist() == np.asarray(theirs).tolist()
    whole = blocks.ranges().tolist()
    for address in addresses[::50].tolist():
        assert blocks.block_of(address) == runs.block_of(address)
        found = next(((a, b) for a, b in whole if a <= address < b), None)
        assert found == range_around(blocks, address) == range_around(runs, address)
