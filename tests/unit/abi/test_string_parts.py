"""Strings of several parts: the record grows with the string, and little is kept of them."""

from __future__ import annotations

import pytest

from khotool.abi.composite import MAX_LENGTH, first_part, stretched
from khotool.abi.definition import Definition, Kind
from khotool.abi.geometry import Geometry
from khotool.abi.index import MAX_STRETCHED, Registry
from khotool.abi.load import load_definition
from khotool.abi.record import decode_record, encode_record
from khotool.errors import UsageError

TEXT = """
id = "x-v1"
title = "X"
kind = "entry"
content = "x_ser"
status = "local"
match = { compatible = "x-v1", entry = "X" }

[struct.x_ser]
size = 16
layout = '''
char string[8];
u64 n;
'''

[struct.x_ser.fields]
string = { value = "x-v1" }

[struct.y]
size = 1
layout = '''
u8 a;
'''
"""


def definition_of(text: str = TEXT) -> Definition:
    return load_definition(text.encode(), "x.toml")


@pytest.mark.parametrize(
    ("string", "first"), [("a;b;c", "a"), ("a", "a"), (";b", ""), ("", ""), ("a;", "a")]
)
def test_the_first_part_is_the_version(string: str, first: str) -> None:
    """What stands before the first separator."""
    assert first_part(string) == first


@pytest.mark.parametrize(
    ("string", "width"),
    [
        ("x-v1;", 8),
        ("x-v1;ab", 8),
        ("x-v1;abc", 16),
        ("x-v1;block-v1", 16),
        ("x-v1;block-v1;a", 16),
        ("x-v1;block-v1;ab", 24),
        ("x-v1;" + "é" * 2, 16),
        ("x-v1;" + "a" * (MAX_LENGTH - 5), 256),
    ],
)
def test_a_record_is_as_long_as_its_string(string: str, width: int) -> None:
    """The string has a NUL and a multiple of eight bytes; what stood behind it still does."""
    made = stretched(definition_of(), string)
    assert made is not None
    assert (made.id, made.match) == (string, {"compatible": (string,), "entry": ("X",)})
    assert sorted(made.structs) == ["x_ser", "y"]
    compiled = Registry([made]).compile(made, "x_ser", Geometry())
    assert compiled.size == width + 8
    assert [(f.field.name, f.offset) for f in compiled.fields] == [("string", 0), ("n", width)]
    assert made.structs["x_ser"].fields[0].value == string
    data = encode_record(compiled, {"string": string, "n": 7}, "/")
    assert decode_record(compiled, data) == {"string": string, "n": 7}


@pytest.mark.parametrize(
    ("text", "string"),
    [
        (TEXT, "x-v1"),
        (TEXT, "y-v1;a"),
        (TEXT, "x-v1;\0"),
        (TEXT, "x-v1;\ud800"),
        (TEXT, "x-v1;" + "a" * (MAX_LENGTH - 4)),
        (TEXT.replace('content = "x_ser"', 'content = "none"'), "x-v1;a"),
        (TEXT.replace('content = "x_ser"', 'content = "y"'), "x-v1;a"),
        (TEXT.replace("char string", "u8 string"), "x-v1;a"),
        (TEXT.replace('value = "x-v1"', 'value = "x-v2"'), "x-v1;a"),
        (TEXT.replace("size = 16", 'size = "page"'), "x-v1;a"),
    ],
)
def test_strings_that_stretch_nothing(text: str, string: str) -> None:
    """One part, another version, what no string can hold, and records without a string in front."""
    assert stretched(definition_of(text), string) is None


def test_a_registry_stretches_on_demand() -> None:
    """A longer string is found by its first part, in entries and by id."""
    registry = Registry([definition_of()])
    found = registry.get("x-v1;block-v1")
    assert found is registry.get("x-v1;block-v1")
    assert found.id == "x-v1;block-v1"
    assert registry.candidates(Kind.ENTRY, "compatible", "x-v1;other") == (registry.get("x-v1"),)
    assert registry.match(Kind.ENTRY, "compatible", "y-v1;other") is None
    assert registry.stretched("y-v1;a") is None
    with pytest.raises(UsageError, match="no format 'y-v1;a'"):
        registry.get("y-v1;a")
    assert [definition.id for definition in registry] == ["x-v1"]


def test_one_that_cannot_stretch_leaves_it_to_the_next() -> None:
    """Of several definitions of a string, the first that begins with it is used."""
    none = definition_of(TEXT.replace('id = "x-v1"', 'id = "a"').replace("x_ser", "y", 1))
    registry = Registry([none, definition_of()])
    assert registry.get("x-v1;b").structs["x_ser"].size == 16
    assert [d.id for d in registry.candidates(Kind.ENTRY, "compatible", "x-v1;b")] == ["a", "x-v1"]


def test_few_stretched_definitions_are_kept() -> None:
    """An image of many strings costs no more than a few; the oldest goes with what it compiled."""
    registry = Registry([definition_of()])
    first = registry.get("x-v1;0")
    compiled = registry.compile(first, "x_ser", Geometry())
    other = registry.compile(registry.get("x-v1"), "x_ser", Geometry())
    for number in range(1, MAX_STRETCHED):
        registry.get(f"x-v1;{number}")
    assert registry.get("x-v1;0") is first
    assert registry.compile(first, "x_ser", Geometry()) is compiled
    registry.get("x-v1;more")
    assert registry.get("x-v1;1") is not None
    again = registry.get("x-v1;0")
    assert again == first
    assert again is not first
    assert registry.compile(again, "x_ser", Geometry()) is not compiled
    assert registry.compile(registry.get("x-v1"), "x_ser", Geometry()) is other
