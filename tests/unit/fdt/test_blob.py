from __future__ import annotations

import pytest

from khotool.fdt.blob import Item, Node, Nop, Problem, Property


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
