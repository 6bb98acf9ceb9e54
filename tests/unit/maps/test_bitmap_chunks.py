from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from khotool.errors import EncodeError
from khotool.limits import Limits
from khotool.maps import bitmap_chunks
from khotool.maps.preserved import PageKind, PreservedMap
from khotool.pages.blocks import Blocks
from tests.unit.maps.chunk_pages import Memory, block_sets, element, header, store, walk
from tests.unit.maps.geometry import geometry_of


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
    with pytest.raises(EncodeError, match="needs more than"):
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


PAGE = 4096
SPAN = 1 << 27
BITS = 1 << 30


def places(found: PreservedMap) -> list[tuple[str, int]]:
    return [(problem.code, problem.address) for problem in found.problems]


def one_chunk(
    elements: list[tuple[int, int]], order: int = 0, content: dict[int, bytes] | None = None
) -> Memory:
    """A list of one chunk; every bitmap has bit 0 set unless given otherwise."""
    memory = Memory()
    for _, bitmap in elements:
        memory.pieces[bitmap] = b"\1".ljust(PAGE, b"\0")
    for bitmap, bits in (content or {}).items():
        memory.pieces[bitmap] = bits.ljust(PAGE, b"\0")
    memory.chunk(PAGE, elements, order=order)
    return memory


@pytest.mark.parametrize(
    ("size", "shift", "span"), [(8, 12, 18), (512, 12, 24), (4096, 12, 27), (65536, 16, 35)]
)
def test_what_a_bitmap_spans(size: int, shift: int, span: int) -> None:
    """A bit for a page: 512 bytes stand for 16 MiB of 4 KiB pages."""
    assert bitmap_chunks.span_shift(size, shift) == span


@pytest.mark.parametrize(
    ("size", "possible"),
    [(0, False), (4, False), (8, True), (24, False), (4096, True), (8192, False)],
)
def test_sizes_that_bitmaps_can_have(size: int, possible: bool) -> None:
    """A bitmap is a word or more, a page or less, a power of two."""
    if possible:
        assert places(walk(Memory(), 0, size=size)) == [("null-root", 0)]
        assert store(Blocks.empty(12), "<", size)[1] == 0
        return
    with pytest.raises(ValueError, match="power of two"):
        walk(Memory(), 0, size=size)
    with pytest.raises(ValueError, match="power of two"):
        store(Blocks.empty(12), "<", size)


def test_pages_of_a_list_are_rows() -> None:
    """Chunks, then bitmaps, each with its size and what names it; a full chunk is no problem."""
    blocks = Blocks.single(np.arange(300, dtype=np.uint64) * np.uint64(SPAN), 0, 12)
    memory, first = store(blocks, "<", 512)
    found = walk(memory, first, size=512)
    assert (found.problems, found.complete) == ([], True)
    rows = [found.pages[row] for row in range(len(found.pages))]
    chunks, bitmaps = rows[:2], rows[2:]
    assert [(row.kind, row.prefix, row.size, row.parent) for row in chunks] == [
        (PageKind.CHUNK, 0, PAGE, None),
        (PageKind.CHUNK, 0, PAGE, first),
    ]
    assert [row.address for row in chunks] == [first, first + PAGE]
    assert [(row.kind, row.level, row.size) for row in bitmaps] == [(PageKind.BITMAP, 0, 512)] * 300
    assert [row.prefix for row in bitmaps] == [*range(255), *range(45)]
    assert [row.parent for row in bitmaps] == [first] * 255 + [first + PAGE] * 45
    assert {len(memory.pieces[row.address]) for row in chunks} == {PAGE}
    assert {len(memory.pieces[row.address]) for row in bitmaps} == {512}


def test_addresses_that_are_no_chunk() -> None:
    """A chunk is a page of 64-bit memory; the problem stands at the chunk before it."""
    memory = Memory()
    assert places(walk(memory, 0)) == [("null-root", 0)]
    assert places(walk(memory, 1 << 63)) == [("missing-chunk", 1 << 63)]
    assert places(walk(memory, 1 << 64)) == [("unaligned-chunk", 1 << 64)]
    memory.chunk(PAGE, [], after=2 * PAGE)
    memory.chunk(2 * PAGE, [], after=3 * PAGE + 1)
    assert places(walk(memory, PAGE)) == [("unaligned-chunk", 2 * PAGE)]


@pytest.mark.parametrize(("order", "codes"), [(51, []), (52, ["bad-order"])])
def test_the_largest_order(order: int, codes: list[str]) -> None:
    """Two blocks of order 51 are all of memory; a larger order has none."""
    memory = one_chunk([(0, BITS)], order, {BITS: b"\3"})
    found = walk(memory, PAGE)
    assert [problem.code for problem in found.problems] == codes
    assert found.blocks.orders() == ({} if codes else {51: 2})
    assert found.complete is not bool(codes)


@pytest.mark.parametrize(
    ("start", "order", "codes"),
    [
        (0, 51, []),
        (1 << 63, 51, ["unaligned-start"]),
        (1 << 63, 36, []),
        (1 << 62, 36, ["unaligned-start"]),
        (SPAN, 0, []),
        (SPAN // 2, 0, ["unaligned-start"]),
        (SPAN, 1, ["unaligned-start"]),
    ],
)
def test_starts_of_elements(start: int, order: int, codes: list[str]) -> None:
    """Bit 0 lies at a multiple of what the bitmap spans, which may be more than all memory."""
    found = walk(one_chunk([(start, BITS)], order), PAGE)
    assert places(found) == [(code, PAGE) for code in codes]
    assert found.blocks.start.tolist() == [start]


@pytest.mark.parametrize(
    ("bits", "count", "clipped"),
    [(b"\1", 1, 0), (b"\3", 1, 1), (b"\2", 0, 1), (b"\x1b", 1, 3), (b"\x18", 0, 2)],
)
def test_blocks_past_the_end_are_counted(bits: bytes, count: int, clipped: int) -> None:
    """Blocks behind the last page are left out one by one, and never come round to 0."""
    last = (1 << 64) - PAGE
    found = walk(one_chunk([(last, BITS)], 0, {BITS: bits}), PAGE)
    assert (found.blocks.pages, found.blocks.clipped) == (count, clipped)
    assert found.blocks.start.tolist() == [last] * count
    past = [("out-of-range", 0)] if clipped else []
    assert places(found) == [("unaligned-start", PAGE), *past]
    if clipped:
        assert found.problems[-1].text == f"{clipped} blocks lie past the last address"


@pytest.mark.parametrize(
    ("second", "code"), [(BITS, "shared-bitmap"), (1 << 50, "missing-bitmap"), (BITS + PAGE, "")]
)
def test_a_bitmap_that_is_not_read(second: int, code: str) -> None:
    """A bitmap that is missing or named twice is one problem, and the map is incomplete."""
    memory = one_chunk([(0, BITS), (SPAN, second)])
    memory.pieces.pop(1 << 50, None)
    found = walk(memory, PAGE)
    assert places(found) == ([(code, second)] if code else [])
    assert found.complete is not bool(code)
    assert found.blocks.pages == (1 if code else 2)


def kept(addresses: list[int], size: int) -> list[bool]:
    """Element by element: aligned ones once each, others apart from those and from each other."""
    regular = {address for address in addresses if address % size == 0}
    loose = sorted(address for address in addresses if address % size)
    seen: set[int] = set()
    result: list[bool] = []
    taken: dict[int, int] = {}
    for address in addresses:
        if address % size == 0:
            result.append(address not in seen)
        else:
            rank = loose.index(address) + taken.get(address, 0)
            taken[address] = taken.get(address, 0) + 1
            near = rank > 0 and address - loose[rank - 1] < size
            result.append(not near and not any(abs(address - r) < size for r in regular))
        seen.add(address)
    return result


@example([16, 24, 24], 8)
@example([17, 25, 33], 8)
@example([64, 64, 65, 128, 63, 192, 129, 127], 8)
@given(st.lists(st.integers(8, 160), max_size=12), st.sampled_from([8, 16]))
def test_no_byte_is_read_twice(addresses: list[int], size: int) -> None:
    """Of bitmaps that overlap, those that lie as the writer puts them stay."""
    overlaps = bitmap_chunks._overlapping(np.array(addresses, np.uint64), size)
    assert [not one for one in overlaps.tolist()] == kept(addresses, size)
    left = sorted(a for a, gone in zip(addresses, overlaps.tolist(), strict=True) if not gone)
    assert all(b - a >= size for a, b in pairwise(left))


def test_limits_are_exact() -> None:
    """Chunks and bitmaps that the limits allow are read; one less, and the map says so."""
    blocks = Blocks.single(np.arange(300, dtype=np.uint64) * np.uint64(SPAN), 0, 12)
    memory, first = store(blocks, "<", PAGE)
    for enough in (Limits(nodes=302), Limits(bytes=302 * PAGE), Limits(chain=2)):
        found = walk(memory, first, limits=enough)
        assert (found.problems, found.complete, found.blocks == blocks) == ([], True, True)
    for few in (Limits(nodes=301), Limits(bytes=302 * PAGE - 1), Limits(bytes=301 * PAGE)):
        found = walk(memory, first, limits=few)
        assert (places(found), found.complete, found.blocks.pages) == ([("limit", 0)], False, 299)
        assert found.problems[0].text == "only 299 bitmaps are read"
    for short in (Limits(nodes=1), Limits(bytes=PAGE), Limits(bytes=2 * PAGE - 1)):
        memory.asked.clear()
        found = walk(memory, first, limits=short)
        assert (len(found.chunks), found.blocks.pages, found.complete) == (1, 0, False)
        assert places(found) == [("limit", first + PAGE), ("limit", 0)]
        assert memory.asked == [(PAGE, 1)]
    memory.chunk(first, [(0, BITS)], after=first + PAGE)
    found = walk(memory, first, limits=Limits(nodes=1))
    assert (places(found), found.blocks.pages) == ([("limit", first + PAGE), ("limit", 0)], 0)
    memory.chunk(first, [], after=first + PAGE)
    assert places(walk(memory, first, limits=Limits(nodes=1))) == [("limit", first + PAGE)]
    assert places(walk(memory, first, limits=Limits(chain=1))) == [("limit", first + PAGE)]


def test_building_stops_at_the_limit() -> None:
    """Chunks and bitmaps of all orders count against one limit."""
    starts = np.arange(300, dtype=np.uint64) * np.uint64(SPAN)
    blocks = Blocks.from_runs(
        np.append(starts, np.uint64(0)), [1] * 301, np.append(np.zeros(300, np.uint8), 1), 12
    )
    memory, first = store(blocks, "<", PAGE, Limits(nodes=304))
    assert len(memory.pieces) == 304
    assert walk(memory, first).blocks == blocks
    for nodes in (303, 302, 301, 299, 1):
        with pytest.raises(EncodeError, match=r"more than \d+ pages"):
            store(blocks, "<", PAGE, Limits(nodes=nodes))
    with pytest.raises(ValueError, match="page size of the blocks"):
        bitmap_chunks.build(
            blocks,
            geometry=geometry_of(14),
            bitmap_bytes=PAGE,
            header=header(),
            element=element(),
            allocate_pages=lambda n: np.zeros(n, np.uint64),
            allocate_bitmaps=lambda n: np.zeros(n, np.uint64),
        )


def test_bitmaps_of_runs_that_share_them() -> None:
    """Three runs of one bitmap, and runs that end where the next begins, need each bitmap once."""
    frames = [0, 2, 4, 32767, 32770, 65535, 98304]
    counts = [1, 1, 1, 2, 1, 1, 32768]
    blocks = Blocks.from_runs([frame << 12 for frame in frames], counts, [0] * len(frames), 12)
    memory, first = store(blocks, "<", PAGE)
    assert walk(memory, first).blocks == blocks
    assert len(memory.pieces) == 1 + 3


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_reading_in_batches(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Bitmaps of one order are read a batch at a time, at least one, with the same result."""
    starts = [0, SPAN, 2 * SPAN, 4 * SPAN, 9 * SPAN, 0, 4 * SPAN]
    blocks = Blocks.from_runs(starts, [32768, 5, 5, 5, 5, 7, 7], [0, 0, 0, 0, 0, 1, 1], 12)
    memory, first = store(blocks, "<", 512)
    monkeypatch.setattr(bitmap_chunks, "_BATCH_BYTES", at_once * 512)
    memory.asked.clear()
    assert walk(memory, first, size=512).blocks == blocks
    asked = [count for size, count in memory.asked if size == 512]
    assert (max(asked), sum(asked)) == (at_once, len(memory.pieces) - 2)
    monkeypatch.setattr(bitmap_chunks, "_BATCH_BYTES", 1)
    assert walk(memory, first, size=512).blocks == blocks
