"""Every shape has a codec, found by itself, in all the directions of bytes."""

from __future__ import annotations

import dataclasses

import pytest

from khotool.abi.definition import Definition, Field, FieldType, Reference, Shape
from khotool.abi.load import load_definition
from khotool.abi.registry import Registry
from khotool.codec.base import Codec, Use, codec_of, codecs
from khotool.codec.validate import pointer_faults
from tests.builders import REGISTRY

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
ONE: Definition = load_definition(TEXT, "one.toml")
WORD = FieldType("int", "u64", 8)


def faults(reference: Reference) -> list[str]:
    """Why a pointer beside fields ``a`` and ``b`` is not sound."""
    registry = Registry([*REGISTRY, ONE])
    use = Use(registry, ONE, Field("p", WORD), reference, frozenset({"a", "b", "p"}))
    return list(codec_of(reference.shape).validate(use))


@pytest.mark.parametrize("shape", Shape)
def test_every_shape_has_a_codec(shape: Shape) -> None:
    """The codec of a shape is found by the shape's name and walks in its own way."""
    codec = codecs()[shape]
    assert codec.shape is shape
    for direction in ("walk", "validate"):
        assert getattr(type(codec), direction) is not getattr(Codec, direction)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (Reference(Shape.RECORD), ["needs the struct of the record"]),
        (Reference(Shape.RECORD, of="pair"), []),
        (
            Reference(Shape.ARRAY, count="n"),
            ["needs the struct", "names 'n', which is not a field"],
        ),
        (Reference(Shape.ARRAY, of="pair", header="pair", count="a"), []),
        (
            Reference(Shape.ARRAY, of="pair", header="pair", count="n"),
            ["names 'n', which is not a field of pair"],
        ),
        (
            Reference(Shape.BLOCKS, of="pair", header="pair"),
            ["no field labelled 'next'", "no field labelled 'count'"],
        ),
        (Reference(Shape.TREE, format="two"), ["names the format 'two', which is not defined"]),
        (Reference(Shape.ELEMENT, of="none"), ["names 'none', which is not a struct"]),
        (Reference(Shape.PAGE_TABLE, level="l"), ["needs the struct", "names 'l'"]),
        (Reference(Shape.FOLIO, order="o"), ["names 'o'"]),
        (Reference(Shape.RANGE, size="s"), ["names 's'"]),
        (Reference(Shape.HANDLER, by="b"), []),
        (Reference(Shape.ENTRY, size="s"), ["names 's'"]),
        (Reference(Shape.OPAQUE), []),
        (Reference(Shape.FILE), []),
    ],
    ids=lambda value: str(value)[:40],
)
def test_validate(reference: Reference, expected: list[str]) -> None:
    """What a pointer names has to exist where its shape looks for it."""
    found = faults(reference)
    assert len(found) == len(expected)
    for text, part in zip(found, expected, strict=True):
        assert part in text


def test_shipped_definitions_are_sound() -> None:
    """No pointer of a shipped definition is unsound; one made so is, and is named."""
    assert [
        fault for definition in REGISTRY for fault in pointer_faults(definition, REGISTRY)
    ] == []
    memfd = REGISTRY.get("luo-v5")
    struct = memfd.structs[memfd.content]
    fields = tuple(
        dataclasses.replace(f, points_to=dataclasses.replace(f.points_to, of=""))
        if f.points_to is not None
        else f
        for f in struct.fields
    )
    broken = dataclasses.replace(
        memfd, structs={**memfd.structs, struct.name: dataclasses.replace(struct, fields=fields)}
    )
    places = [place for place, _ in pointer_faults(broken, REGISTRY)]
    assert places
    assert all(place.startswith(f"struct.{struct.name}.") for place in places)
