from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.fdt.blob import FdtError, Item, Node, Nop, Property
from khotool.fdt.parse import check, parse
from khotool.fdt.write import (
    build_open,
    build_read_write,
    build_sequential,
    emit,
    gaps,
)
from tests.unit.fdt.made import fdt
from tests.unit.fdt.real_blobs import ALL, READ_WRITE, ROOT_6_17, ROOT_7_1, SEQUENTIAL
from tests.unit.fdt.trees import flat, split_read_write, tidy_nodes, tidy_roots


def root_of(data: bytes) -> Node:
    root = parse(data).root
    assert root is not None
    return root


@pytest.mark.parametrize("name", ALL)
def test_emit_is_byte_exact(name: str) -> None:
    """A kernel's blob is written back byte for byte, and its model holds every byte."""
    blob = parse(ALL[name])
    assert gaps(blob) == []
    assert emit(blob) == ALL[name]


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_sequential_layout_is_the_kernels(name: str) -> None:
    """The tree alone is enough to rebuild what fdt_create .. fdt_finish wrote."""
    assert build_sequential(root_of(ALL[name])) == ALL[name]


@pytest.mark.parametrize("name", READ_WRITE)
def test_read_write_layout_is_the_kernels(name: str) -> None:
    """The tree alone is enough to rebuild a root that the kernel edited and packed."""
    assert build_read_write(*split_read_write(root_of(ALL[name]))) == ALL[name]


def test_read_write_from_the_calls_a_kernel_makes() -> None:
    """Subtrees and properties given in call order end up newest first."""
    initial = Node("", items=[Property("compatible", b"kho-v3\0"), Property("map", bytes(8))])
    added = [
        Node(name, items=[Property("preserved-data", bytes(8)), Property("blob-size", bytes(8))])
        for name in ("first", "second")
    ]
    blob = parse(build_read_write(initial, added))
    assert blob.root is not None
    assert (blob.off_mem_rsvmap, blob.off_dt_struct) == (40, 56)
    assert blob.strings == b"map\0compatible\0preserved-data\0blob-size\0"
    assert [child.name for child in blob.root.children] == ["second", "first"]
    names = [item.name for item in blob.root.children[0].properties]
    assert names == ["blob-size", "preserved-data"]
    assert [child.name for child in root_of(ROOT_7_1).children][-1] == "kexec-metadata"


def test_new_nodes_stand_before_older_children() -> None:
    """An added subtree follows the parent's properties and NOPs, before sequential children."""
    initial = Node("", items=[Property("p", b""), Nop(), Node("old")])
    blob = parse(build_read_write(initial, [Node("new", items=[Node("x"), Node("y")])]))
    assert blob.root is not None
    assert [type(item) for item in blob.root.items] == [Property, Nop, Node, Node]
    assert [child.name for child in blob.root.children] == ["new", "old"]
    assert [child.name for child in blob.root.children[0].children] == ["y", "x"]


def test_strings_share_tails_as_libfdt_does() -> None:
    """A name that ends an earlier string costs nothing; the match nearest the start wins."""
    items: list[Item] = [
        Property(name, b"") for name in ("size", "blob-size", "size", "ize", "start")
    ]
    blob = parse(build_sequential(Node("", items=items)))
    assert blob.root is not None
    assert blob.strings == b"start\0blob-size\0size\0"
    # The first "size" is older than the string it could share with later on.
    assert [item.name_offset for item in blob.root.properties] == [16, 6, 11, 12, 0]
    added = Node("n", items=[Property(name, b"") for name in ("size", "x-start", "start")])
    blob = parse(build_read_write(Node("", items=items), [added]))
    assert blob.root is not None
    assert blob.strings == b"start\0blob-size\0size\0x-start\0"
    offsets = {item.name: item.name_offset for item in blob.root.children[0].properties}
    assert offsets == {"size": 11, "x-start": 21, "start": 0}


def test_changed_value_is_written_in_place() -> None:
    """A value of the same length can be replaced in the model."""
    blob = parse(ROOT_6_17)
    assert blob.root is not None
    item = blob.root.get("preserved-memory-map")
    assert item is not None
    item.value = b"\xff" * 8
    out = emit(blob)
    changed = [i for i, (a, b) in enumerate(zip(ROOT_6_17, out, strict=True)) if a != b]
    assert changed
    assert item.value_offset <= changed[0] <= changed[-1] < item.value_offset + 8
    item.value = bytes(1024)
    with pytest.raises(FdtError, match="do not fit"):
        emit(blob)


def test_gaps_hold_what_the_model_does_not() -> None:
    """Dirty padding survives through gaps and only through gaps."""
    data = bytearray(ROOT_6_17)
    item = root_of(ROOT_6_17).get("compatible")
    assert item is not None
    data[40:48] = b"leftover"
    data[item.value_offset + len(item.value)] = 0xAA
    blob = parse(bytes(data))
    assert blob.complete
    assert gaps(blob) == [(40, b"leftover"), (item.value_offset + 7, b"\xaa")]
    assert emit(blob) == ROOT_6_17
    assert emit(blob, gaps(blob)) == bytes(data)
    with pytest.raises(FdtError):
        emit(blob, [(len(data), b"x")])


@pytest.mark.parametrize(
    "bad",
    [
        Node("", items=[Property("p" * 257, b"")]),
        Node("", items=[Property("p\0", b"")]),
        Node("", items=[Node("\u20ac")]),
        Node("", items=[Node("a\0b")]),
    ],
)
def test_names_that_cannot_be_written(bad: Node) -> None:
    """A name the format cannot hold is FdtError, from every writer."""
    calls: list[tuple[Node, list[Node]]] = [
        (bad, []),
        (Node(""), [Node("n", items=bad.items)]),
    ]
    for initial, added in calls:
        with pytest.raises(FdtError) as found:
            build_read_write(initial, added)
        assert found.value.offset == 0


def test_messages_show_the_start_of_a_name() -> None:
    """A message shows 40 characters of a name, however long it is."""
    long, shown = "n" * 300, "n" * 40

    def message(*items: Item, added: Node | None = None) -> str:
        with pytest.raises(FdtError) as found:
            build_read_write(Node("", items=list(items)), [added] if added is not None else [])
        assert found.value.offset == 0
        return found.value.reason

    assert message(Property(long, b"")) == (f"property name '{shown}' has more than 256 bytes")
    assert message(Node(shown + "\u20ac")) == f"name '{shown}' is not latin-1"
    assert message(Node(shown + "\0")) == f"name '{shown}' holds a NUL"
    twice = Node(long, items=[Node("a"), Node("a")])
    assert message(added=twice) == f"node '{shown}' uses a name twice"
    assert message(Node("a"), added=Node("a")) == "-FDT_ERR_EXISTS: node 'a' is already there"
    assert message(added=Node("a", items=[Nop()])).endswith("write no FDT_NOP")


def test_names_at_the_limit() -> None:
    """A property name of 256 bytes is written; an empty one shares the end of another."""
    items: list[Item] = [Property("p" * 256, b""), Property("", b"")]
    blob = parse(build_sequential(Node("", items=items)))
    assert blob.strings == b"p" * 256 + b"\0"
    assert [item.name_offset for item in root_of(blob.data).properties] == [0, 256]


def test_an_incomplete_blob_is_not_written() -> None:
    """Any sign that a part of the blob is missing is enough to refuse."""
    whole = parse(ROOT_6_17)
    for lacking in (
        replace(whole, complete=False),
        replace(whole, root=None),
        replace(whole, totalsize=whole.totalsize + 4),
    ):
        for write in (emit, gaps):
            with pytest.raises(FdtError, match="incomplete tree") as found:
                write(lacking)
            assert found.value.offset == whole.struct_end


def test_gaps_are_as_short_as_they_can_be() -> None:
    """One byte that the model holds parts two gaps."""
    data = bytearray(ROOT_6_17)
    data[40], data[42], data[43] = 1, 2, 3
    blob = parse(bytes(data))
    assert gaps(blob) == [(40, b"\1"), (42, b"\2\3")]
    with pytest.raises(FdtError, match="do not fit"):
        emit(blob, [(-1, b"x")])


def test_an_older_header_is_shorter() -> None:
    """Bytes behind the header of an older version are no header."""
    data = bytes(fdt(version=16, size_dt_struct=0xAABBCCDD))
    blob = parse(data)
    assert gaps(blob) == [(36, b"\xaa\xbb\xcc\xdd")]
    assert emit(blob, gaps(blob)) == data


@pytest.mark.parametrize(
    "added",
    [
        [Node("n"), Node("n")],
        [Node("old")],
        [Node("n", items=[Nop()])],
        [Node("n", items=[Property("p", b""), Property("p", b"")])],
        [Node("n", items=[Node("p"), Node("p")])],
    ],
)
def test_calls_that_libfdt_refuses(added: list[Node]) -> None:
    """What fdt_add_subnode and fdt_setprop cannot produce is refused."""
    with pytest.raises(FdtError):
        build_read_write(Node("", items=[Node("old")]), added)


@given(tidy_roots)
def test_no_addition_stays_sequential(root: Node) -> None:
    """A tree that was never opened keeps the sequential layout."""
    assert build_read_write(root, []) == build_sequential(root)


@given(st.lists(tidy_nodes, min_size=1, max_size=3, unique_by=lambda node: node.name))
def test_split_undoes_read_write(added: list[Node]) -> None:
    """Splitting a parsed root gives the calls that built it, so a rebuild is exact."""
    data = build_read_write(Node("", items=[Property("compatible", b"x\0")]), added)
    blob = parse(data)
    assert (blob.problems, check(blob), emit(blob), gaps(blob)) == ([], [], data, [])
    assert blob.root is not None
    initial, calls = split_read_write(blob.root)
    assert build_read_write(initial, calls) == data
    assert [flat(node) for node in calls] == [flat(node) for node in added]


@pytest.mark.skipif(shutil.which("fdtdump") is None, reason="fdtdump is not installed")
@pytest.mark.parametrize("name", ALL)
def test_fdtdump_reads_the_same_names(name: str) -> None:
    """An independent reader finds the nodes of the rebuilt blob in the same order."""
    data = emit(parse(ALL[name]))
    run = subprocess.run(
        ["fdtdump", "/dev/stdin"], input=data, capture_output=True, timeout=10, check=True
    )
    lines = run.stdout.decode("latin-1").splitlines()
    nodes = [line.strip()[:-2] for line in lines if line.endswith(" {")]
    assert nodes == [node.name or "/" for _, node in root_of(data).walk()]


@pytest.mark.parametrize(("room", "size"), [(64, 256), (149, 149), (148, 296), (4096, 4096)])
def test_an_open_tree_has_room(room: int, size: int) -> None:
    """An edited tree that was not packed keeps its buffer, which doubles until the tree fits."""
    items: list[Item] = [Property("first", b"1"), Property("second", b"2"), Node("a"), Node("b")]
    data = build_open(Node("", items=items), room)
    assert len(data) == size
    assert data[149:] == bytes(size - 149)
    blob = parse(data)
    assert (blob.problems, check(blob), blob.complete, emit(blob)) == ([], [], True, data)
    assert (blob.totalsize, blob.off_mem_rsvmap, blob.off_dt_struct) == (size, 48, 64)
    # The newest stands first; strings stand in the order of the calls.
    assert blob.strings == b"first\0second\0"
    root = root_of(data)
    assert [item.name for item in root.properties] == ["second", "first"]
    assert [child.name for child in root.children] == ["b", "a"]
