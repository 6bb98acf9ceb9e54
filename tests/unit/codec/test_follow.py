"""Pointers to single blocks, arrays whose count is lost, and handles that nothing describes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from khotool.abi.definition import Definition, Field, FieldType, Reference, Shape
from khotool.abi.load import load_definition
from khotool.abi.registry import Registry
from khotool.absent import Absent, Reason
from khotool.codec.contexts import Walk
from khotool.codec.follow import follow
from khotool.maps.preserved import MapPages, PreservedMap
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Node, NodeKind, Span
from khotool.model.lookup import find_node
from khotool.pages.blocks import Blocks
from tests.builders import REGISTRY, overlaid
from tests.unit.codec.walks import walk_over
from tests.unit.decode.fixture_images import changed, good, options, told

PLACE = 0x40_0000
TEXT = b"""
id = "one"
title = "t"
kind = "file"
content = "pair"
status = "local"
match = { compatible = "one" }

[struct.pair]
size = 16
layout = '''
u64 a;
u64 b;
'''
"""
DEFINITION: Definition = load_definition(TEXT, "one.toml")
FILES = "/LUO/sessions[vm]/files"


def walker(page: int = 4096, **given: Any) -> Walk:
    space = OverlaySpace(None, [(PLACE, bytes(range(48)))])
    return walk_over(space, Registry([*REGISTRY, DEFINITION]), page, **given)


def pointer(made: Walk, reference: Reference, value: int, role: str = "address") -> Node:
    """A value with a definition of its own, followed."""
    field = Field("p", FieldType("int", "u64", 8), role=role, points_to=reference)
    return made.recorder.tree.add(Node("p", NodeKind.VALUE, field=field, value=value))


# -- one folio -------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [4096, 65536])
@pytest.mark.parametrize(
    ("order", "pages"),
    [(None, 1), (0, 1), (3, 8), (60, 1), (Absent(Reason.UNPARSABLE, "short"), 1)],
    ids=["no order", "one page", "eight pages", "no order of any memory", "order is lost"],
)
def test_folio(order: object, pages: int, page: int) -> None:
    """A pointer to a folio leads to as many pages as its order says, by address or by number."""
    for role, value in (("address", PLACE), ("pfn", PLACE // page)):
        made = walker(page)
        reference = Reference(Shape.FOLIO, order="order" if order is not None else "")
        node = pointer(made, reference, value, role)
        assert node.field is not None
        follow(made, node, node.field, DEFINITION, {"order": order})
        assert node.target == Span(PLACE, pages * page)
        claims = made.recorder.claims.build()
        assert (claims.start.tolist(), claims.end.tolist()) == ([PLACE], [PLACE + pages * page])
        assert made.recorder.findings == []


@pytest.mark.parametrize("mapped", [True, False])
def test_block_of_no_description(mapped: bool) -> None:
    """Memory that nothing describes goes to the end of its preserved block, if there is one."""
    made = walker()
    if mapped:
        blocks = Blocks.from_runs(
            np.array([PLACE], np.uint64), np.ones(1, np.uint64), np.array([2], np.uint8), 12
        )
        found = PreservedMap("radix", blocks, MapPages.empty(), [], complete=True)
        made = made.knowing(made.scene.with_map(found))
    targets = []
    for value in (PLACE + 4096, PLACE - 4096):
        node = pointer(made, Reference(Shape.OPAQUE), value)
        assert node.field is not None
        follow(made, node, node.field, DEFINITION, {})
        targets.append(node.target)
    assert targets == [Span(PLACE + 4096, 3 * 4096) if mapped else None, None]


# -- arrays ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "rows"), [(3, 3), (0, 0), (Absent(Reason.UNPARSABLE, "3 bytes, expected 8"), 0)]
)
def test_array_counted_by_a_sibling(count: object, rows: int) -> None:
    """A list has as many records as are counted; where the count is lost, none is believed."""
    made = walker()
    node = pointer(made, Reference(Shape.ARRAY, of="pair", count="n"), PLACE)
    assert node.field is not None
    follow(made, node, node.field, DEFINITION, {"n": count})
    assert (node.kind, len(node.elements())) == (NodeKind.LIST, rows)
    assert node.target == Span(PLACE, 4096)
    assert made.recorder.findings == []


# -- handles ---------------------------------------------------------------------------------


def test_handle_of_a_format_without_content() -> None:
    """A handle that nobody has described is kept, and the block it may be in is the file's."""
    first = good("7.4-frontier-handles-alone")
    path = f"{FILES}[0x1]"
    block = int(find_node(first, f"{FILES}[0x3]/data").value)
    assert find_node(first, f"{path}/data").note == ""
    image = changed(first, (f"{path}/data", block))
    node = find_node(image, f"{path}/data")
    assert (node.value, node.format, node.note) == (block, "cpu_fh_v1", "unknown format")
    ownership = image.ownership()
    assert ownership is not None
    owners = {ownership.owners[number] for number in ownership.owners_of(block)}
    assert owners == {path, f"{FILES}[0x3]"}


UNKNOWN = b"mine-v1".ljust(48, b"\0")


def test_unknown_handler_read_as_the_user_says() -> None:
    """--abi ID reads the handles of handlers that no definition has; others are as they were."""
    first = good("7.2-everything")
    session = find_node(first, "/LUO/sessions").elements()[0].path
    path = next(
        file.path
        for file in find_node(first, f"{session}/files").elements()
        if file.value_of("handler") == "memfd-v2"
    )
    place = find_node(first, f"{path}/handler").span
    assert place is not None
    writes = [(place.address, UNKNOWN[: place.size])]
    unknown = overlaid(first, writes, options(first))
    assert told(unknown) == [("ABI904", f"{path}/data", "no definition for file handler 'mine-v1'")]
    assert find_node(unknown, f"{path}/data").note == "unknown handler"
    asked = options(first)
    asked.abi["memfd-v2"] = None
    forced = overlaid(first, writes, asked)
    assert told(forced) == []
    values = [
        [(node.name, node.value) for node in find_node(image, f"{path}/data").children]
        for image in (first, forced)
    ]
    assert values[0] == values[1]
    assert find_node(forced, f"{path}/data").format == "memfd-v2"


@pytest.mark.parametrize("string", [{}, {"by": Absent(Reason.UNPARSABLE, "no text")}])
def test_handle_whose_string_is_lost(string: dict[str, object]) -> None:
    """Without the string beside it a handle is read only as --abi says."""
    for abi, format_, note in (({}, "", "unknown handler"), ({"one": None}, "one", "")):
        made = walker(abi=dict(abi))
        node = pointer(made, Reference(Shape.HANDLER, kind="file", by="by"), PLACE)
        assert node.field is not None
        follow(made, node, node.field, DEFINITION, string)
        assert (node.format, node.note) == (format_, note)
        assert [f.rule for f in made.recorder.findings] == ([] if format_ else ["ABI904"])
        assert [child.name for child in node.children] == (["a", "b"] if format_ else [])
