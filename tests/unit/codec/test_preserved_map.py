"""Where a root says its map is: which of its properties lead there, and which do not."""

from __future__ import annotations

import pytest

from khotool.abi.definition import Definition
from khotool.abi.geometry import Geometry
from khotool.abi.load import load_definition
from khotool.abi.registry import Registry
from khotool.absent import Absent
from khotool.codec.preserved_map import map_has_root, read_map
from khotool.codec.scene import Scene
from khotool.discovery.geometry import fit, known_pages
from khotool.discovery.scan import Candidate
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property
from khotool.fdt.parse import parse
from khotool.fdt.write import build_sequential
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Image
from khotool.model.region import FdtRegion
from tests.builders import REGISTRY
from tests.unit.decode.fixture_images import good

PAGE = 4096
PLACE = 0x40_0000
BELOW = b"""
id = "below"
title = "t"
kind = "root"
content = "fdt"
status = "local"
match = { compatible = "below" }

[fdt.properties]
compatible = { type = "string" }
other      = { type = "u64" }

[fdt.node.first]
optional = true

[fdt.node.first.properties]
tree = { type = "u64", points_to = { shape = "radix" } }

[fdt.node.second.properties]
tree = { type = "u64", points_to = { shape = "radix" } }
"""
DEFINITION: Definition = load_definition(BELOW, "below.toml")


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def root_of(image: Image) -> FdtNode:
    region = next(r for r in image.regions if isinstance(r, FdtRegion) and r.path == "/")
    assert region.blob.root is not None
    return region.blob.root


def preserved(image: Image) -> list[list[int]]:
    """Start and end of the preserved ranges, as the walk found them."""
    assert not isinstance(image.map, Absent)
    ranges: list[list[int]] = image.map.blocks.ranges().tolist()
    return ranges


def scene_of(image: Image) -> Scene:
    return Scene.of(image.space, image.registry, image.geometry)


def nested(value: bytes) -> FdtNode:
    """A root with the property of its map in a node."""
    second = FdtNode("second", items=[Property("tree", value)])
    return FdtNode("", items=[Property("compatible", b"below\0"), second])


# -- the map before the walk -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "7.2-everything",
        "6.18-regions-and-test",
        "kho-v1-graf-v3-ftrace",
        "kho-v1-order-table-regions",
        "kho-v1-yadav-tables-regions",
    ],
)
def test_map_of_every_form(name: str) -> None:
    """The map that a root alone leads to is the one that the walk finds, whatever its form."""
    image = good(name)
    definition = image.registry.get(image.tree.format)
    layout = next((c.layout for c in image.choices if c.definition == definition.id), "")
    layout = layout or next(iter(definition.layouts), "")
    found = read_map(scene_of(image), definition, root_of(image), layout)
    assert found is not None
    assert found.blocks.ranges().tolist() == preserved(image)
    assert len(found.blocks) > 0


def test_map_in_a_node_of_the_root() -> None:
    """A definition may have the pointer in a node; one that is missing is passed over."""
    image = good("7.2-everything")
    top = image.tree.value_of("memory_map")
    found = read_map(scene_of(image), DEFINITION, nested(number(top)))
    assert found is not None
    assert found.blocks.ranges().tolist() == preserved(image)


@pytest.mark.parametrize("value", [b"", bytes(7), bytes(16)], ids=["none", "odd", "two"])
def test_pointer_of_a_wrong_length(value: bytes) -> None:
    """What is not one address leads to no map."""
    scene = Scene.of(OverlaySpace(None, []), Registry([DEFINITION]), Geometry(PAGE))
    assert read_map(scene, DEFINITION, nested(value)) is None
    assert read_map(scene, DEFINITION, FdtNode("")) is None


def test_root_in_its_own_map() -> None:
    """A map has the root in a block of one page, or not; without a root, or its place, neither."""
    image = good("7.2-everything")
    scene, definition = scene_of(image), image.registry.get(image.tree.format)
    assert image.tree.span is not None
    place = image.tree.span.address
    assert map_has_root(scene, definition, root_of(image), place)
    assert not map_has_root(scene, definition, root_of(image), place + PAGE)
    assert not map_has_root(scene, definition, None, place)
    assert not map_has_root(scene, definition, root_of(image), None)
    assert not map_has_root(scene, definition, FdtNode(""), place)


# -- page size and byte order by the map -----------------------------------------------------


def candidate(root: FdtNode) -> Candidate:
    return Candidate(PLACE, parse(build_sequential(root)), "")


def test_roots_that_tell_no_page_size() -> None:
    """A root of no known string, or without a node, speaks for no page size."""
    space = OverlaySpace(None, [])
    unknown = candidate(FdtNode("", items=[Property("compatible", b"kho-v99\0")]))
    empty = Candidate(PLACE, parse(build_sequential(FdtNode(""))[:56]), "")
    assert empty.blob.root is None
    for roots in ([], [unknown], [empty], [unknown, empty]):
        assert fit(Scene.of(space, REGISTRY, Geometry(PAGE)), roots) == (0, 0)


def test_pages_that_are_known() -> None:
    """The root's own page, and what eight bytes in its nodes may name; small numbers are none."""
    entry = FdtNode(
        "LUO",
        items=[
            Property("fdt", number(PLACE + PAGE)),
            Property("size", number(32)),
            Property("text", b"12345678\0"),
        ],
    )
    one = candidate(FdtNode("", items=[Property("map", number(PLACE + 2 * PAGE)), entry]))
    assert known_pages(one, Geometry(PAGE)) == [PLACE, PLACE + PAGE]
    empty = Candidate(PLACE, parse(build_sequential(FdtNode(""))[:56]), "")
    assert known_pages(empty, Geometry(PAGE)) == [PLACE]
