"""Bytes with their meaning."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.decode.open import open_image
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property
from khotool.fdt.parse import parse
from khotool.fdt.write import build_sequential
from khotool.model.annotate import annotate, ranges_of, tree_marks
from khotool.model.image import Image
from khotool.model.lookup import find_node
from khotool.model.places import Places
from khotool.model.region import FdtRegion
from khotool.render.hex import hex_lines, hex_rows, plain_lines
from khotool.render.lines import plain
from tests.unit.decode.fixture_images import good

IMAGE = Path(__file__).parents[3] / "fixtures/real/linux-7.3.4/image.elf.xz"


@cache
def opened() -> tuple[Image, Places]:
    image = open_image(IMAGE)
    return image, Places(image)


def starts() -> list[int]:
    image, _ = opened()
    return [int(start) for start, _ in image.space.extents().tolist()]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_pieces_are_the_range(data: st.DataObject) -> None:
    """Pieces follow one another without gap, and their bytes are those of the capture."""
    image, places = opened()
    start = data.draw(st.sampled_from(starts())) + data.draw(st.integers(-5000, 5000))
    size = data.draw(st.integers(1, 20000))
    at = start
    for piece in annotate(image, places, start, size):
        assert piece.address == at
        assert piece.size > 0
        if piece.state == "data":
            assert piece.data == bytes(image.space.read(piece.address, piece.size))
        if piece.mark is not None:
            assert piece.mark.address <= piece.address
            assert piece.address + piece.size <= piece.mark.address + piece.mark.size
        at += piece.size
    assert at == start + size


def test_every_field_of_a_record() -> None:
    """A record's bytes are wholly its fields, in order."""
    image, places = opened()
    (span,) = ranges_of(find_node(image, "/LUO/sessions[vm-alpha]/files[0x1]/data"))
    marks = [p.mark for p in annotate(image, places, span.address, span.size)]
    names = [node.name for mark in marks if mark is not None for node in mark.nodes]
    assert names == [
        "pos",
        "size",
        "seals",
        "flags",
        "nr_folios",
        "first",
        "total_pages",
        "flags",
        "order",
    ]


def test_bit_fields_share_their_bytes() -> None:
    """The parts of a word stand on one row."""
    image, places = opened()
    node = find_node(image, "/LUO/sessions[vm-beta]/files[0x1]/data/folios")
    piece = next(annotate(image, places, ranges_of(node)[0].address, 16))
    assert piece.mark is not None
    assert [node.name for node in piece.mark.nodes] == ["pfn", "flags"]


def test_rows_of_bytes() -> None:
    """Rows of 8 and of 16 bytes have the digits and the letters of their bytes."""
    data = bytes(range(60, 83))
    for width in (8, 16):
        rows = list(hex_rows(0x1000, data, width))
        assert [row[0] for row in rows] == list(range(0x1000, 0x1000 + len(data), width))
        assert bytes.fromhex("".join(row[1] for row in rows)) == data
        assert "".join(row[2] for row in rows) == data.decode()


def test_zeros_and_holes_fold() -> None:
    """A page of zeros is two rows; a hole, however large, is one."""
    image, places = opened()
    pieces = list(annotate(image, places, 0x7E1150, 0x1000000))
    lines = list(plain(hex_lines(image, pieces[:1]), 100))
    assert len(lines) == 3
    assert lines[-1].startswith("*")
    assert len(list(plain(plain_lines(iter(pieces[1:2])), 100))) == 1


def test_range_of_a_value_that_names_a_record() -> None:
    """A value that names a record elsewhere stands for its own bytes, a pointer for its target."""
    image = good("7.4-frontier-devices")
    data = find_node(image, "/LUO/flbs[iommu-liveupdate]/data")
    named = find_node(image, f"{data.path}/device_array_phys[0]/domain_phys")
    assert named.target is not None
    assert ranges_of(named) == [named.span]
    assert ranges_of(data) == [data.target]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], ["reservations", "FDT_BEGIN_NODE /", "name of node /"]),
        (
            [Property("a", b"")],
            [
                "reservations",
                "FDT_BEGIN_NODE /",
                "name of node /",
                "FDT_PROP a, 0 bytes",
                "strings",
            ],
        ),
        (
            [Property("a", b"xyz"), FdtNode("n")],
            [
                "reservations",
                "FDT_BEGIN_NODE /",
                "name of node /",
                "FDT_PROP a, 3 bytes",
                "value of a",
                "FDT_BEGIN_NODE n",
                "name of node n",
                "strings",
            ],
        ),
    ],
    ids=["nothing", "no value", "a value and a node"],
)
def test_tokens_of_a_tree(items: list[Property | FdtNode], expected: list[str]) -> None:
    """A tree is marked token by token; what has no bytes has no mark."""
    blob = parse(build_sequential(FdtNode("", items=list(items))))
    marks = list(tree_marks(FdtRegion("/", 0x1000, blob)))
    assert [mark.text for mark in marks[10:]] == expected
    assert all(mark.size > 0 for mark in marks)
    (first,) = [mark for mark in marks if mark.text.startswith("totalsize")]
    assert (first.address, first.text) == (0x1004, f"totalsize {len(blob.data):#x}, big-endian")


def test_gaps_take_no_time() -> None:
    """A range up to 2^64 is cut into the pieces of the capture; each gap is one step."""
    image, places = opened()
    last = int(image.space.extents()[-1, 1])
    pieces = list(annotate(image, places, last - 16, (1 << 64) - last + 16))
    assert [(piece.size, piece.state) for piece in pieces[-1:]] == [((1 << 64) - last, "hole")]
    assert sum(piece.size for piece in pieces) == (1 << 64) - last + 16
