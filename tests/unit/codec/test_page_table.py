"""Page tables: every table once, leaves counted, nothing that an entry says makes the walk long."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.abi.geometry import Geometry
from khotool.absent import Reason
from khotool.codec.page_table import (
    MAX_LEVEL,
    MAX_PROBLEMS,
    address_mask,
    levels,
    walk_page_table,
)
from khotool.memory.space import MemoryFault

PAGE = 4096
TOP = 0x10_0000


class Memory:
    """Pages of words at physical addresses."""

    def __init__(self, tables: Mapping[int, Mapping[int, int]], geometry: Geometry) -> None:
        self.pages = {}
        for address, words in tables.items():
            page = bytearray(geometry.page_size)
            for index, word in words.items():
                page[index * 8 : index * 8 + 8] = word.to_bytes(8, geometry.byteorder)
            self.pages[address] = bytes(page)
        self.reads = 0

    def read(self, address: int, length: int) -> memoryview:
        self.reads += 1
        if address not in self.pages:
            raise MemoryFault(address, length, Reason.NOT_CAPTURED, "nothing there")
        return memoryview(self.pages[address])[:length]


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_three_levels(page: int, byteorder: str) -> None:
    """Tables come level by level; leaves count as the base pages they cover."""
    geometry = Geometry(page, "little" if byteorder == "little" else "big")
    one, two, zero = TOP + page, TOP + 2 * page, TOP + 3 * page
    memory = Memory(
        {
            TOP: {0: one | 3, 7: two | 3},
            one: {1: zero | 3, 2: (64 << 20) | 0x83, 3: (128 << 20) | 1},
            two: {},
            zero: {0: 0x4000_0000 | 3, 5: 0x4100_0000 | 1, 6: 0x4200_0000},
        },
        geometry,
    )

    found = walk_page_table(memory.read, TOP, geometry, level=2, max_tables=100)

    assert found.tables == [TOP, one, two, zero]
    assert found.levels == [2, 1, 1, 0]
    # With one of the bits alone it is a block, as VMSAv8-64 has it, not a table.
    assert found.leaves.count == 4
    assert found.leaves.pages == 2 + 2 * (page // 8)
    assert not found.problems


def test_bits_beside_the_address() -> None:
    """Flags of an entry, high and low, are no part of the address it leads to."""
    memory = Memory(
        {TOP: {3: (TOP + PAGE) | 3 | 0xF60 | (0x7FF << 52)}, TOP + PAGE: {}}, Geometry(PAGE)
    )

    found = walk_page_table(memory.read, TOP, Geometry(PAGE), level=1, max_tables=9)

    assert found.tables == [TOP, TOP + PAGE]


def test_table_reached_twice() -> None:
    """A table that leads to itself, or that two entries lead to, is read once and reported."""
    below = TOP + PAGE
    memory = Memory({TOP: {0: TOP | 3, 1: below | 3, 2: below | 3}, below: {}}, Geometry(PAGE))

    found = walk_page_table(memory.read, TOP, Geometry(PAGE), level=3, max_tables=100)

    assert [problem.code for problem in found.problems] == ["shared-table", "shared-table"]
    assert memory.reads == 2


def test_missing_and_unaligned() -> None:
    """A table that is not there is named; the rest is walked."""
    memory = Memory(
        {TOP: {0: (TOP + PAGE) | 3, 1: (TOP + 2 * PAGE) | 3}, TOP + PAGE: {}}, Geometry(PAGE)
    )

    found = walk_page_table(memory.read, TOP, Geometry(PAGE), level=1, max_tables=9)

    assert [(p.code, p.address) for p in found.problems] == [("missing", TOP + 2 * PAGE)]
    assert found.tables == [TOP, TOP + PAGE]
    odd = walk_page_table(memory.read, TOP + 8, Geometry(PAGE), level=1, max_tables=9)
    assert [problem.code for problem in odd.problems] == ["unaligned", "missing"]


@pytest.mark.parametrize("level", [-1, 7, 1 << 63])
def test_impossible_level(level: int) -> None:
    """More levels than addresses have bits: nothing is read."""
    memory = Memory({TOP: {}}, Geometry(PAGE))

    found = walk_page_table(memory.read, TOP, Geometry(PAGE), level=level, max_tables=9)

    assert [problem.code for problem in found.problems] == ["level"]
    assert not memory.reads


def test_limit() -> None:
    """No more tables are read than allowed."""
    children = {TOP + number * PAGE: dict[int, int]() for number in range(1, 20)}
    words = {number: address | 3 for number, address in enumerate(children)}
    memory = Memory({TOP: words, **children}, Geometry(PAGE))

    found = walk_page_table(memory.read, TOP, Geometry(PAGE), level=1, max_tables=5)

    assert len(found.tables) == memory.reads == 5
    assert [problem.code for problem in found.problems] == ["limit"]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 7),
        st.dictionaries(
            st.integers(0, 511),
            st.one_of(st.integers(0, (1 << 64) - 1), st.integers(0, 7).map(lambda n: n * PAGE | 3)),
        ),
        min_size=1,
    ),
    st.integers(0, MAX_LEVEL),
)
def test_any_bytes(tables: dict[int, dict[int, int]], level: int) -> None:
    """Whatever the entries are, each table is read at most once."""
    memory = Memory({number * PAGE: words for number, words in tables.items()}, Geometry(PAGE))

    found = walk_page_table(memory.read, 0, Geometry(PAGE), level=level, max_tables=4096)

    assert len(set(found.tables)) == len(found.tables) <= len(tables)
    assert found.leaves.pages >= found.leaves.count >= 0


def test_bits_of_an_address() -> None:
    """Bits 12 to 51 for pages of 4 KiB; larger pages leave out more at the low end."""
    assert address_mask(Geometry(4096)) == 0x000F_FFFF_FFFF_F000
    assert address_mask(Geometry(65536)) == 0x000F_FFFF_FFFF_0000


@pytest.mark.parametrize("level", [0, 6])
def test_first_and_last_level(level: int) -> None:
    """A first table may be of level 0, where all entries are leaves, and of the highest level."""
    memory = Memory({TOP: {0: (TOP + PAGE) | 3}, TOP + PAGE: {}}, Geometry(PAGE))
    found = walk_page_table(memory.read, TOP, Geometry(PAGE), level=level, max_tables=9)
    assert found.problems == []
    assert found.levels == ([0] if level == 0 else [level, level - 1])
    assert int(found.entries[0][0]) == (TOP + PAGE) | 3
    assert len(found.entries) == len(found.tables)


def test_problems_are_bounded() -> None:
    """Every missing table is looked for; the first 64 are told."""
    words = {number: (TOP + (number + 1) * PAGE) | 3 for number in range(100)}
    memory = Memory({TOP: words}, Geometry(PAGE))
    found = walk_page_table(memory.read, TOP, Geometry(PAGE), level=1, max_tables=200)
    assert (MAX_PROBLEMS, memory.reads) == (64, 101)
    assert [(p.code, p.address) for p in found.problems] == [
        ("missing", TOP + (number + 1) * PAGE) for number in range(64)
    ]


def test_levels_of_tables_follow_from_entries() -> None:
    """Each table is one level below the one whose entry leads to it; the first has the top."""
    geometry = Geometry(PAGE)
    one, two, zero = TOP + PAGE, TOP + 2 * PAGE, TOP + 3 * PAGE
    high = 0x7FF << 52
    tables = {
        TOP: {0: one | 3 | high, 1: two | 3},
        one: {4: zero | 3, 5: TOP | 3},
        two: {},
        zero: {0: two | 3},
    }
    found = walk_page_table(Memory(tables, geometry).read, TOP, geometry, level=2, max_tables=9)
    words = np.array(found.entries)
    assert found.levels == [2, 1, 1, 0]
    assert levels(words, found.tables, 2, address_mask(geometry)) == [2, 1, 1, 0]
    # A table that no entry leads to has level 0; one that leads to itself stays what it is.
    alone = levels(words[[2, 1]], [two, one], 5, address_mask(geometry))
    assert alone == [5, 0]
    own = np.zeros((1, 512), np.uint64)
    own[0, 0] = TOP | 3
    assert levels(own, [TOP], 4, address_mask(geometry)) == [4]
    assert levels(np.zeros((0, 512), np.uint64), [], 3, address_mask(geometry)) == []
    # A table that was not read, and one that leads back, change nothing.
    assert levels(words[:1], [TOP], 2, address_mask(geometry)) == [2]
    back = np.zeros((2, 512), np.uint64)
    back[0, 0], back[1, 0] = one | 3, TOP | 3
    assert levels(back, [TOP, one], 2, address_mask(geometry)) == [2, 1]
