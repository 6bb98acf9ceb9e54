from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.errors import EncodeError
from khotool.maps import radix
from khotool.maps.preserved import KEPT_PROBLEMS, PageKind
from khotool.pages.blocks import Blocks
from tests.unit.maps.radix_pages import (
    ORDERS,
    SHIFTS,
    Memory,
    block_of_key,
    block_sets,
    store,
    walk,
)


@settings(max_examples=60, deadline=None)
@given(block_sets(), ORDERS)
def test_walk_reads_what_build_wrote(blocks: Blocks, byteorder: str) -> None:
    """Any blocks survive the tree, for every page size and byte order, in no page too many."""
    memory, root, addresses, pages = store(blocks, byteorder)
    found = walk(memory, root, blocks.page_shift, byteorder)
    assert found.blocks == blocks
    assert (found.complete, found.problems, found.layout) == (True, [], "radix")
    assert sorted(found.pages.address.tolist()) == sorted(addresses.tolist())
    assert root == int(addresses[0])
    if len(blocks):
        assert bool(pages.any(axis=1).all())
    assert found.pages[0].parent is None
    for row in range(1, len(found.pages)):
        page = found.pages[row]
        assert (page.kind == PageKind.LEAF) == (page.level == 0)
        # A page is allocated after the page that names it.
        assert page.parent is not None
        assert page.parent < page.address


@given(SHIFTS, st.data())
def test_keys_agree_with_the_kernel_formula(shift: int, data: st.DataObject) -> None:
    """A key carries address and order; impossible keys carry nothing."""
    order = data.draw(st.integers(0, 63 - shift))
    index = data.draw(st.integers(0, (1 << (64 - shift - order)) - 1))
    address = index << (shift + order)
    key = radix.key_of(address, order, shift)
    assert block_of_key(key, shift) == (address, order)
    assert block_of_key(1 << (65 - shift), shift) is None
    assert block_of_key(0, shift) is block_of_key(1, shift) is None


def test_single_keys_lie_where_the_kernel_puts_them() -> None:
    """The path of a block follows the bits of its key, level by level."""
    memory, root, _, _ = store(Blocks.single([0x123456000], 0, 12), "<")
    key = (1 << 52) | 0x123456
    node = root
    for level in range(5, 0, -1):
        table = memory.pages[node].view("<u8")
        assert np.flatnonzero(table).tolist() == [key >> ((level - 1) * 9 + 15) & 511]
        node = int(table[key >> ((level - 1) * 9 + 15) & 511])
    leaf = memory.pages[node].view("<u8")
    bit = key & 0x7FFF
    assert np.flatnonzero(leaf).tolist() == [bit // 64]
    assert int(leaf[bit // 64]) == 1 << (bit % 64)


@pytest.mark.parametrize(("shift", "depth"), [(12, 6), (14, 5), (16, 4)])
def test_depth_follows_the_page_size(shift: int, depth: int) -> None:
    """The depths of 7.1-rc6 and later."""
    assert radix.tree_depth(shift) == depth


def test_early_16k_trees_lose_the_marker_of_order_zero() -> None:
    """Depth 4 on 16 KiB pages has no room for the marker of order 0; what is left is the frame."""
    assert [radix.tree_depth(shift, marker=False) for shift in (12, 14, 16)] == [6, 4, 4]
    high = Blocks.single([1 << 30], 3, 14)
    memory, root, _, _ = store(high, "<", depth=4)
    found = walk(memory, root, 14, depth=4)
    assert (found.blocks, found.problems) == (high, [])
    low = Blocks.from_runs([1 << 30, 5 << 30], [300, 1], [0, 11], 14)
    memory, root, _, _ = store(low, "<", depth=4)
    found = walk(memory, root, 14, depth=4)
    assert found.blocks == low
    assert [problem.code for problem in found.problems] == ["lost-marker"]
    assert "300 keys" in found.problems[0].text


def test_an_empty_map_is_a_root() -> None:
    """No blocks need the root alone; empty nodes are legal."""
    memory, root, addresses, _ = store(Blocks.empty(12), "<")
    found = walk(memory, root)
    assert (addresses.size, len(found.blocks), found.complete) == (1, 0, True)


def test_more_pages_than_allowed_are_refused() -> None:
    """A run that needs billions of leaves is an error, not an allocation."""
    blocks = Blocks.from_runs([0], [1 << 52], [0], 12)
    with pytest.raises(EncodeError, match="pages"):
        store(blocks, "<")
    with pytest.raises(ValueError, match="page size"):
        radix.build(blocks, page_shift=14, byteorder="<", allocate=lambda n: np.zeros(n, np.uint64))
    with pytest.raises(ValueError, match="levels"):
        walk(Memory(12), 4096, depth=9)


def test_a_node_that_names_itself_is_read_once() -> None:
    """All entries of a root lead back to it: one page read, every entry counted."""
    memory = Memory(12)
    memory.put(4096, dict.fromkeys(range(512), 4096))
    found = walk(memory, 4096)
    assert memory.asked == 1
    assert found.problem_counts == {"shared-node": 512}
    assert len(found.problems) == KEPT_PROBLEMS


def test_a_cycle_over_levels_and_a_bomb_stay_bounded() -> None:
    """A child that leads back up, and a tree whose nodes all share one child, end at once."""
    memory = Memory(12)
    memory.put(4096, {0: 8192})
    memory.put(8192, {3: 4096})
    assert walk(memory, 4096).problem_counts == {"shared-node": 1}
    bomb = Memory(12)
    for level in range(1, 7):
        bomb.put(level << 12, dict.fromkeys(range(512), (level + 1) << 12))
    found = walk(bomb, 4096)
    assert bomb.asked == 6
    assert found.problem_counts["shared-node"] == 5 * 511
    assert not found.complete


def test_damage_is_named() -> None:
    """Unaligned and missing children, and a bad root, are problems with an address."""
    memory = Memory(12)
    memory.put(4096, {1: 12345, 2: 1 << 50})
    found = walk(memory, 4096)
    assert [(p.code, p.address) for p in found.problems] == [
        ("unaligned-child", 4096),
        ("missing-node", 1 << 50),
    ]
    assert not found.complete
    for root, code in (
        (0, "null-root"),
        (5, "unaligned-root"),
        (1 << 64, "unaligned-root"),
        (-4096, "unaligned-root"),
        (1 << 40, "missing-node"),
    ):
        found = walk(memory, root)
        assert (list(found.problem_counts), found.complete) == ([code], False)


def test_keys_without_an_order_are_named() -> None:
    """Keys 0 and 1, and keys above the marker of order 0, preserve nothing."""
    memory = Memory(12)
    for level in range(1, 6):
        memory.put(level << 12, {0: (level + 1) << 12})
    memory.put(4096, {0: 2 << 12, 511: 16 << 12})
    memory.put(6 << 12, {0: 0b111})
    for level in range(16, 20):
        memory.put(level << 12, {0: (level + 1) << 12})
    memory.put(20 << 12, {0: 1, 7: 3})
    found = walk(memory, 4096)
    assert {(p.code, p.address) for p in found.problems} == {
        ("bad-key", 6 << 12),
        ("bad-key", 20 << 12),
    }
    assert found.blocks.orders() == {51: 1}
    assert found.blocks.start.tolist() == [0]


def test_the_limit_on_nodes_holds() -> None:
    """No more nodes are read than the limit allows, and the map says it is incomplete."""
    blocks = Blocks.from_runs([0], [1 << 20], [0], 12)
    memory, root, _, _ = store(blocks, "<")
    found = walk(memory, root, nodes=10)
    assert memory.asked == 10
    assert (found.complete, found.problem_counts) == (False, {"limit": 1})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 32), SHIFTS, ORDERS)
def test_random_pages_give_a_map_and_problems(seed: int, shift: int, byteorder: str) -> None:
    """Garbage, with and without pointers that hit, never raises and reads no page twice."""
    random = np.random.default_rng(seed)
    memory = Memory(shift)
    for number in range(1, 9):
        page = random.integers(0, 256, memory.page, dtype=np.uint8)
        if number % 2:
            near = random.integers(0, 12, memory.page // 8).astype(np.uint64) << np.uint64(shift)
            page = near.astype(f"{byteorder}u8").view(np.uint8)
        memory.pages[number << shift] = page
    found = walk(memory, 1 << shift, shift, byteorder, nodes=200)
    assert memory.asked <= 200
    assert len(set(found.pages.address.tolist())) == len(found.pages) <= 8
