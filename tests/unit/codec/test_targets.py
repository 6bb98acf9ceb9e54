"""Pointers, counts and trees with one thing wrong: a finding with its rule, place and reason."""

from __future__ import annotations

from typing import Any

import pytest

from khotool.absent import Absent, Reason
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property
from khotool.limits import OpenOptions
from khotool.model.image import Image, NodeKind
from khotool.model.lookup import find_node
from tests.builders import decode, overlaid
from tests.unit.decode.fixture_images import NOWHERE, changed, good, options, replanted, told

ARRAYS, BLOCKS, TEST = "7.0-sessions-and-flbs", "7.2-everything", "6.18-regions-and-test"
SESSIONS = "/LUO/sessions"


def first_session(image: Image) -> str:
    return find_node(image, SESSIONS).elements()[0].path


# -- arrays and blocks -----------------------------------------------------------------------


def test_array_that_is_not_captured() -> None:
    """The pointer keeps its value, and a child says why there is no list."""
    image = changed(good(ARRAYS), (SESSIONS, NOWHERE))
    node = find_node(image, SESSIONS)
    assert (node.value, node.elements()) == (NOWHERE, [])
    target = find_node(image, f"{SESSIONS}/target").value
    assert isinstance(target, Absent)
    assert target.reason is Reason.NOT_CAPTURED
    ((rule, path, message),) = told(image, "MEM301")
    assert (rule, path) == ("MEM301", SESSIONS)
    assert message.startswith(f"{NOWHERE:#x}: ")


def test_array_whose_header_counts_too_many() -> None:
    """A count beyond the pages that the writer allocates is cut to what they hold."""
    image = changed(good(ARRAYS), (f"{SESSIONS}/header/count", 820))
    assert told(image, "REC403") == [("REC403", SESSIONS, "count is 820; 16 pages take 819")]
    assert len(find_node(image, SESSIONS).elements()) == 819


def test_array_of_a_sibling_that_is_not_captured() -> None:
    """Files of a session: counted beside the pointer, and not there."""
    path = f"{first_session(good(ARRAYS))}/files"
    image = changed(good(ARRAYS), (path, NOWHERE))
    ((_, where, message),) = told(image, "MEM301")
    assert (where, message.startswith(f"{NOWHERE:#x}: ")) == (path, True)
    assert find_node(image, path).elements() == []


def test_array_at_the_end_of_what_is_captured() -> None:
    """Records in front of the end are read, and the rest is not captured."""
    first = good(ARRAYS)
    top = int(first.space.extents()[-1, 1])
    session = first_session(first)
    record = bytes(first.space.read(int(find_node(first, f"{session}/files").value), 64))
    space = overlaid(first, [(top, record + bytes(36))], options(first))
    moved = changed(space, (f"{session}/files", top), (f"{session}/count", 3))
    files = find_node(moved, f"{session}/files")
    assert len(files.elements()) == 1
    assert told(moved, "MEM301") == [("MEM301", files.path, f"{top + 100:#x}: rest of the array")]


@pytest.mark.parametrize("name", [ARRAYS, BLOCKS])
def test_null_where_there_has_to_be_something(name: str) -> None:
    """A pointer that is 0 is a finding where the format wants an address, else an empty list."""
    image = good(name)
    file = find_node(image, f"{first_session(image)}/files").elements()[0].path
    damaged = changed(image, (f"{file}/data", 0))
    ((_, path, message),) = told(damaged, "REC408")
    assert path == f"{file}/data"
    assert message.endswith("needs an address here, found 0")
    session = first_session(image)
    empty = changed(image, (f"{session}/files", 0), (f"{session}/count", 0))
    assert told(empty, "REC408", "REC403") == []
    assert find_node(empty, f"{session}/files").elements() == []


def test_null_header_of_sessions() -> None:
    """The header of 6.19 to 7.1 has to be there."""
    assert told(changed(good(ARRAYS), (SESSIONS, 0)), "REC408") == [
        ("REC408", SESSIONS, "luo-session-header is 0")
    ]


def test_first_block_that_is_not_captured() -> None:
    """A list whose first block is not there is no list, and says so once."""
    image = changed(good(BLOCKS), (SESSIONS, NOWHERE))
    assert [path for _, path, _ in told(image, "MEM301")] == [SESSIONS]
    assert isinstance(find_node(image, f"{SESSIONS}/target").value, Absent)


def test_block_at_no_page() -> None:
    """A list that starts inside of a page is reported at the pointer."""
    address = int(find_node(good(BLOCKS), SESSIONS).value)
    image = changed(good(BLOCKS), (SESSIONS, address + 8))
    assert told(image, "REC401")[0][:2] == ("REC401", SESSIONS)


# -- vmalloc areas ---------------------------------------------------------------------------


def folios(image: Image) -> str:
    """Path of the table of the first file that has one."""
    return next(
        node.path
        for node in image.tree.walk()
        if node.table is not None and node.path.endswith("/folios") and len(node.table)
    )


def test_area_without_a_first_chunk() -> None:
    """Records that are counted, but nowhere."""
    path = folios(good(BLOCKS))
    number = find_node(good(BLOCKS), path.removesuffix("folios") + "nr_folios").value
    image = changed(good(BLOCKS), (f"{path}/first", 0))
    assert ("REC408", path, f"first is 0, but {number} records are declared") in told(image)
    table = find_node(image, path).table
    assert table is not None
    assert (len(table), table.declared) == (0, number)


def test_area_of_huge_order() -> None:
    """An order beyond all memory is a finding, and the area is read as single pages."""
    path = folios(good(BLOCKS))
    image = changed(good(BLOCKS), (f"{path}/order", 60))
    assert ("REC407", path, "order 60 is larger than any memory") in told(image)
    assert find_node(image, path).table is not None


def test_area_that_does_not_hold_its_records() -> None:
    """More records than the area's pages take."""
    path = folios(good(BLOCKS))
    counter = path.removesuffix("folios") + "nr_folios"
    image = changed(good(BLOCKS), (counter, 1 << 40))
    assert ("REC403", path, f"nr_folios is {1 << 40}; 1 pages hold 256") in told(image)
    table = find_node(image, path).table
    assert table is not None
    assert table.declared == 1 << 40
    assert len(table) <= 256


def test_area_of_another_size() -> None:
    """The chunks are held against total_pages."""
    path = folios(good(BLOCKS))
    image = changed(good(BLOCKS), (f"{path}/total_pages", 9))
    assert ("REC406", path, "total_pages is 9, the chunks name 1") in told(image)


def test_pages_of_an_area_that_are_not_captured() -> None:
    """Records of a page that is not there are counted in a note."""
    first = good(BLOCKS)
    path = folios(first)
    chunk = find_node(first, f"{path}/chunks[0]").span
    assert chunk is not None
    image = overlaid(first, [(chunk.address + 8, NOWHERE.to_bytes(8, "little"))], options(first))
    node = find_node(image, path)
    assert node.table is not None
    assert node.note == f"{node.table.declared} records are not captured"
    assert [where for _, where, _ in told(image, "MEM301")] == [path]


# -- trees -----------------------------------------------------------------------------------

REGION = "/memblock"


def test_tree_of_an_entry_without_magic() -> None:
    """The blob of an entry that has to be a tree, and is none."""
    first = good(TEST)
    target = find_node(first, REGION).target
    assert target is not None
    image = overlaid(first, [(target.address, b"nothing!")], options(first))
    message = f"no device tree at {target.address:#x}"
    assert told(image) == [("FDT101", REGION, message)]


def test_blob_that_is_not_captured() -> None:
    """The entry is absent with a reason, and the others are as they were."""
    first = good(TEST)
    image = changed(first, (f"{REGION}/address", NOWHERE))
    entry = image.entry("memblock")
    assert entry is not None
    assert isinstance(entry.value, Absent)
    assert [path for _, path, _ in told(image, "MEM301")] == [REGION]
    assert find_node(image, "/kho_test/magic").value == 0x4B484F21


def test_two_entries_of_one_name() -> None:
    """Each is decoded; the second is a finding."""

    def twice(root: FdtNode) -> None:
        root.items.append(root.children[0])

    image = replanted(good(TEST), "/", twice)
    name = image.entries[0].name
    assert told(image, "KHO208") == [("KHO208", f"/{name}", "two entries have this name")]
    assert [entry.name for entry in image.entries].count(name) == 2


def test_two_entries_of_one_name_in_the_root() -> None:
    """The same where entries stand in the root itself."""
    first = good("kho-v1-graf-v1-ftrace")

    def twice(root: FdtNode) -> None:
        entry = root.children[-1]
        root.items.append(entry)

    image = replanted(first, "/", twice)
    assert [rule for rule, _, _ in told(image, "KHO208")] == ["KHO208"]


def test_unknown_entry_in_the_root() -> None:
    """An entry without a definition keeps its properties as bytes."""

    def other(root: FdtNode) -> None:
        mine = FdtNode("mine")
        mine.items += [Property("compatible", b"mine-v1\0"), Property("x", b"\1\2")]
        inner = FdtNode("inner")
        inner.items.append(Property("y", b"\3"))
        mine.items.append(inner)
        root.items.append(mine)

    image = replanted(good("kho-v1-graf-v1-ftrace"), "/", other)
    assert told(image, "ABI902") == [("ABI902", "/mine", "no definition for 'mine-v1'")]
    assert find_node(image, "/mine").note == "unknown format"
    assert find_node(image, "/mine/x").value == b"\1\2"
    assert find_node(image, "/mine/inner/y").value == b"\3"


def test_properties_and_nodes_that_are_not_part_of_a_format() -> None:
    """What is missing, too much, or of another length: each with its own rule."""

    def odd(root: FdtNode) -> None:
        data = root.child("data")
        assert data is not None
        data.items = [item for item in data.properties if item.name != "csum"]
        root.items.append(Property("extra", b"x"))
        strange = FdtNode("strange")
        strange.items.append(Property("in", b"y"))
        root.items.append(strange)
        for item in root.properties:
            if item.name == "magic":
                item.value = b"\1\2\3"

    image = replanted(good(TEST), "/kho_test", odd)
    found = {rule: (path, message) for rule, path, message in told(image)}
    assert found["KHO201"] == ("/kho_test", "property 'csum' is missing")
    assert found["KHO202"] == ("/kho_test/magic", "magic: 3 bytes, expected 4")
    assert found["KHO205"] == ("/kho_test", "property 'extra' is not part of the format")
    assert found["KHO206"] == ("/kho_test", "node 'strange' is not part of the format")
    assert isinstance(find_node(image, "/kho_test/magic").value, Absent)
    assert find_node(image, "/kho_test/extra").value == b"x"
    assert find_node(image, "/kho_test/strange/in").kind is NodeKind.RAW


def test_node_that_is_missing() -> None:
    """A node that the format wants, in a tree without it."""

    def without(root: FdtNode) -> None:
        root.items = list(root.properties)

    image = replanted(good(TEST), "/kho_test", without)
    assert ("KHO201", "/kho_test", "node 'data' is missing") in told(image)


def test_string_of_a_node_that_is_not_known() -> None:
    """A node with a format of its own, of a version that has no definition."""

    def newer(root: FdtNode) -> None:
        for child in root.children:
            for item in child.properties:
                item.value = item.value.replace(b"luo-session-v2\0", b"luo-session-v9\0")

    image = replanted(good(ARRAYS), "/LUO", newer)
    ((_, path, message),) = told(image, "ABI901")
    assert (path, message) == ("/LUO", "no definition for node 'luo-session-v9'")
    assert find_node(image, "/LUO/luo-session/compatible").value == b"luo-session-v9\0"


def test_version_of_an_entry_that_is_not_known() -> None:
    """A known entry of an unknown version is kept as a raw tree."""

    def newer(root: FdtNode) -> None:
        root.items[0] = Property("compatible", b"luo-v9\0")

    image = replanted(good(ARRAYS), "/LUO", newer)
    assert told(image, "ABI901")[0][1:] == ("/LUO", "no definition for 'luo-v9'")
    assert find_node(image, "/LUO").note == "unknown format"
    assert find_node(image, "/LUO/compatible").value == b"luo-v9\0"


# -- records of entries ----------------------------------------------------------------------


def test_record_longer_than_its_blob() -> None:
    """A blob-size below the record's is a finding, and what is there is kept as bytes."""
    image = changed(good(BLOCKS), ("/LUO/size", 16))
    ((_, path, message),) = told(image, "KHO207")
    assert (path, message[:18]) == ("/LUO", "blob has 16 bytes,")
    target = find_node(good(BLOCKS), "/LUO").target
    assert target is not None
    there = bytes(good(BLOCKS).space.read(target.address, 16))
    assert find_node(image, "/LUO/bytes").value == there


def test_tree_longer_than_its_blob() -> None:
    """A blob-size below the tree's own length is a finding; the tree is read."""
    first = good(BLOCKS)
    target = find_node(first, REGION).target
    assert target is not None
    image = changed(first, (f"{REGION}/size", 8))
    assert told(image, "KHO207") == [
        ("KHO207", REGION, f"totalsize {target.size} is more than blob-size 8")
    ]
    assert find_node(image, f"{REGION}/regions[trace]/size").value == 128 << 10


def test_entry_that_abi_names() -> None:
    """--abi reads an entry by another definition, whatever its bytes say."""
    model: dict[str, Any] = {"abi": "7.2", "session": [{"name": "vm"}]}
    first = decode(model)
    target = find_node(first, "/LUO").target
    assert target is not None
    writes = [(target.address, b"luo-v7\0")]
    assert told(overlaid(first, writes), "ABI901")[0][1] == "/LUO"
    forced = overlaid(first, writes, OpenOptions(abi={"luo-v5": None}))
    assert find_node(forced, "/LUO").format == "luo-v5"
    assert [session.key for session in find_node(forced, SESSIONS).elements()] == ["vm"]
