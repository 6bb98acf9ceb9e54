from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from khotool.abi.geometry import Geometry
from khotool.document.map import map_from_json, map_to_json
from khotool.errors import EncodeError
from khotool.limits import Limits
from khotool.maps import order_tables
from khotool.maps.preserved import KEPT_PROBLEMS, PageKind, PreservedMap
from khotool.maps.render import map_writes
from khotool.pages.blocks import Blocks
from khotool.structured import Document
from tests.unit.maps.geometry import geometry_of
from tests.unit.maps.radix_pages import ORDERS, SHIFTS, U64, Memory, block_sets

KINDS = st.sampled_from(["four levels", "as needed"])
FIRST = 1 << 40
MOST = {12: 11, 14: 12, 16: 14}


def levels_of(kind: str, shift: int) -> order_tables.Levels:
    return (
        order_tables.fixed_levels(4)
        if kind == "four levels"
        else (order_tables.needed_levels(shift))
    )


def store(
    blocks: Blocks, byteorder: str = "<", kind: str = "as needed", orders: int = 64
) -> tuple[Memory, list[int]]:
    """A memory with the trees of blocks; addresses as ``build`` gives them."""
    shift = blocks.page_shift
    memory = Memory(shift)
    used = 0

    def allocate(count: int) -> U64:
        nonlocal used
        start = FIRST + (used << shift)
        used += count
        return np.uint64(start) + (np.arange(count, dtype=np.uint64) << np.uint64(shift))

    tops, writes = order_tables.build(
        blocks,
        geometry=geometry_of(shift, byteorder),
        levels=levels_of(kind, shift),
        orders=orders,
        allocate=allocate,
        table=kind == "as needed",
    )
    memory.pages = dict(writes)
    assert len(memory.pages) == used
    return memory, tops


def read(
    memory: Memory,
    tops: list[int],
    shift: int = 12,
    byteorder: str = "<",
    kind: str = "as needed",
    nodes: int = 10_000,
    orders: int = 64,
) -> PreservedMap:
    limits = Limits(nodes=nodes, bytes=1 << 40)
    if kind == "as needed":
        return order_tables.walk_table(
            memory.read,
            tops[0],
            orders,
            geometry=geometry_of(shift, byteorder),
            levels=levels_of(kind, shift),
            limits=limits,
        )
    return order_tables.walk(
        memory.read,
        tops,
        geometry=geometry_of(shift, byteorder),
        levels=levels_of(kind, shift),
        limits=limits,
    )


def reachable(blocks: Blocks, kind: str) -> Blocks:
    """The blocks that four levels can name."""
    if kind == "as needed":
        return blocks
    shift = blocks.page_shift
    bits = shift + 3 + 3 * (shift - 3)
    room = np.uint64(1) << np.minimum(
        np.uint64(bits) + blocks.order.astype(np.uint64), np.uint64(64 - shift)
    )
    low = blocks.last_frame.astype(np.uint64) <= room
    return Blocks.from_runs(blocks.start[low], blocks.count[low], blocks.order[low], shift)


@settings(max_examples=60, deadline=None)
@given(block_sets(), ORDERS, KINDS)
def test_walk_reads_what_build_wrote(blocks: Blocks, byteorder: str, kind: str) -> None:
    """Any blocks survive, for every page size and byte order, also through JSON and back."""
    blocks = reachable(blocks, kind)
    shift = blocks.page_shift
    memory, tops = store(blocks, byteorder, kind)
    found = read(memory, tops, shift, byteorder, kind)
    assert found.blocks == blocks
    assert (found.complete, found.problems, found.layout) == (True, [], "order-tables")
    assert sorted(found.pages.address.tolist()) == sorted(memory.pages)
    geometry = Geometry(1 << shift, "little" if byteorder == "<" else "big")
    for again in (found, map_from_json(Document("map", map_to_json(found)).root, geometry)):
        made = dict(map_writes(again, geometry))
        assert made == {address: page.tobytes() for address, page in memory.pages.items()}


@given(block_sets())
def test_larger_blocks_become_several(blocks: Blocks) -> None:
    """The array has a place for some orders; larger blocks are written in the largest of them."""
    most = MOST[blocks.page_shift] - 1
    keep = blocks.order <= most + 4
    runs = (blocks.start[keep], np.minimum(blocks.count[keep], 50), blocks.order[keep])
    blocks = Blocks.from_runs(*runs, blocks.page_shift)
    memory, tops = store(blocks, orders=most + 1)
    found = read(memory, tops, blocks.page_shift, orders=most + 1)
    assert found.blocks.ranges().tolist() == blocks.ranges().tolist()
    assert max(found.blocks.orders(), default=0) <= most


def test_levels() -> None:
    """The formula of the posting: six levels for order 0 and pages of 4 KiB, fewer above."""
    needed = {shift: order_tables.needed_levels(shift) for shift in (12, 14, 16)}
    assert [needed[12](order) for order in (0, 1, 2, 10, 11, 37, 40)] == [6, 5, 5, 4, 4, 1, 1]
    assert (needed[14](0), needed[16](0)) == (4, 4)
    assert [order_tables.fixed_levels(4)(order) for order in (0, 10)] == [4, 4]


def test_a_block_lies_where_the_posting_puts_it() -> None:
    """Four levels: bits 53 to 45, 44 to 36 and 35 to 27 of the address, then 26 to 12 in a leaf."""
    address = 0b101 << 45 | 0b110 << 36 | 0b11 << 27 | 0x1234 << 12
    memory, tops = store(Blocks.single([address << 2], 2, 12), kind="four levels", orders=11)
    assert [order for order, top in enumerate(tops) if top] == [2]
    node = tops[2]
    for index in (0b101, 0b110, 0b11):
        table = memory.pages[node].view("<u8")
        assert np.flatnonzero(table).tolist() == [index]
        node = int(table[index])
    leaf = np.unpackbits(memory.pages[node], bitorder="little")
    assert np.flatnonzero(leaf).tolist() == [0x1234]


def test_a_block_beyond_four_levels_is_refused() -> None:
    """An address that the format drops bits of is an error, not a wrong image."""
    with pytest.raises(EncodeError, match="4 levels"):
        store(Blocks.single([1 << 60], 0, 12), kind="four levels")
    with pytest.raises(ValueError, match="page size"):
        order_tables.build(
            Blocks.single([0], 0, 12),
            geometry=geometry_of(14),
            orders=1,
            table=False,
            levels=order_tables.fixed_levels(4),
            allocate=lambda n: np.zeros(n, np.uint64),
        )
    for levels in (0, 9):
        with pytest.raises(ValueError, match="levels"):
            order_tables.walk(
                Memory(12).read,
                [4096],
                geometry=geometry_of(12),
                limits=Limits(),
                levels=order_tables.fixed_levels(levels),
            )


def test_too_many_pages_are_refused() -> None:
    """Runs that need billions of leaves are an error, not an allocation."""
    with pytest.raises(EncodeError, match="pages"):
        store(Blocks.from_runs([0], [1 << 52], [0], 12))


def test_an_empty_map() -> None:
    """No blocks: no tree at all, or a page that names none."""
    memory, tops = store(Blocks.empty(12))
    found = read(memory, tops)
    assert (len(memory.pages), len(found.blocks), found.complete) == (1, 0, True)
    assert found.pages[0].kind is PageKind.TABLE
    memory, tops = store(Blocks.empty(12), kind="four levels", orders=11)
    assert (tops, memory.pages) == ([0] * 11, {})
    assert read(memory, tops, kind="four levels").complete


def test_nodes_that_name_themselves_or_others() -> None:
    """512^n paths, and trees of several orders that share a node: each page is read once."""
    memory = Memory(12)
    memory.put(4096, dict.fromkeys(range(512), 4096))
    found = read(memory, [4096], orders=10)
    assert (memory.asked, found.problem_counts) == (1, {"shared-node": 10})
    memory = Memory(12)
    for level in range(1, 5):
        memory.put(level << 12, dict.fromkeys(range(512), (level + 1) << 12))
    found = read(memory, [4096, 4096, 4096], kind="four levels")
    assert memory.asked == 4
    assert found.problem_counts == {"shared-node": 3 * 511 + 2}
    assert len(found.problems) == KEPT_PROBLEMS
    assert not found.complete


@pytest.mark.parametrize(
    ("top", "code"),
    [
        (0, "null-root"),
        (5, "unaligned-root"),
        (1 << 64, "unaligned-root"),
        (1 << 41, "missing-node"),
    ],
)
def test_a_page_of_trees_that_is_none(top: int, code: str) -> None:
    """The page that names the trees is checked as a root is."""
    found = read(Memory(12), [top])
    assert (list(found.problem_counts), found.complete, len(found.blocks)) == ([code], False, 0)


def test_damage_is_named() -> None:
    """Unaligned and missing trees and children, bits past the last address."""
    memory = Memory(12)
    memory.put(4096, {0: 0x2001, 1: 0x3000, 2: 0x4000})
    memory.put(0x3000, {511: 0x5000})
    found = read(memory, [4096], orders=10)
    assert [(p.code, p.address) for p in found.problems] == [
        ("unaligned-child", 0x2001),
        ("missing-node", 0x5000),
        ("missing-node", 0x4000),
    ]
    assert not found.complete
    memory = Memory(12)
    for level in range(5, 0, -1):
        memory.put(level << 12, {511: (level - 1) << 12 or 0x9000})
    memory.put(0x9000, {0: 1})
    found = read(memory, [5 << 12, 0], kind="four levels", orders=2)
    memory.put(0xA000, {0: 5 << 12})
    found = read(memory, [0xA000], orders=1)
    assert [p.code for p in found.problems] == ["out-of-range"]
    assert len(found.blocks) == 0


def test_the_limit_on_nodes_holds() -> None:
    """No more pages are read than the limit allows, of all trees together."""
    runs = ([0, 1 << 40], [1 << 20, 1 << 18], [0, 1])
    memory, tops = store(Blocks.from_runs(*runs, 12))
    found = read(memory, tops, nodes=10)
    assert memory.asked == 10
    assert found.problem_counts["limit"] >= 1
    assert not found.complete


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 32), SHIFTS, ORDERS, KINDS)
def test_random_pages_give_a_map_and_problems(
    seed: int, shift: int, byteorder: str, kind: str
) -> None:
    """Garbage, with and without pointers that hit, never raises and reads no page twice."""
    random = np.random.default_rng(seed)
    memory = Memory(shift)
    for number in range(1, 9):
        page: NDArray[np.uint8] = random.integers(0, 256, memory.page, dtype=np.uint8)
        if number % 2:
            near = random.integers(0, 12, memory.page // 8).astype(np.uint64) << np.uint64(shift)
            page = near.astype(f"{byteorder}u8").view(np.uint8)
        memory.pages[number << shift] = page
    found = read(memory, [1 << shift, 3 << shift], shift, byteorder, kind, nodes=200)
    assert memory.asked <= 200
    assert len(set(found.pages.address.tolist())) == len(found.pages) <= 8
    geometry = Geometry(1 << shift, "little" if byteorder == "<" else "big")
    list(map_writes(map_from_json(Document("map", map_to_json(found)).root, geometry), geometry))


# -- at the bounds: last orders and blocks, depths, limits, places of pages -------------------

PAGE = 4096
NEEDED = order_tables.needed_levels(12)


def places(found: PreservedMap) -> list[tuple[str, int]]:
    return [(problem.code, problem.address) for problem in found.problems]


def table(memory: Memory, at: int, orders: int = 512, limits: Limits | None = None) -> PreservedMap:
    return order_tables.walk_table(
        memory.read,
        at,
        orders,
        geometry=geometry_of(12),
        levels=NEEDED,
        limits=limits or Limits(),
    )


def trees(
    memory: Memory, tops: list[int], levels: order_tables.Levels, shift: int = 12
) -> PreservedMap:
    return order_tables.walk(
        memory.read, tops, geometry=geometry_of(shift), levels=levels, limits=Limits()
    )


def build(
    blocks: Blocks, orders: int = 11, levels: int = 4, nodes: int = 1000, listed: bool = False
) -> tuple[Memory, list[int]]:
    taken = 0

    def allocate(count: int) -> U64:
        nonlocal taken
        start, taken = taken + 1, taken + count
        return (np.arange(count, dtype=np.uint64) + np.uint64(start)) << np.uint64(12)

    tops, writes = order_tables.build(
        blocks,
        geometry=geometry_of(12),
        levels=order_tables.fixed_levels(levels),
        orders=orders,
        allocate=allocate,
        table=listed,
        limits=Limits(nodes=nodes),
    )
    memory = Memory(12)
    memory.pages = dict(writes)
    return memory, tops


def test_pages_that_name_no_trees() -> None:
    """The page of trees is a page of 64-bit memory; the problem stands at its address."""
    memory = Memory(12)
    assert places(table(memory, 0)) == [("null-root", 0)]
    assert places(table(memory, 4097)) == [("unaligned-root", 4097)]
    assert places(table(memory, 1 << 64)) == [("unaligned-root", 1 << 64)]
    assert places(table(memory, 1 << 63)) == [("missing-node", 1 << 63)]
    assert memory.asked == 1
    found = table(memory, 1 << 63, limits=Limits(nodes=0))
    assert (places(found), found.complete, memory.asked) == ([("limit", 1 << 63)], False, 1)


def test_orders_that_have_a_place() -> None:
    """Blocks of order 51 are the largest; 64 places are looked at, whatever is asked."""
    memory = Memory(12)
    memory.put(PAGE, {order: (order + 100) * PAGE for order in range(51, 80)})
    memory.put(151 * PAGE, {0: 3})
    found = table(memory, PAGE)
    assert found.blocks.orders() == {51: 2}
    assert places(found) == [("unaligned-child", (order + 100) * PAGE) for order in range(52, 64)]
    assert found.complete is False
    assert places(table(memory, PAGE, orders=53)) == [("unaligned-child", 152 * PAGE)]
    assert table(memory, PAGE, orders=52).complete is True
    memory.put(PAGE, {3: 7 * PAGE + 1})
    found = table(memory, PAGE)
    assert (places(found), found.complete) == ([("unaligned-child", 7 * PAGE + 1)], False)


@pytest.mark.parametrize(
    ("bits", "start", "count", "clipped"),
    [
        (0b1, 0, 1, 0),
        (0b10, 1 << 63, 1, 0),
        (0b100, 0, 0, 1),
        (0b11111, 0, 2, 3),
        (0b1110, 1 << 63, 1, 2),
        (0b11011, 0, 2, 2),
    ],
)
def test_blocks_past_the_end_are_counted(bits: int, start: int, count: int, clipped: int) -> None:
    """Of order 51 there are two blocks; further bits are counted, and no block comes of them."""
    memory = Memory(12)
    memory.put(PAGE, {0: bits})
    found = trees(memory, [0] * 51 + [PAGE], NEEDED)
    assert found.blocks.start.tolist() == ([start] if count else [])
    assert (found.blocks.count.tolist(), found.blocks.clipped) == ([count] * (count > 0), clipped)
    assert places(found) == ([("out-of-range", 0)] if clipped else [])


@pytest.mark.parametrize(
    ("shift", "levels", "possible"),
    [(12, 0, False), (12, 1, True), (12, 6, True), (12, 7, False), (17, 4, True), (22, 3, False)],
)
def test_depths_that_are_possible(shift: int, levels: int, possible: bool) -> None:
    """A tree has a level or more, and an index of 62 bits or fewer."""
    top = 1 << shift
    if possible:
        found = trees(Memory(shift), [top], order_tables.fixed_levels(levels), shift)
        assert places(found) == [("missing-node", top)]
        return
    with pytest.raises(ValueError, match=f"{levels} levels is impossible"):
        trees(Memory(shift), [top], order_tables.fixed_levels(levels), shift)


def test_the_last_block_that_four_levels_name() -> None:
    """42 bits number a block: the last fits, the next is refused."""
    last = Blocks.from_runs([((1 << 42) - 1) << 12], [1], [0], 12)
    memory, tops = build(last)
    found = trees(memory, tops, order_tables.fixed_levels(4))
    assert (found.blocks == last, len(memory.pages)) == (True, 4)
    with pytest.raises(EncodeError, match="beyond what 4 levels can name"):
        build(Blocks.from_runs([((1 << 42) - 1) << 12], [2], [0], 12))
    with pytest.raises(EncodeError, match="beyond what 4 levels can name"):
        build(Blocks.from_runs([0, 1 << 54], [1, 1], [0, 0], 12))


def test_the_largest_order_is_used() -> None:
    """A block that is too large becomes blocks of the largest order that has a place."""
    memory, tops = build(Blocks.from_runs([0], [1], [12], 12))
    found = trees(memory, tops, order_tables.fixed_levels(4))
    assert found.blocks.orders() == {10: 4}
    assert [order for order, top in enumerate(tops) if top] == [10]
    kept = Blocks.from_runs([0], [1], [10], 12)
    memory, tops = build(kept)
    assert trees(memory, tops, order_tables.fixed_levels(4)).blocks == kept


def test_building_stops_at_the_limit() -> None:
    """Pages of all trees count against one limit, leaves and interior nodes together."""
    blocks = Blocks.from_runs([0, 0], [1 << 16, 1], [0, 1], 12)
    memory, _ = build(blocks, nodes=9)
    assert len(memory.pages) == (2 + 3) + (1 + 3)
    for nodes in (8, 5, 4, 2, 1):
        with pytest.raises(EncodeError, match=f"more than {nodes - 5 if nodes > 4 else nodes} "):
            build(blocks, nodes=nodes)


def test_pages_are_taken_from_the_top() -> None:
    """The page that lists the trees comes first; in a tree, nodes come before what they name."""
    blocks = Blocks.from_runs([0, 0], [1 << 16, 1], [0, 1], 12)
    memory, tops = build(blocks, listed=True)
    assert (tops, len(memory.pages)) == ([PAGE], 10)
    assert memory.pages[PAGE].view("<u8")[:3].tolist() == [2 * PAGE, 7 * PAGE, 0]
    found = order_tables.walk_table(
        memory.read,
        PAGE,
        11,
        geometry=geometry_of(12),
        levels=order_tables.fixed_levels(4),
        limits=Limits(),
    )
    assert (found.blocks == blocks, found.problems) == (True, [])
    assert found.pages.address.tolist() == [number * PAGE for number in range(1, 11)]


def test_every_page_knows_its_order() -> None:
    """Order and index above each page follow from the page that names it, on every level."""
    far = 0b101 << 45 | 0b110 << 36 | 0b11 << 27
    blocks = Blocks.from_runs([far << 2, far << 5], [1, 1], [2, 5], 12)
    for listed in (False, True):
        memory, tops = build(blocks, listed=listed)
        levels = order_tables.fixed_levels(4)
        if listed:
            found = order_tables.walk_table(
                memory.read,
                tops[0],
                11,
                geometry=geometry_of(12),
                levels=levels,
                limits=Limits(),
            )
        else:
            found = trees(memory, tops, levels)
        order, above = order_tables.indexes(found.pages, 12)
        path = [0, 0b101, 0b101 << 9 | 0b110, 0b101 << 18 | 0b110 << 9 | 0b11]
        head = [0] if listed else []
        assert order.tolist() == [*head, *[2] * 4, *[5] * 4]
        assert above.tolist() == [*head, *path, *path]
