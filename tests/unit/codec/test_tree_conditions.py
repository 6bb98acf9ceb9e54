"""Signs in device trees and in the arrays that they and records lead to."""

from __future__ import annotations

import pytest

from khotool.abi.definition import Condition, Definition
from khotool.abi.geometry import Geometry
from khotool.abi.load import load_definition
from khotool.abi.registry import Registry
from khotool.codec import tree_conditions
from khotool.codec.conditions import Evidence, describe, holds
from khotool.codec.scene import Scene
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property
from khotool.memory.overlay import OverlaySpace

PAGE = 4096
ARRAY = 0x10_0000
NOWHERE = 0xDEAD_0000
TEXT = b"""
id = "signs"
title = "t"
kind = "entry"
content = "fdt"
status = "local"
match = { compatible = "signs" }

[fdt.properties]
count   = { type = "u64" }
rows    = { type = "pair[]" }
counted = { type = "u64", points_to = COUNTED }
alone   = { type = "u64", points_to = { shape = "array", of = "pair", pages = 1 } }
record  = { type = "u64", points_to = { shape = "record", of = "pair" } }

[fdt.node.below.properties]
rows = { type = "pair[]" }

[struct.head]
size = 8
layout = '''
u64 count;
'''

[struct.pair]
size = 16
layout = '''
u64 at;
u64 size;
'''
""".replace(b"COUNTED", b'{ shape = "array", of = "pair", header = "head", count = "count" }')
DEFINITION: Definition = load_definition(TEXT, "signs.toml")


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def seen(sign: Condition, tree: FdtNode | None, memory: bytes = b"") -> bool:
    """Whether a sign is there, with some bytes at the place of the array."""
    space = OverlaySpace(None, [(ARRAY, memory)])
    scene = Scene.of(space, Registry([DEFINITION]), Geometry(PAGE))
    return holds(scene, DEFINITION, sign, Evidence(tree))


def tree(name: str, value: bytes) -> FdtNode:
    """A tree with one property."""
    return FdtNode("", items=[Property(name, value)])


# -- structs in a property -------------------------------------------------------------------

ALIGNED = Condition(has="rows", field="at", aligned=True)


@pytest.mark.parametrize(
    ("value", "there"),
    [
        (number(PAGE) + number(1), True),
        (number(PAGE) + number(1) + number(2 * PAGE) + number(1), True),
        (number(PAGE) + number(1) + number(8) + number(1), False),
        (number(PAGE) + number(1) + bytes(4), False),
        (b"", False),
    ],
    ids=["one", "two", "one of two", "more than structs", "none"],
)
def test_structs_of_a_property(value: bytes, there: bool) -> None:
    """All structs of a property have to be as the sign says; none, or part of one, is no sign."""
    assert seen(ALIGNED, tree("rows", value)) is there


def test_structs_that_the_definition_does_not_have() -> None:
    """A property of plain numbers, or of no definition, has no structs to look at."""
    structs = number(PAGE) + number(1)
    for name in ("count", "other", "below/other", "nowhere/rows"):
        sign = Condition(has=name, field="at", aligned=True)
        *steps, last = name.split("/")
        root = tree(last, structs)
        for step in steps:
            root = FdtNode("", items=[FdtNode(step, items=list(root.items))])
        assert not seen(sign, root)
    below = FdtNode("", items=[FdtNode("below", items=[Property("rows", structs)])])
    assert seen(Condition(has="below/rows", field="at", aligned=True), below)


def test_search_of_a_large_tree_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A property is looked for in so many nodes, and not found behind them."""
    nodes = [FdtNode(f"node{n}") for n in range(4)]
    nodes[3].items.append(Property("mem", b""))
    root = FdtNode("", items=list(nodes))
    sign = Condition(anywhere="mem")
    assert seen(sign, root)
    monkeypatch.setattr(tree_conditions, "MAX_NODES", 3)
    assert not seen(sign, root)


# -- ends of arrays --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "there"),
    [
        ((number(2) + bytes([7]) * 32).ljust(PAGE, b"\0"), True),
        ((number(1) + bytes([7]) * 32).ljust(PAGE, b"\0"), False),
        (number(1 << 20).ljust(PAGE, b"\0"), False),
        (b"", True),
        (number(2) + bytes([7]) * 32, True),
    ],
    ids=["ends", "goes on", "too long", "not captured", "end not captured"],
)
def test_array_ends_where_zeros_begin(memory: bytes, there: bool) -> None:
    """What stands behind as many records as the header counts; what nobody can know is no sign."""
    sign = Condition(has="counted", length=8, ends=True)
    assert seen(sign, tree("counted", number(ARRAY)), memory) is there


def test_array_of_nothing() -> None:
    """An address of 0 is an array without a record, which ends."""
    assert seen(Condition(has="counted", ends=True), tree("counted", number(0)))


@pytest.mark.parametrize("name", ["alone", "record", "count", "other"])
def test_ends_of_what_is_no_counted_array(name: str) -> None:
    """Without a counter, or an array at all, there is no end to look at."""
    sign = Condition(has=name, ends=True)
    assert not seen(sign, tree(name, number(ARRAY)), bytes(PAGE))


def test_ends_are_said() -> None:
    """A sign about the end of an array says so, in a tree and in a record."""
    assert describe(Condition(has="a", ends=True)) == (
        "the tree has a, and only zeros follow its array"
    )
    assert describe(Condition(field="files", ends=True)) == ("only zeros follow the end of files")
    assert describe(Condition(rows="sessions", field="files", ends=True)) == (
        "only zeros follow the end of files of all sessions"
    )
