"""Fields of records: fixed arrays with a counter, and findings with their numbers."""

from __future__ import annotations

import pytest

from khotool.abi.load import load_definition
from khotool.abi.registry import Registry
from khotool.codec.contexts import Walk
from khotool.codec.fields import record
from khotool.memory.overlay import OverlaySpace
from khotool.model.node import Node, NodeKind
from tests.builders import REGISTRY
from tests.unit.codec.walks import walk_over

PLACE = 0x40_0000
TEXT = b"""
id = "mine"
title = "t"
kind = "file"
content = "ser"
status = "local"
match = { compatible = "mine" }

[struct.ser]
size = 40
layout = '''
u64 nr;
struct part parts[2];
u64 count;
u64 rows;
'''
[struct.ser.fields]
nr = { counts = "parts" }
count = { counts = "rows" }
rows = { null = "empty", points_to = { shape = "array", of = "part", count = "count" } }

[struct.part]
size = 8
layout = "u64 mark;"
"""
MINE = load_definition(TEXT, "mine.toml")


def walked(*words: int) -> tuple[Walk, Node]:
    """A record of these words, walked."""
    data = b"".join(word.to_bytes(8, "little") for word in words)
    walk = walk_over(OverlaySpace(None, [(PLACE, data)]), Registry([*REGISTRY, MINE]))
    node = walk.recorder.tree.add(Node("ser", NodeKind.RECORD))
    record(walk, node, walk.scene.content(MINE), data, PLACE, MINE)
    return walk, node


@pytest.mark.parametrize("used", [0, 1, 2])
def test_elements_that_are_used(used: int) -> None:
    """A fixed array has the elements that are counted, and no fields of its own with none."""
    walk, node = walked(used, 7, 8, 0, 0)
    parts = node.get("parts")
    assert parts is not None
    assert parts.kind is NodeKind.LIST
    assert [child.key for child in parts.children] == ["0", "1"][:used]
    assert [child.value_of("mark") for child in parts.elements()] == [7, 8][:used]
    assert walk.recorder.findings == []


def test_numbers_of_a_finding() -> None:
    """What a sentence says of a count is beside it as numbers."""
    walk, _ = walked(0, 0, 0, 1000, PLACE)
    finding = walk.recorder.findings[0]
    assert finding.rule == "REC403"
    assert finding.data == {"count": 1000, "fits": 512}
