from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from khotool.errors import EncodeError
from khotool.limits import Limits
from khotool.maps import nodes, radix
from khotool.maps.preserved import KEPT_PROBLEMS, PageKind, PreservedMap
from khotool.pages.blocks import Blocks
from tests.unit.maps.geometry import geometry_of
from tests.unit.maps.radix_pages import (
    ORDERS,
    SHIFTS,
    U64,
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
        radix.build(blocks, geometry=geometry_of(14), allocate=lambda n: np.zeros(n, np.uint64))
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


PAGE = 4096


def places(found: PreservedMap) -> list[tuple[str, int]]:
    return [(problem.code, problem.address) for problem in found.problems]


def chain(memory: Memory, path: list[tuple[int, dict[int, int]]]) -> None:
    """Put nodes given as address to words."""
    for address, words in path:
        memory.put(address, words)


def first_leaf(words: dict[int, int]) -> Memory:
    """A tree whose one leaf is the first, at page 6; the levels stand at pages 1 to 5."""
    memory = Memory(12)
    chain(memory, [(level * PAGE, {0: (level + 1) * PAGE}) for level in range(1, 6)])
    memory.put(6 * PAGE, words)
    return memory


def taken(blocks: Blocks) -> list[tuple[int, int, int]]:
    return list(
        zip(blocks.start.tolist(), blocks.count.tolist(), blocks.order.tolist(), strict=True)
    )


@pytest.mark.parametrize(
    ("key", "block"),
    [
        (-4, None),
        (0, None),
        (1, None),
        (2, (0, 51)),
        (3, (1 << 63, 51)),
        (1 << 52, (0, 0)),
        ((2 << 52) - 1, ((1 << 64) - PAGE, 0)),
        (2 << 52, None),
    ],
)
def test_first_and_last_keys(key: int, block: tuple[int, int] | None) -> None:
    """Keys 2 to 2**53 - 1 are blocks of 4 KiB pages; no other is."""
    assert block_of_key(key, 12) == block
    if block is not None:
        assert radix.key_of(*block, 12) == key


@given(st.integers(12, 30))
def test_a_tree_is_as_deep_as_its_keys_need(shift: int) -> None:
    """The levels hold the widest key, of order 0, and no level is too many."""
    width = radix.key_of((1 << 64) - (1 << shift), 0, shift).bit_length()

    def held(depth: int) -> int:
        return nodes.leaf_bits(shift) + (depth - 1) * nodes.table_bits(shift)

    depth = radix.tree_depth(shift)
    assert held(depth) >= width
    assert depth == 2 or held(depth - 1) < width


@pytest.mark.parametrize(
    ("shift", "depth", "possible"),
    [(12, 1, False), (12, 2, True), (12, 6, True), (12, 7, False), (22, 3, True), (22, 4, False)],
)
def test_depths_that_are_possible(shift: int, depth: int, possible: bool) -> None:
    """A tree has two levels or more, and keys of 63 bits or fewer."""
    if possible:
        assert walk(Memory(shift), 0, shift, depth=depth).problem_counts == {"null-root": 1}
        return
    with pytest.raises(ValueError, match=f"{depth} levels is impossible"):
        walk(Memory(shift), 0, shift, depth=depth)


def test_roots_that_are_no_page() -> None:
    """A root is a page of 64-bit memory; the problem stands at its address."""
    memory = Memory(12)
    assert places(walk(memory, 0)) == [("null-root", 0)]
    assert places(walk(memory, 4095)) == [("unaligned-root", 4095)]
    assert places(walk(memory, 1 << 64)) == [("unaligned-root", 1 << 64)]
    assert places(walk(memory, 1 << 63)) == [("missing-node", 1 << 63)]
    assert memory.asked == 1


def test_the_first_leaf_holds_many_orders() -> None:
    """A run of bits that crosses a power of two is a run of blocks of each order."""
    found = walk(first_leaf({0: (1 << 20) - 4}), PAGE)
    assert sorted(taken(found.blocks), key=lambda block: -block[2]) == [
        (0, 2, 51),
        (0, 4, 50),
        (0, 8, 49),
        (0, 4, 48),
    ]
    assert found.blocks.clipped == 0
    assert found.problems == []


@pytest.mark.parametrize("orders", [(37, 36), (25, 24)])
def test_orders_meet_where_leaves_do(orders: tuple[int, int]) -> None:
    """The last blocks of an order and the first of the next lower one stay what they are."""
    high, low = orders
    last = (1 << 64) - (3 << (12 + high))
    blocks = Blocks.from_runs(np.array([last, 0], np.uint64), np.array([3, 5]), [high, low], 12)
    memory, root, _, _ = store(blocks, "<")
    found = walk(memory, root)
    assert found.blocks == blocks
    assert found.problems == []


def test_keys_below_two_are_counted() -> None:
    """Bits 0 and 1 of the first leaf are reported, and nothing else of it or of its neighbour."""
    memory = first_leaf({0: 0b1011, 1: 0b111})
    memory.put(5 * PAGE, {0: 6 * PAGE, 1: 7 * PAGE})
    memory.put(7 * PAGE, {0: 0b11})
    found = walk(memory, PAGE)
    assert [(p.code, p.address, p.text) for p in found.problems] == [
        ("bad-key", 6 * PAGE, f"2 bits of leaf {6 * PAGE:#x} encode no order")
    ]
    assert taken(found.blocks) == [
        (0, 2, 37),
        (0, 3, 46),
        (1 << 63, 1, 51),
    ]
    assert walk(first_leaf({0: 0b1000, 1: 3}), PAGE).problems == []


def test_keys_end_with_order_zero() -> None:
    """A leaf at the first key above all orders holds none; the leaf before it does."""
    memory = Memory(12)
    # Key 2**53 leads through entry 4 of the root and entry 0 everywhere below.
    memory.put(PAGE, {3: 2 * PAGE, 4: 12 * PAGE})
    for level in range(2, 6):
        memory.put(level * PAGE, {511: (level + 1) * PAGE})
        memory.put((level + 10) * PAGE, {0: (level + 11) * PAGE})
    memory.put(6 * PAGE, {511: 1 << 63})
    memory.put(16 * PAGE, {0: 0b111})
    found = walk(memory, PAGE)
    assert taken(found.blocks) == [((1 << 64) - PAGE, 1, 0)]
    assert [(p.code, p.address, p.text) for p in found.problems] == [
        ("bad-key", 16 * PAGE, f"3 bits of leaf {16 * PAGE:#x} encode no order")
    ]
    memory.put(PAGE, {4: 12 * PAGE})
    found = walk(memory, PAGE)
    assert (taken(found.blocks), places(found)) == ([], [("bad-key", 16 * PAGE)])


def test_a_child_off_by_one_byte() -> None:
    """The lowest bit of a child's address is enough to be no page; the map is then incomplete."""
    memory = Memory(12)
    memory.put(PAGE, {5: 2 * PAGE + 1})
    found = walk(memory, PAGE)
    assert (places(found), found.complete) == ([("unaligned-child", PAGE)], False)
    assert found.problems[0].text.startswith("entry 5 of node 0x1000 is 0x2001,")


def test_pages_of_a_tree_are_rows() -> None:
    """Every page has its level, kind, prefix, size and the page that names it."""
    blocks = Blocks.from_runs([0, 1 << 40], [1, 1], [0, 0], 12)
    memory, root, _, _ = store(blocks, "<")
    found = walk(memory, root)
    rows = [found.pages[row] for row in range(len(found.pages))]
    assert [row.size for row in rows] == [PAGE] * len(rows)
    assert [row.level for row in rows] == sorted((row.level for row in rows), reverse=True)
    key = radix.key_of(0, 0, 12)
    for row in rows:
        assert row.kind is (PageKind.LEAF if row.level == 0 else PageKind.INTERIOR)
        if row.parent is None:
            assert (row.address, row.prefix) == (root, 0)
    assert [row.prefix for row in rows if row.level == 0] == [
        key >> 15,
        radix.key_of(1 << 40, 0, 12) >> 15,
    ]


@settings(max_examples=25, deadline=None)
@given(block_sets())
def test_pages_may_lie_in_any_order(blocks: Blocks) -> None:
    """Blocks and their order do not depend on where the pages of the tree lie."""
    shift = blocks.page_shift

    def allocate(count: int) -> U64:
        return (np.arange(count, 0, -1, dtype=np.uint64) + np.uint64(9)) << np.uint64(shift)

    root, addresses, pages = radix.build(blocks, geometry=geometry_of(shift), allocate=allocate)
    memory = Memory(shift)
    memory.pages = dict(zip(addresses.tolist(), pages, strict=True))
    found = walk(memory, root, shift)
    assert (found.blocks == blocks, found.problems) == (True, [])
    for level in range(radix.tree_depth(shift)):
        prefixes = found.pages.prefix[found.pages.level == level].tolist()
        assert prefixes == sorted(prefixes)


def kernel_places(keys: list[int], depth: int) -> list[tuple[int, int]]:
    """(level, prefix) of every node in the order in which ascending keys make the kernel ask."""
    made = [(depth - 1, 0)]
    for key in keys:
        for level in range(depth - 2, -1, -1):
            node = (level, key >> (15 + 9 * level))
            if node not in made:
                made.append(node)
    return made


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, (1 << 52) - 1), st.integers(0, 51)), min_size=1, max_size=6)
)
def test_pages_are_taken_as_the_kernel_takes_them(frames: list[tuple[int, int]]) -> None:
    """A page is taken when the first key below it is inserted, parents before children."""
    starts = [frame >> order << (order + 12) for frame, order in frames]
    blocks = Blocks.from_runs(starts, [1] * len(frames), [order for _, order in frames], 12)
    keys = sorted({radix.key_of(s, o, 12) for s, (_, o) in zip(starts, frames, strict=True)})
    memory, root, addresses, _ = store(blocks, "<")
    found = walk(memory, root)
    by_address = {
        page.address: (page.level, page.prefix)
        for page in (found.pages[row] for row in range(len(found.pages)))
    }
    assert [by_address[address] for address in addresses.tolist()] == kernel_places(keys, 6)


def test_limits_are_exact() -> None:
    """What the limits allow is read; one page less, and the map says where it stops."""
    blocks = Blocks.from_runs([0], [1 << 17], [0], 12)
    memory, root, addresses, _ = store(blocks, "<")
    total = addresses.size
    assert total == 5 + 4
    for found in (walk(memory, root, nodes=total), walk(memory, root, size=total * PAGE)):
        assert (found.complete, found.problems) == (True, [])
    for lacking in (1, 2):
        for found in (
            walk(memory, root, nodes=total - lacking),
            walk(memory, root, size=(total - lacking) * PAGE),
            walk(memory, root, size=(total - lacking + 1) * PAGE - 1),
        ):
            leaf = found.pages.address[-1] + np.uint64(PAGE)
            assert found.complete is False
            assert [(p.code, p.address, p.text) for p in found.problems] == [
                ("limit", int(leaf), f"{lacking} nodes are not read")
            ]
            assert found.blocks.pages == (4 - lacking) << 15


def test_building_stops_at_the_limit() -> None:
    """As many pages as allowed are made, leaves and interior nodes together."""
    blocks = Blocks.from_runs([0], [1 << 17], [0], 12)

    def build(nodes: int) -> int:
        _, addresses, pages = radix.build(
            blocks,
            geometry=geometry_of(12),
            allocate=lambda n: np.arange(1, n + 1, dtype=np.uint64) << np.uint64(12),
            limits=Limits(nodes=nodes),
        )
        assert pages.shape == (addresses.size, PAGE)
        return int(addresses.size)

    assert build(9) == 9
    with pytest.raises(EncodeError, match="needs more than 8 pages"):
        build(8)
    with pytest.raises(EncodeError, match="needs more than 4 pages"):
        build(4)
    with pytest.raises(EncodeError, match="needs more than 3 pages"):
        build(3)


def test_leaves_of_runs_that_share_them() -> None:
    """Three runs of one leaf, and runs that end where the next leaf begins, need each leaf once."""
    frames = [0, 2, 4, 32767, 32770, 65535, 98304]
    counts = [1, 1, 1, 2, 1, 1, 32768]
    blocks = Blocks.from_runs([frame << 12 for frame in frames], counts, [0] * len(frames), 12)
    memory, root, addresses, _ = store(blocks, "<")
    found = walk(memory, root)
    assert found.blocks == blocks
    assert addresses.size == 5 + 3


def test_shallow_trees_hold_what_their_keys_can() -> None:
    """With two levels keys have 24 bits: the block of the last key fits, the next does not."""
    blocks = Blocks.from_runs([((1 << 24) - 1) << 12], [1], [0], 12)
    memory, root, addresses, _ = store(blocks, "<", depth=2)
    assert addresses.size == 2
    assert int(memory.pages[root].view("<u8")[511]) == int(addresses[1])
    with pytest.raises(EncodeError, match="does not fit keys of 24 bits"):
        store(Blocks.from_runs([((1 << 24) - 1) << 12], [2], [0], 12), "<", depth=2)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_reading_in_batches(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Nodes are read a batch at a time, at least one, with the same result."""
    blocks = Blocks.from_runs([1 << 30, 1 << 40], [1 << 18, 1], [0, 3], 12)
    memory, root, _, _ = store(blocks, "<")
    whole = walk(memory, root)
    monkeypatch.setattr(nodes, "_BATCH_BYTES", at_once * PAGE)
    sizes: list[int] = []

    class Watched(Memory):
        def read(self, addresses: U64) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
            sizes.append(addresses.size)
            return super().read(addresses)

    watched = Watched(12)
    watched.pages = memory.pages
    found = walk(watched, root)
    assert (found.blocks == whole.blocks, max(sizes)) == (True, at_once)
    assert found.pages.address.tolist() == whole.pages.address.tolist()
    monkeypatch.setattr(nodes, "_BATCH_BYTES", 1)
    sizes.clear()
    assert walk(watched, root).blocks == whole.blocks
    assert max(sizes) == 1


@pytest.mark.parametrize(
    ("frame", "count", "order", "kept"),
    [
        (0, 1, 13, True),
        (5 << 13, 2, 13, True),
        (0, 1, 14, False),
        ((1 << 37) - 2, 2, 0, True),
        (1 << 37, 2, 0, False),
        (3, 2, 0, True),
    ],
)
def test_keys_that_lost_their_marker(frame: int, count: int, order: int, kept: bool) -> None:
    """Without a marker a key is of order 0, unless it looks like an order that kernels have."""
    blocks = Blocks.from_runs([frame << 14], [count], [order], 14)
    memory, root, _, _ = store(blocks, "<", depth=4)
    found = walk(memory, root, 14, depth=4)
    assert (found.blocks == blocks) is kept
    lost = order == 0 and kept
    assert [(p.code, p.address, p.text) for p in found.problems if p.code == "lost-marker"] == (
        [("lost-marker", root, f"{count} keys of order 0 have lost the bit that says so")]
        if lost or order == 14
        else []
    )


def test_lost_markers_are_counted_over_the_map() -> None:
    """Every key that lost its marker counts, wherever it lies."""
    blocks = Blocks.from_runs([5 << 14, 9 << 40, 3 << 45], [3, 4, 5], [0, 0, 0], 14)
    memory, root, _, _ = store(blocks, "<", depth=4)
    found = walk(memory, root, 14, depth=4)
    assert found.blocks == blocks
    assert [p.text.partition(" ")[0] for p in found.problems] == ["12"]
    memory, root, _, _ = store(Blocks.from_runs([5 << 14], [3], [0], 14), "<")
    assert walk(memory, root, 14).problems == []
