from __future__ import annotations

import pytest
from hypothesis import given

from khotool.fdt.blob import Item, Node, Nop, Problem, Property
from khotool.fdt.parse import parse
from khotool.fdt.write import build_sequential, struct_bytes
from tests.unit.fdt.trees import wild_roots


def test_items_have_no_place_unless_read() -> None:
    """An item made by hand stands at offset 0, is known by name, and holds nothing."""
    assert Property("a", b"") == Property("a", b"", 0, 0, 0, False)
    assert Nop() == Nop(0)
    assert Node("a") == Node("a", 0, [])


def test_get_and_child_keep_to_their_kind() -> None:
    """A property and a node may share a name; NOPs are passed over."""
    item, node = Property("a", b"1"), Node("a")
    orders: list[list[Item]] = [[Nop(), item, node], [Nop(), node, item]]
    for items in orders:
        parent = Node("", items=items)
        assert parent.get("a") is item
        assert parent.child("a") is node
    assert Node("", items=[item]).child("a") is None
    assert Node("", items=[node]).get("a") is None


@pytest.mark.parametrize("item", [Property("a", b""), Nop(), Node("a"), Problem("a", 0, "b")])
def test_items_are_small(item: object) -> None:
    """What an image can have by the million carries no dictionary."""
    assert not hasattr(item, "__dict__")


def test_problems_can_be_collected() -> None:
    """Equal problems are one problem in a set."""
    assert len({Problem("a", 0, "b"), Problem("a", 0, "b")}) == 1


def test_a_node_spans_all_that_is_in_it() -> None:
    """From its begin token to its end token, whatever stands last in it."""
    inner = Node("deep", items=[Property("x", b"12345"), Nop()])
    middle = Node("abc", items=[Property("c", b"q\0"), inner])
    top = Node("", items=[middle, Node("sevenxx"), Node("")])
    blob = parse(build_sequential(top))
    assert blob.root is not None
    found = {}
    for _, node in blob.root.walk():
        raw = blob.data[node.tag_offset : node.tag_offset + node.size]
        assert (raw[:4], raw[-4:]) == (b"\0\0\0\1", b"\0\0\0\2")
        found[node.name] = node.size
    assert found["sevenxx"] == 16
    assert found["abc"] == 8 + 16 + found["deep"] + 4
    assert blob.root.tag_offset + blob.root.size + 4 == blob.struct_end


@given(wild_roots)
def test_a_node_knows_its_size(root: Node) -> None:
    """A node that was read has as many bytes as it takes to write it."""
    read = parse(build_sequential(root)).root
    assert read is not None
    for _, node in read.walk():
        assert node.size == len(struct_bytes(node))


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 8])
def test_padding_counts(length: int) -> None:
    """Names and values end at a multiple of four bytes, last of all items or not."""
    inner = Node("n" * length, items=[Property("p", bytes(length))])
    orders: list[list[Item]] = [[inner], [inner, Node("a")], [Node("a"), inner], [inner, Nop()]]
    for items in orders:
        made = parse(build_sequential(Node("", items=items))).root
        assert made is not None
        assert [node.size for _, node in made.walk()] == [
            len(struct_bytes(node)) for _, node in made.walk()
        ]
