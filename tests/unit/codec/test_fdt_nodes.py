"""Device trees by definitions of any form: bytes, lists, names that are numbers, and bounds."""

from __future__ import annotations

import numpy as np
import pytest

from khotool.abi.definition import Definition
from khotool.abi.load import load_definition
from khotool.abi.registry import Registry
from khotool.absent import Absent
from khotool.codec.contexts import Walk
from khotool.codec.recover import recover_names, root_definition
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property
from khotool.fdt.parse import parse
from khotool.fdt.write import build_sequential
from khotool.limits import Limits
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import NodeKind
from tests.unit.codec.walks import walk_blob, walk_over

PLACE = 0x40_0000
TEXT = """
id = "mine"
title = "t"
kind = "root"
content = "fdt"
status = "local"
match = { compatible = "mine" }

[fdt.properties]
compatible = { type = "string" }
blob       = { type = "bytes", optional = true }
pairs      = { type = "pair[]", optional = true }
"""
PAIR = """
[struct.pair]
size = 8
layout = '''
u32 a;
u32 b;
'''
"""
NODES = """
[fdt.nodes]
as = "items"
name = { name = "item", type = "NAME" }

[fdt.nodes.properties]
value = { type = "u32" }
"""
LISTED = """
[fdt.any_property]
name = "each"
as = "each"
type = "u32"
"""


def definition(*more: str) -> Definition:
    return load_definition("".join((TEXT, *more, PAIR)).encode(), "mine.toml")


def root(*items: Property | FdtNode) -> FdtNode:
    return FdtNode("", items=[Property("compatible", b"mine\0"), *items])


def walked(
    kind: Definition, tree: FdtNode, *, captured: bool = True, limits: Limits | None = None
) -> Walk:
    """A walk over a tree of that definition, in memory or only at hand."""
    data = build_sequential(tree)
    space = OverlaySpace(None, [(PLACE, data)] if captured else [])
    return walk_blob(walk_over(space, Registry([kind]), limits=limits), parse(data), PLACE)


# -- properties ------------------------------------------------------------------------------


def test_property_of_bytes() -> None:
    """Bytes are kept as they stand, whatever their number."""
    for value in (b"", b"\0\xff\1"):
        made = walked(definition(), root(Property("blob", value)))
        assert made.recorder.tree.value_of("blob") == value
        assert made.recorder.findings == []


def test_structs_of_a_tree_that_is_not_in_memory() -> None:
    """Structs in a property stay unread where only the tree is at hand, not its memory."""
    pairs = Property("pairs", np.arange(4, dtype="<u4").tobytes())
    inside = walked(definition(), root(pairs)).recorder.tree.get("pairs")
    assert inside is not None
    assert inside.table is not None
    assert inside.table.column("b").tolist() == [1, 3]
    outside = walked(definition(), root(pairs), captured=False).recorder.tree.get("pairs")
    assert outside is not None
    assert (outside.kind, outside.table) == (NodeKind.VALUE, None)


def test_list_of_properties_is_bounded() -> None:
    """A list of properties ends where the limit of nodes does, and says so once."""
    kind = definition(LISTED)
    tree = root(*(Property(f"p{n}", n.to_bytes(4, "little")) for n in range(9)))
    whole = walked(kind, tree).recorder.tree.get("each")
    assert whole is not None
    assert [node.value_of("each") for node in whole.elements()] == list(range(9))
    made = walked(kind, tree, limits=Limits(nodes=4))
    part = made.recorder.tree.get("each")
    assert part is not None
    assert [node.key for node in part.elements()] == ["p0", "p1", "p2", "p3"]
    assert [f.rule for f in made.recorder.findings] == ["LIM001"]


# -- nodes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("0x1f", "0x1f", 0x1F),
        ("1f", "0x1f", 0x1F),
        ("ffffffffffffffff",) * 2 + ((1 << 64) - 1,),
        ("0x", "0x", None),
        ("1ffffffffffffffff", "1ffffffffffffffff", None),
        ("1F", "1F", None),
        ("vm", "vm", None),
    ],
)
def test_names_that_are_numbers(name: str, key: str, value: int | None) -> None:
    """A node's name is a number in hexadecimal of 64 bits, or text and a finding."""
    kind = definition(NODES.replace("NAME", "u64"))
    made = walked(kind, root(FdtNode(name, items=[Property("value", bytes(4))])))
    items = made.recorder.tree.get("items")
    assert items is not None
    (item,) = items.elements()
    shown = key if value is None or key.startswith("0x") else f"0x{key}"
    assert (item.key, item.value_of("item")) == (shown, name if value is None else value)
    text = f"node {name!r} is not a hexadecimal number"
    assert [f.message for f in made.recorder.findings] == ([text] if value is None else [])


def test_names_that_are_text() -> None:
    """Where names are text, digits are text too."""
    kind = definition(NODES.replace("NAME", "string"))
    made = walked(kind, root(FdtNode("1f", items=[Property("value", bytes(4))])))
    items = made.recorder.tree.get("items")
    assert items is not None
    assert [(item.key, item.value_of("item")) for item in items.elements()] == [("1f", "1f")]
    assert made.recorder.findings == []


def test_unknown_tree_is_bounded() -> None:
    """A tree of no definition is shown as far as the limit of nodes allows."""
    tree = FdtNode("", items=[Property("compatible", b"other\0")])
    tree.items += [FdtNode(f"n{n}", items=[Property("x", b"\1")]) for n in range(9)]
    whole, part = (walked(definition(), tree, limits=limits) for limits in (None, Limits(nodes=13)))
    shown = [
        sum(node.kind is NodeKind.RAW for node in made.recorder.tree.walk())
        for made in (whole, part)
    ]
    assert shown == [10, 2]
    assert [f.rule for f in part.recorder.findings] == ["ABI901", "LIM001"]
    assert [f.rule for f in whole.recorder.findings] == ["ABI901"]


# -- names that were lost --------------------------------------------------------------------


@pytest.mark.parametrize("more", ["", NODES.replace("NAME", "string")], ids=["root", "nodes"])
def test_names_by_the_definition_of_the_root(more: str) -> None:
    """Names come back where the root alone has properties, and where its nodes have some."""
    kind = definition(more)
    tree = root(Property("blob", b"12345678"), Property("pairs", bytes(8)))
    whole = parse(build_sequential(tree))
    short = parse(bytes(whole.data)[: whole.off_dt_struct + whole.size_dt_struct])
    assert root_definition(short, Registry([kind])) is kind
    # What is bytes or structs has no length of its own to be told by.
    assert recover_names(short, kind) == 1
    assert short.root is not None
    assert [prop.name for prop in short.root.properties] == ["compatible", "", ""]


def test_roots_whose_values_are_no_string_of_a_root() -> None:
    """Properties that were lost and hold no known string leave the root without a definition."""
    tree = FdtNode("", items=[Property("a", b"other\0"), Property("b", bytes(8))])
    whole = parse(build_sequential(tree))
    short = parse(bytes(whole.data)[: whole.off_dt_struct + whole.size_dt_struct])
    assert root_definition(short, Registry([definition()])) is None
    made = walk_blob(walk_over(OverlaySpace(None, []), Registry([definition()])), short, PLACE)
    assert "ABI901" in [f.rule for f in made.recorder.findings]
    assert isinstance(made.scene.map, Absent)
