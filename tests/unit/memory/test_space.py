from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.absent import Reason
from khotool.memory.overlay import OverlaySpace
from khotool.memory.seen import SeenSpace
from khotool.memory.segments import Ranges, Segment, SegmentedSpace
from khotool.memory.space import ADDRESS_LIMIT, COPY_LIMIT, Elsewhere, MemoryFault, SourceInfo


def space_of(*segments: Segment) -> SegmentedSpace:
    return SegmentedSpace(SourceInfo("test", "overlay"), segments)


def segment(start: int, data: bytes) -> Segment:
    return Segment(start, start + len(data), memoryview(data))


writes = st.lists(st.tuples(st.integers(0, 120), st.binary(min_size=1, max_size=40)), max_size=8)


def model(parts: list[tuple[int, bytes]]) -> dict[int, int]:
    result: dict[int, int] = {}
    for start, data in reversed(parts):
        result.update({start + index: byte for index, byte in enumerate(data)})
    return result


@given(writes, st.integers(0, 170), st.integers(0, 170))
def test_read_agrees_with_a_byte_map(
    parts: list[tuple[int, bytes]], address: int, length: int
) -> None:
    """A read gives the first given byte of every address, or names the first missing one."""
    expected = model(parts)
    space = space_of(*(segment(*part) for part in parts))
    wanted = range(address, address + length)
    missing = [at for at in wanted if at not in expected]
    assert space.contains(address, length) == (not missing)
    if missing:
        with pytest.raises(MemoryFault) as caught:
            space.read(address, length)
        fault = caught.value
        gap = range(fault.address, fault.address + fault.length)
        assert fault.address == missing[0]
        assert fault.reason is Reason.NOT_CAPTURED
        assert gap
        assert not any(at in expected for at in gap)
        assert gap.stop == wanted.stop or gap.stop in expected
    else:
        assert bytes(space.read(address, length)) == bytes(expected[at] for at in wanted)


def test_offsets_of_the_file() -> None:
    """A byte of the file is the one at its address; headers and what is beyond have none."""
    data = memoryview(b"head" + bytes(range(8)) + b"note" + bytes(range(8, 16)))
    ranges = Ranges(*(np.array(row, np.uint64) for row in ([64, 0], [72, 8], [4, 16])))
    space = SegmentedSpace.from_ranges(SourceInfo("test", "elf"), data, ranges)
    found = [space.at_offset(offset) for offset in range(24)]
    header = [Elsewhere.HEADER] * 4
    assert found == [*header, *range(64, 72), *header, *range(8)]
    for over in (OverlaySpace(space, {0: b"new"}), SeenSpace(space)):
        assert [over.at_offset(offset) for offset in range(24)] == found
    assert space.at_offset(24) is space.at_offset(1 << 80) is Elsewhere.BEYOND
    two = space_of(segment(0, b"one"), segment(8, b"two"))
    assert two.at_offset(0) is OverlaySpace(None, {0: b"new"}).at_offset(0) is Elsewhere.NO_FILE


@given(writes, st.integers(0, 170), st.integers(1, 170))
def test_known_covers_the_range(parts: list[tuple[int, bytes]], address: int, length: int) -> None:
    """The pieces of known() lie end to end and hold what the segments hold."""
    expected = model(parts)
    space = space_of(*(segment(*part) for part in parts))
    pieces = space.known(address, length)
    starts = [piece[0] for piece in pieces]
    assert starts[0] == address
    for (start, view, state), end in zip(pieces, [*starts[1:], address + length], strict=True):
        assert start < end
        here = [expected.get(at) for at in range(start, end)]
        if state == "data":
            assert view is not None
            assert list(view) == here
        else:
            assert state == "hole"
            assert set(here) == {None}


@given(writes, st.lists(st.integers(0, 170), max_size=10), st.integers(1, 20))
def test_gather_agrees_with_read(
    parts: list[tuple[int, bytes]], addresses: list[int], length: int
) -> None:
    """Every row of gather() is what read() gives; rows that fault are zero and not ok."""
    space = space_of(*(segment(*part) for part in parts))
    rows, ok = space.gather(np.array(addresses, dtype=np.uint64), length)
    for row, good, address in zip(rows, ok, addresses, strict=True):
        assert good == space.contains(address, length)
        assert bytes(row) == (bytes(space.read(address, length)) if good else bytes(length))


def test_gather_of_one_buffer_agrees_with_read() -> None:
    """The vectorised way gives the same rows, across segments and at the ends of memory."""
    data = bytes(range(200))
    space = space_of(segment(1000, data))
    addresses = np.array([999, 1000, 1100, 1197, 1198, 0, ADDRESS_LIMIT - 1], dtype=np.uint64)
    rows, ok = space.gather(addresses, 3)
    assert ok.tolist() == [False, True, True, True, False, False, False]
    assert bytes(rows[3]) == data[197:200]


@given(writes, st.sampled_from([8, 16, 24]))
def test_first_words_visits_every_whole_page_once(
    parts: list[tuple[int, bytes]], page_size: int
) -> None:
    """Every aligned page inside an extent comes once, in order, with its own words."""
    space = space_of(*(segment(*part) for part in parts))
    seen: list[int] = []
    for address, table in space.first_words(page_size, page_size // 8):
        for index, row in enumerate(table):
            page = address + index * page_size
            seen.append(page)
            assert row.tobytes() == bytes(space.read(page, page_size))
    assert seen == [at for at in range(0, 192, page_size) if space.contains(at, page_size)]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.text("ab", min_size=1, max_size=20)), max_size=6),
    st.text("ab", min_size=1, max_size=3),
    st.integers(0, 90),
    st.integers(0, 90),
)
def test_find_gives_all_matches(
    parts: list[tuple[int, str]], needle: str, start: int, end: int
) -> None:
    """A search finds every place inside an extent, across segments, in order."""
    space = space_of(*(segment(at, text.encode()) for at, text in parts))
    wanted = needle.encode()
    size = len(wanted)
    expected = [
        at
        for at in range(start, end - size + 1)
        if space.contains(at, size) and bytes(space.read(at, size)) == wanted
    ]
    assert list(space.find(wanted, start, end, 1 << 20)) == expected


def test_find_stops_at_its_limit() -> None:
    """No more than ``limit`` bytes are searched."""
    space = space_of(segment(0, b"x" * 5000 + b"needle"))
    assert list(space.find(b"needle", 0, ADDRESS_LIMIT, 1000)) == []
    assert list(space.find(b"needle", 0, ADDRESS_LIMIT, 6000)) == [5000]


def test_read_inside_a_segment_is_not_copied() -> None:
    """A read inside one segment aliases its buffer."""
    data = bytearray(100)
    space = space_of(Segment(0, 100, memoryview(data)))
    view = space.read(10, 20)
    data[10] = 7
    assert view[0] == 7


def test_zero_and_hole_segments() -> None:
    """Zero segments read as zeros and are extents; holes fault with their detail."""
    space = space_of(
        Segment(0x1000, 0x2000, None, "zero"), Segment(0x1800, 0x3000, None, "hole", "left out")
    )
    assert bytes(space.read(0x1000, 0x1000)) == bytes(0x1000)
    assert space.extents().tolist() == [[0x1000, 0x2000]]
    assert [piece[2] for piece in space.known(0, 0x4000)] == ["hole", "zero", "hole"]
    assert [table.tolist() for _, table in space.first_words(4096)] == [[[0]]]
    with pytest.raises(MemoryFault, match="left out"):
        space.read(0x1FFF, 2)


def test_a_huge_range_of_zeros_is_not_allocated() -> None:
    """A read that must make its bytes is bounded."""
    space = space_of(Segment(0, 1 << 60, None, "zero"))
    with pytest.raises(MemoryFault) as caught:
        space.read(0, COPY_LIMIT + 1)
    assert caught.value.reason is Reason.UNREADABLE


def test_segments_that_wrap_are_clipped() -> None:
    """Nothing lies at or above 2**64, and a note says what was cut."""
    space = space_of(segment(ADDRESS_LIMIT - 10, bytes(20)))
    assert "clipped" in space.info.notes[0]
    assert len(space.read(ADDRESS_LIMIT - 10, 5)) == 5
    with pytest.raises(MemoryFault):
        space.read(ADDRESS_LIMIT - 5, 10)
    with pytest.raises(MemoryFault):
        space.read(ADDRESS_LIMIT + 5, 10)


def test_overlap_is_noted() -> None:
    """The first segment wins where two overlap, and a note says so."""
    space = space_of(segment(0, b"aaaa"), segment(2, b"bbbb"))
    assert bytes(space.read(0, 6)) == b"aaaabb"
    assert "overlap" in space.info.notes[0]


def test_negative_arguments_are_refused() -> None:
    """Negative addresses and lengths are the caller's mistake."""
    space = space_of(segment(0, b"aaaa"))
    with pytest.raises(ValueError, match="bytes at"):
        space.read(-1, 2)
    with pytest.raises(ValueError, match="words of pages"):
        list(space.first_words(4))


def test_closed_space_faults() -> None:
    """After close() nothing is readable, and older views still are."""
    space = space_of(segment(0, b"abcd"))
    view = space.read(0, 4)
    with space:
        pass
    assert bytes(view) == b"abcd"
    with pytest.raises(MemoryFault):
        space.read(0, 4)


def test_segments_without_their_bytes_are_refused() -> None:
    """A segment longer than its bytes is the caller's mistake; one of no bytes is left out."""
    with pytest.raises(ValueError, match="segment at 0x10 is longer than its bytes"):
        space_of(Segment(0x10, 0x20, memoryview(b"short")))
    space = space_of(segment(0x10, b""), segment(0x20, b"x"), Segment(-8, 4, None, "zero"))
    assert space.extents().tolist() == [[0x20, 0x21]]


def test_nothing_is_everywhere() -> None:
    """A search for no bytes is the caller's mistake."""
    with pytest.raises(ValueError, match="an empty byte string is everywhere"):
        list(space_of(segment(0, b"abcd")).find(b"", 0, 4, 4))
