"""Every shape has a codec with all directions, and is in an image that is encoded and decoded."""

from __future__ import annotations

import inspect

import pytest

from khotool.abi.definition import Definition, Field, NodeType, Shape
from khotool.codec.base import Codec, codec_of, codecs
from khotool.diff.compare import compare
from khotool.encode.fresh import build_fresh
from khotool.encode.lift import handover_of
from khotool.encode.reopen import image_of
from khotool.encode.sets import set_of
from khotool.fixture.recipe import build_fixture, find_fixtures
from khotool.model.image import Image
from tests.builders import REGISTRY
from tests.contract.repository import ROOT
from tests.strategies import meaning

DIRECTIONS = ("walk", "lift", "read", "build")


def fields_of(definition: Definition) -> list[Field]:
    """All fields and properties of a definition."""
    found = [f for s in definition.structs.values() for p in s.fields for f in p.parts or (p,)]
    stack: list[NodeType | None] = [definition.fdt]
    while stack:
        node = stack.pop()
        if node is not None:
            found += [*node.properties, *([node.any_property] if node.any_property else [])]
            stack += [*node.nodes.values(), node.any_node]
    return found


def shapes_of(image: Image) -> set[Shape]:
    """Shapes of the pointers that definitions which decoded something have."""
    return {f.points_to.shape for d in image.used for f in fields_of(d) if f.points_to is not None}


def images() -> list[Image]:
    """The image of every good recipe."""
    fixtures = find_fixtures([ROOT / "fixtures/good"])
    return [image_of(build_fixture(fixture, REGISTRY), REGISTRY) for fixture in fixtures]


@pytest.mark.parametrize("shape", list(Shape))
def test_every_shape_has_all_directions(shape: Shape) -> None:
    """A class of its own that implements each direction; none is left abstract."""
    codec = codec_of(shape)
    assert isinstance(codec, Codec)
    assert not inspect.isabstract(type(codec))
    for name in DIRECTIONS:
        assert getattr(type(codec), name) is not getattr(Codec, name), name


def test_no_codec_without_a_shape() -> None:
    """The registry has the shapes that definitions may name, and no others."""
    assert set(codecs()) == set(Shape)


def test_every_shape_makes_a_round_trip() -> None:
    """Lifted, laid out anew and decoded, recipes mean the same; together they have all shapes."""
    seen: set[Shape] = set()
    for image in images():
        handover = handover_of(image)
        moved = image_of(build_fresh(handover, set_of(image), REGISTRY), REGISTRY)
        # Page tables hold addresses, which a diff knows to leave out; a map is another elsewhere.
        same = meaning(handover_of(moved)) == meaning(handover)
        assert same or not compare(image, moved).changes, [d.id for d in image.used]
        seen |= shapes_of(image)
    assert seen == set(Shape)
