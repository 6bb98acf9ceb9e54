"""Arrays behind records, and page tables: what is read where counts and places are wrong."""

from __future__ import annotations

import pytest

from khotool.absent import Absent, Reason
from khotool.limits import Limits, OpenOptions
from khotool.model.image import Image
from khotool.model.lookup import find_node
from tests.builders import overlaid
from tests.unit.decode.fixture_images import NOWHERE, changed, good, options, told

DEVICES = good("7.4-frontier-devices")
LOGS = good("7.4-frontier-log-and-poison")
DATA = "/LUO/sessions[vm]/files[0x10]/data"
FLB = "/LUO/flbs[iommu-liveupdate]/data"
DOMAIN = f"{FLB}/iommu_domain_array_phys[0]"


def top(image: Image) -> int:
    """Physical address behind all that the image has."""
    return int(image.space.extents()[-1, 1])


def moved(image: Image, pointer: str, size: int, *more: bytes) -> Image:
    """The image with the first bytes of a target moved to its end, and others behind them."""
    node = find_node(image, pointer)
    start = int(node.value)
    data = bytes(image.space.read(start, size)) + b"".join(more)
    space = overlaid(image, [(top(image), data)], options(image))
    return changed(space, (pointer, top(image)))


# -- arrays behind a record ------------------------------------------------------------------


def test_more_elements_than_memory() -> None:
    """A count that no memory holds: what is there is read, and the count is a finding."""
    image = moved(DEVICES, DATA, 8 + 48)
    path = f"{DATA}/hwpt_array"
    image = changed(image, (f"{DATA}/nr_hwpts", 500))
    table = find_node(image, path).table
    assert table is not None
    assert (len(table), table.declared) == (2, 500)
    assert told(image, "REC403") == [("REC403", path, "nr_hwpts is 500; 2 are there")]
    assert find_node(image, path).note == "498 records are not captured"


def test_elements_that_are_not_captured() -> None:
    """A record at the very end of memory: its array is absent, and empty."""
    image = moved(DEVICES, DATA, 8)
    path = f"{DATA}/hwpt_array"
    table = find_node(image, path).table
    assert table is not None
    assert (len(table), table.declared) == (0, 2)
    assert [(rule, where) for rule, where, _ in told(image, "MEM301")] == [("MEM301", path)]


def test_part_of_an_element() -> None:
    """Bytes that make no whole element are none."""
    image = moved(DEVICES, DATA, 8 + 20)
    path = f"{DATA}/hwpt_array"
    table = find_node(image, path).table
    assert table is not None
    assert len(table) == 0
    assert told(image, "REC403") == [("REC403", path, "nr_hwpts is 2; 0 are there")]


def test_no_elements() -> None:
    """A count of 0 is an empty table without a finding of its own."""
    image = changed(DEVICES, (f"{DATA}/nr_hwpts", 0))
    table = find_node(image, f"{DATA}/hwpt_array").table
    assert table is not None
    assert len(table) == 0
    assert told(image) == []


def test_log_that_ends_with_memory() -> None:
    """The bytes of a log that are there, how many are missing, and none at all."""
    span = find_node(LOGS, "/pstore-kho/buf").span
    assert span is not None
    head = span.address - int(find_node(LOGS, "/pstore-kho/address").value)
    for left in (5, 0):
        image = moved(LOGS, "/pstore-kho/address", head + left)
        node = find_node(image, "/pstore-kho/buf")
        if left:
            assert node.value == b"<0>Pa"
            assert told(image, "REC403") == [
                ("REC403", "/pstore-kho/buf", "21 bytes are counted; 5 are there")
            ]
        else:
            assert isinstance(node.value, Absent)
            assert node.value.reason is Reason.NOT_CAPTURED
            assert [where for _, where, _ in told(image, "MEM301")] == ["/pstore-kho/buf"]


def test_empty_log() -> None:
    """A log of no bytes has the value of no bytes."""
    image = changed(LOGS, ("/pstore-kho/buf_size", 0))
    assert find_node(image, "/pstore-kho/buf").value == b""


# -- page tables -----------------------------------------------------------------------------


def test_page_table_that_is_not_captured() -> None:
    """The domain is read, its tables are not there, and the pointer says so."""
    path = f"{DOMAIN}/top_table_phys"
    image = changed(DEVICES, (path, NOWHERE))
    assert [where for _, where, _ in told(image, "MEM301")] == [path]
    assert find_node(image, path).get("tables") is None


def test_page_table_of_level_0() -> None:
    """A level of leaves has no tables below it."""
    image = changed(DEVICES, (f"{DOMAIN}/top_level", 0))
    node = find_node(image, f"{DOMAIN}/top_table_phys")
    tables = node.get("tables")
    assert tables is not None
    assert tables.table is not None
    assert len(tables.table) == 512
    assert node.note.endswith(" pages")


def test_page_table_that_leads_to_itself() -> None:
    """A table in a circle is counted once, and reported."""
    first = int(find_node(DEVICES, f"{DOMAIN}/top_table_phys").value)
    entry = int.from_bytes(DEVICES.space.read(first, 8), "little")
    inner = entry & 0x000F_FFFF_FFFF_F000
    circle = (entry - inner) + first
    image = overlaid(DEVICES, [(first, circle.to_bytes(8, "little"))], options(DEVICES))
    found = [rule for rule, where, _ in told(image) if where == f"{DOMAIN}/top_table_phys"]
    assert "REC402" in found


# -- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["7.2-everything", "7.4-frontier-devices", "kho-array-sparse"])
@pytest.mark.parametrize("part", [1, 3, 8, 20, 60])
def test_walks_stop_anywhere(name: str, part: int) -> None:
    """However few nodes or bytes are allowed, what was read until then stands, and is reported."""
    first = good(name)
    nodes = sum(1 for _ in first.tree.walk())
    for limits in (Limits(nodes=nodes * part // 64), Limits(bytes=4096 * part // 4)):
        wanted = options(first)
        wanted.limits = limits
        image = overlaid(first, [], wanted)
        assert sum(1 for _ in image.tree.walk()) <= 2 * nodes
        if sum(1 for _ in image.tree.walk()) < nodes:
            assert "LIM001" in {finding.rule for finding in image.findings}


def test_chain_limit() -> None:
    """Lists are followed as far as the limit of links says."""
    image = overlaid(good("7.2-many-sessions"), [], OpenOptions(limits=Limits(chain=1)))
    sessions = find_node(image, "/LUO/sessions")
    assert sum(1 for node in sessions.children if node.name == "blocks") == 1
    assert any(where == "/LUO/sessions" for rule, where, _ in told(image, "LIM001", "REC402"))
