"""What ``parse`` reports: every problem once, at its offset, up to the byte where it begins."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.fdt.blob import Blob, FdtError, Property
from khotool.fdt.parse import parse
from tests.unit.fdt.made import ROOT, fdt, words
from tests.unit.fdt.real_blobs import ROOT_6_19


def places(blob: Blob) -> list[tuple[str, int]]:
    return [(problem.code, problem.offset) for problem in blob.problems]


def messages(data: bytes) -> list[str]:
    return [problem.text for problem in parse(data).problems]


def inside(*tokens: int) -> bytes:
    """A blob with tokens inside the root node, the first of them at offset 64."""
    return fdt(words(1, 0, *tokens, 2, 9))


def own(blob: Blob) -> list[Property]:
    assert blob.root is not None
    return blob.root.properties


@pytest.mark.parametrize(
    ("data", "expected", "complete"),
    [
        (fdt(), [], True),
        (fdt(totalsize=0), [("bad-totalsize", 4)], False),
        (fdt(off_mem_rsvmap=0), [("bad-offset", 16)], False),
        (fdt(off_mem_rsvmap=44), [("misaligned", 16), ("missing-end", 60)], False),
        (fdt(off_mem_rsvmap=64), [("missing-end", 64)], False),
        (fdt(off_mem_rsvmap=72), [("missing-end", 72)], False),
        (fdt(strings=bytes(8), off_mem_rsvmap=80), [("bad-offset", 80)], False),
        (fdt(strings=bytes(16), off_mem_rsvmap=72), [], True),
        (fdt(off_dt_strings=8), [("bad-offset", 12)], False),
        (fdt(off_dt_strings=40, size_dt_strings=0), [], True),
        (fdt(size_dt_strings=3), [("size-beyond-file", 32)], False),
        (fdt(off_dt_strings=74, size_dt_strings=0), [], True),
        (
            fdt(off_dt_strings=74, size_dt_strings=1),
            [("size-beyond-file", 32), ("strings-missing", 74)],
            False,
        ),
        (fdt(off_dt_struct=8), [("bad-offset", 8)], False),
        (fdt(off_dt_struct=40), [("unknown-tag", 40), ("missing-end", 40), ("no-root", 40)], False),
        (
            fdt(size_dt_struct=4096),
            [("size-beyond-file", 36), ("data-after-end", 72)],
            True,
        ),
        (fdt(off_dt_struct=74), [("bad-offset", 8)], False),
        (
            fdt(off_dt_struct=58),
            [("misaligned", 8), ("unknown-tag", 58), ("missing-end", 58), ("no-root", 58)],
            False,
        ),
        (fdt(size_dt_struct=18), [("data-after-end", 72)], True),
        (fdt(version=16, last_comp_version=16), [], True),
        (fdt(version=16, size_dt_struct=4), [], True),
        (fdt(version=15), [("version", 20)], False),
        (fdt(last_comp_version=17), [], True),
        (fdt(version=18, last_comp_version=18), [("version", 20)], True),
        (fdt(off_dt_strings=60), [("strings-overlap-struct", 60)], True),
        (fdt(off_dt_strings=60, size_dt_strings=0), [], True),
        (fdt(off_dt_strings=48, size_dt_strings=9), [("strings-overlap-struct", 56)], True),
        (fdt(off_dt_strings=48, size_dt_strings=8), [], True),
        (fdt(words(9)), [("no-root", 60)], False),
        (fdt(words(2, 9)), [("unbalanced", 56), ("missing-end", 56), ("no-root", 56)], False),
        (fdt(words(1, 0, 2)), [("missing-end", 68)], False),
        (fdt(words(1, 0, 2) + ROOT), [("second-root", 68), ("missing-end", 68)], False),
        (fdt(ROOT + ROOT), [("data-after-end", 72)], True),
        (fdt(ROOT + b"\0\0\0\5"), [("data-after-end", 72)], True),
        (fdt(ROOT + b"\5\0\0\0"), [("data-after-end", 72)], True),
        (fdt(ROOT + bytes(4)), [], True),
        (fdt(ROOT + b"\5\0\0\0", version=16), [], True),
        (fdt(words(3, 0, 0) + ROOT), [("property-outside-node", 56)], False),
        (fdt(words(1, 0x61000000, 2, 9)), [("named-root", 56)], True),
        (inside(1, 0, 2), [("name-empty", 64)], True),
        (inside(1, 0x61016200, 2), [("name-not-ascii", 64)], True),
        (inside(1, 0x612F6200, 2), [("slash-in-name", 64)], True),
        (inside(3, 5, 0, 0, 0), [], True),
        (inside(3, 0xFFFFFFFF, 0), [("truncated", 64), ("missing-end", 64)], False),
        (
            inside(1, 0x61000000, 2, 3, 0, 0, 3, 0, 0),
            [("property-after-node", 76), ("duplicate-property", 88)],
            True,
        ),
        (inside(1, 0x61000000, 2, 1, 0x61000000, 2), [("duplicate-node", 76)], True),
        (inside(1, 0x61000000, 2, 1, 0x62000000, 2), [], True),
        (inside(77), [("unknown-tag", 64), ("missing-end", 64)], False),
        (fdt(words(1, 0, 3, 4, 0)), [("truncated", 64), ("missing-end", 64)], False),
        (fdt(words(1, 0, 3, 4, 0, 1)), [("missing-end", 80)], False),
        (fdt(words(1, 0, 3, 0, 0)), [("missing-end", 76)], False),
        (fdt(words(1, 0, 3, 0)), [("missing-end", 64)], False),
        (fdt(words(1, 0, 3)), [("missing-end", 64)], False),
        (
            fdt(words(1, 0, 3, 0, 0, 3, 0, 0)),
            [("duplicate-property", 76), ("missing-end", 88)],
            False,
        ),
        (fdt(words(1)), [("truncated", 56), ("missing-end", 56), ("no-root", 56)], False),
    ],
)
def test_every_problem_is_found_once_at_its_place(
    data: bytes, expected: list[tuple[str, int]], complete: bool
) -> None:
    """One fault gives one problem at the field or token at fault; a bound belongs to its range."""
    blob = parse(data)
    assert places(blob) == expected
    assert blob.complete is complete


def test_an_fdt_error_has_its_parts() -> None:
    """The offset and the message can be had without the text of both."""
    with pytest.raises(FdtError, match=r"^offset 0x0: magic 0x00000001 is") as found:
        parse(words(*range(1, 11)))
    assert (found.value.offset, found.value.reason) == (0, "magic 0x00000001 is not 0xd00dfeed")


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (fdt(totalsize=0) + b"rest", 74),
        (fdt(totalsize=0, off_dt_strings=40) + b"rest", 72),
        (fdt(totalsize=0, off_dt_struct=40, off_dt_strings=40) + b"rest", 56),
        (fdt(totalsize=39, off_dt_strings=1, off_dt_struct=0, size_dt_struct=0), 40),
        (fdt(totalsize=40), 40),
    ],
)
def test_an_impossible_totalsize_leaves_the_blocks(data: bytes, kept: int) -> None:
    """Without a usable totalsize the data ends where the last block does, never in the header."""
    blob = parse(data)
    assert blob.data == data[:kept]
    assert ("bad-totalsize", 4) in places(blob) or blob.totalsize == 40


@pytest.mark.parametrize(("place", "end"), [(8, 8), (4096, 74)])
def test_reading_stops_at_a_structure_that_is_not_there(place: int, end: int) -> None:
    """``struct_end`` lies inside the data even where the structure block does not."""
    assert parse(fdt(off_dt_struct=place)).struct_end == end


def test_where_a_structure_is_not() -> None:
    """The message says on which side of the data the structure block would lie."""
    assert messages(fdt(off_dt_struct=39)) == ["off_dt_struct 39 is inside the header"]
    assert "off_dt_struct 40 is after the data" in messages(fdt(totalsize=40, off_dt_struct=40))
    assert messages(fdt(off_dt_struct=75)) == ["off_dt_struct 75 is after the data"]


def test_strings_end_where_their_size_says() -> None:
    """The strings block has the size of the header; before version 3 it reaches to the end."""
    data = b"a\0junk"
    assert parse(fdt(strings=data, size_dt_strings=2)).strings == b"a\0"
    assert parse(fdt(strings=data, size_dt_strings=2, version=3)).strings == b"a\0"
    assert parse(fdt(strings=data, size_dt_strings=2, version=2)).strings == data


def test_no_more_reservations_than_the_limit() -> None:
    """As many reservations as the limit allows are read; one more ends the reading."""
    pairs = b"".join(struct.pack(">QQ", i, i) for i in (1, 2, 3))
    tail = fdt()[56:]
    head = bytearray(fdt(totalsize=122, off_dt_struct=104, off_dt_strings=120)[:40])
    blob = parse(bytes(head) + pairs + bytes(16) + tail, max_tokens=3)
    assert (blob.reservations, blob.problems) == ([(1, 1), (2, 2), (3, 3)], [])
    assert blob.complete
    head = bytearray(fdt(totalsize=138, off_dt_struct=120, off_dt_strings=136)[:40])
    more = pairs + struct.pack(">QQ", 4, 4)
    blob = parse(bytes(head) + more + bytes(16) + tail, max_tokens=3)
    assert blob.reservations == [(1, 1), (2, 2), (3, 3)]
    assert places(blob) == [("limit", 104)]
    assert blob.complete is False


def test_no_more_tokens_than_the_limit() -> None:
    """As many tokens as the limit allows are read, and none behind them."""
    data = inside(3, 0, 0, 3, 0, 0)
    assert parse(data, max_tokens=5).complete
    blob = parse(data, max_tokens=2)
    assert len(own(blob)) == 1
    assert [problem.text for problem in blob.problems if problem.code == "limit"] == [
        "more than 2 tokens"
    ]


def test_no_more_levels_than_the_limit() -> None:
    """A tree of as many levels as allowed is whole; one level more is a problem."""
    data = fdt(words(1, 0, 1, 0x61000000, 1, 0x62000000, 2, 2, 2, 9))
    assert parse(data, max_depth=3).complete
    assert ("depth", 72) in places(parse(data, max_depth=2))
    assert len(fdt()) < len(data)
    deep = words(1, 0) + words(1, 0x61000000) * 63
    assert "depth" not in [code for code, _ in places(parse(fdt(deep + words(2) * 64 + words(9))))]
    deep += words(1, 0x61000000)
    assert "depth" in [code for code, _ in places(parse(fdt(deep + words(2) * 65 + words(9))))]


def test_long_names_are_cut() -> None:
    """A name of the longest length is whole; a longer one is cut, and a node's is then lost."""
    node = fdt(words(1, 0, 1, 0x61626300, 2, 2, 9))
    assert parse(node, max_name=3).problems == []
    blob = parse(node, max_name=2)
    assert places(blob) == [("name-too-long", 64)]
    assert (blob.complete, blob.root is not None) == (False, True)
    assert [p.text for p in blob.problems] == ["a node name of 3 bytes is cut to 2"]
    item = fdt(words(1, 0, 3, 0, 0, 2, 9), b"abc\0")
    assert parse(item, max_name=3).problems == []
    blob = parse(item, max_name=2)
    assert places(blob) == [("name-too-long", 64)]
    assert (blob.complete, [p.name for p in own(blob)]) == (True, ["ab"])
    name = b"p" * 256
    assert parse(fdt(words(1, 0, 3, 0, 0, 2, 9), name + b"\0")).problems == []
    assert places(parse(fdt(words(1, 0, 3, 0, 0, 2, 9), name + b"p\0"))) == [("name-too-long", 64)]


@pytest.mark.parametrize(("strings", "place"), [(b"abc", 0), (b"abc", 3), (b"a\0", 2), (b"", 0)])
def test_a_property_name_without_an_end(strings: bytes, place: int) -> None:
    """A name that runs out of a block that is all there is a problem at its offset, and lost."""
    blob = parse(fdt(words(1, 0, 3, 0, place, 2, 9), strings), max_name=3)
    assert places(blob) == [("bad-offset", 72)]
    assert [(item.name, item.recovered) for item in own(blob)] == [("", True)]


def test_names_lost_with_the_end_of_a_capture() -> None:
    """What a cut took away is one problem; only a name outside the block is one of its own."""
    data = fdt(words(1, 0, 3, 0, 1, 3, 0, 1, 3, 0, 2, 2, 9), b"abcd\0")
    cut = data[:-3]
    assert places(parse(cut)) == [("truncated", len(cut))]
    assert [(item.name, item.recovered) for item in own(parse(cut))] == [("", True)] * 3
    beyond = fdt(words(1, 0, 3, 0, 5, 3, 0, 5, 2, 9), b"abcd\0")[:-3]
    assert places(parse(beyond)) == [("bad-offset", 72), ("truncated", len(beyond))]


def test_a_cut_root_of_a_kernel() -> None:
    """Nothing but the cut is reported where a capture ends before the strings."""
    found = places(parse(ROOT_6_19[:224]))
    assert found == [("truncated", 224), ("strings-missing", 224)]


def test_an_empty_property_name() -> None:
    """The empty name at the start of the strings block is a name, not a lost one."""
    blob = parse(fdt(words(1, 0, 3, 0, 0, 2, 9), b"\0"))
    assert places(blob) == [("name-empty", 64)]
    assert [(item.name, item.recovered) for item in own(blob)] == [("", False)]


def test_names_of_properties_are_checked() -> None:
    """A bad property name is reported where the name is first used."""
    blob = parse(fdt(words(1, 0, 3, 0, 0, 3, 0, 2, 2, 9), b"/\0\xe9\0"))
    assert places(blob) == [("slash-in-name", 64), ("name-not-ascii", 76)]
    assert [item.name for item in own(blob)] == ["/", "\xe9"]


def test_messages_show_the_start_of_a_name() -> None:
    """Whatever a name holds, a message shows 40 characters of it."""
    name, shown = "n" * 50, "n" * 40
    node = words(1) + name.encode() + bytes(2)
    twice = node + words(2) + node + words(2)
    assert messages(fdt(words(1, 0) + twice + words(2, 9))) == [
        f"node '{shown}' appears again in the same node"
    ]
    assert messages(fdt(node + words(2, 9))) == [f"the root node is named '{shown}'"]
    assert messages(fdt(words(1, 0) + node)) == [
        f"the structure ends inside node '{shown}', 2 levels deep"
    ]
    for mark, text in (("/", "has a slash"), ("\1", "is not printable ASCII")):
        node = words(1) + (name[:40] + mark + "x" * 9).encode() + bytes(2)
        assert messages(fdt(words(1, 0) + node + words(2, 2, 9))) == [f"node name '{shown}' {text}"]


@pytest.mark.parametrize("count", [1000, 1001, 1003])
def test_a_full_list_of_problems(count: int) -> None:
    """A thousand remarks are listed; one line counts the others."""
    blob = parse(fdt(words(3, 0, 0) * count + ROOT))
    remarks = [("property-outside-node", 56 + 12 * i) for i in range(min(count, 1000))]
    more = [f"{count - 1000} more problems are not listed"] if count > 1000 else []
    assert places(blob)[: len(remarks)] == remarks
    assert [problem.text for problem in blob.problems[len(remarks) :]] == more


@given(st.binary(max_size=120), st.sampled_from(range(4, 40, 4)), st.integers(0, 200))
def test_problems_are_in_order(tail: bytes, field: int, value: int) -> None:
    """Problems of all blocks stand in the order of their offsets."""
    data = bytearray(fdt(tail))
    struct.pack_into(">I", data, field, value)
    offsets = [problem.offset for problem in parse(data).problems]
    assert offsets == sorted(offsets)
