"""Trees by order at their bounds: last orders and blocks, depths, limits, places of pages."""

from __future__ import annotations

import numpy as np
import pytest

from khotool.errors import EncodeError
from khotool.limits import Limits
from khotool.maps import order_tables
from khotool.maps.preserved import PreservedMap
from khotool.pages.blocks import Blocks
from tests.unit.maps.radix_pages import U64, Memory

PAGE = 4096
NEEDED = order_tables.needed_levels(12)


def places(found: PreservedMap) -> list[tuple[str, int]]:
    return [(problem.code, problem.address) for problem in found.problems]


def table(memory: Memory, at: int, orders: int = 512, limits: Limits | None = None) -> PreservedMap:
    return order_tables.walk_table(
        memory.read,
        at,
        orders,
        page_shift=12,
        byteorder="<",
        levels=NEEDED,
        limits=limits or Limits(),
    )


def trees(
    memory: Memory, tops: list[int], levels: order_tables.Levels, shift: int = 12
) -> PreservedMap:
    return order_tables.walk(
        memory.read, tops, page_shift=shift, byteorder="<", levels=levels, limits=Limits()
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
        page_shift=12,
        byteorder="<",
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
        page_shift=12,
        byteorder="<",
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
                page_shift=12,
                byteorder="<",
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
