"""What a change of a definition means: breaking, compatible or cosmetic, and where."""

from __future__ import annotations

import hashlib

import pytest

from khotool.abi.definition import Definition
from khotool.abi.geometry import Geometry
from khotool.abi.load import load_definition
from khotool.abi.registry import Registry
from khotool.authoring.compare import Impact, compare_definitions
from tests.builders import REGISTRY

HEAD = 'title = "X"\nkind = "structure"\nstatus = "local"\nuses = ["kho_vmalloc"]\n'


def define(text: str, content: str = "none") -> Definition:
    """A definition whose id is its own: structs are compiled once for each id."""
    head = f'id = "x-{hashlib.sha256(text.encode()).hexdigest()}"\ncontent = "{content}"\n'
    return load_definition(f"{head}{HEAD}{text}".encode(), "x.toml")


def changes(old: Definition, new: Definition) -> list[str]:
    """One line for each change."""
    registry = Registry([*REGISTRY, old])
    found = compare_definitions(old, new, registry, Geometry(4096))
    return [f"{change.impact} {change.where}: {change.message}" for change in found]


def struct(size: int, layout: str, fields: str = "", name: str = "s") -> str:
    text = f"[struct.{name}]\nsize = {size}\nlayout = '{layout}'\n"
    return f"{text}[struct.{name}.fields]\n{fields}\n"


def structs(old: str, new: str) -> list[str]:
    """Changes of a struct of a ``u64 a``, by what its meaning was and is."""
    was, now = (struct(8, "u64 a;", f"a = {{ {text} }}") for text in (old, new))
    return changes(define(was), define(now))


@pytest.mark.parametrize("identifier", [definition.id for definition in REGISTRY])
def test_nothing_changes_by_itself(identifier: str) -> None:
    """Each definition is the same as itself."""
    definition = REGISTRY.get(identifier)
    assert compare_definitions(definition, definition, REGISTRY, Geometry(16384)) == []


def test_memfd_got_seals() -> None:
    """The change from 7.0 to 7.1, field by field."""
    found = compare_definitions(
        REGISTRY.get("memfd-v1"), REGISTRY.get("memfd-v2"), REGISTRY, Geometry(4096)
    )
    assert [(change.where, change.message) for change in found] == [
        ("memfd_luo_ser", "size 40 became 48 bytes"),
        ("memfd_luo_ser.nr_folios", "moved from +16 to +24"),
        ("memfd_luo_ser.folios", "moved from +24 to +32"),
        ("memfd_luo_ser.seals", "new at +16"),
        ("memfd_luo_ser.flags", "new at +20"),
    ]
    assert {change.impact for change in found} == {Impact.BREAKING}


def test_structs_come_and_go() -> None:
    """A struct that is gone breaks, one that is new does not; a new field behind the end either."""
    one, both = "u32 a;", "u32 a; u32 b;"
    assert changes(define(struct(4, one)), define(struct(4, one, name="t"))) == [
        "breaking s: struct is gone",
        "compatible t: struct is new",
    ]
    assert changes(define(struct(4, one)), define(struct(8, both))) == [
        "breaking s: size 4 became 8 bytes",
        "compatible s.b: new at +4",
    ]
    assert changes(define(struct(8, both)), define(struct(4, one))) == [
        "breaking s: size 8 became 4 bytes",
        "breaking s.b: gone; it was at +4",
    ]
    wide = define(struct(8, "u64 a;"))
    assert changes(define(struct(8, both)), wide) == [
        "breaking s.a: 4 became 8 bytes",
        "breaking s.a: type u32 became u64",
        "breaking s.b: gone; it was at +4",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("expect = 1", "expect = 2", ["breaking s.a: 0x1 became 0x2"]),
        ("", "expect = 0", ["breaking s.a: any number became 0x0"]),
        (
            'points_to = { shape = "folio" }',
            "",
            ["breaking s.a: led to folio, leads to a value"],
        ),
        (
            'points_to = { shape = "folio" }',
            'points_to = { shape = "radix" }',
            ["breaking s.a: led to folio, leads to radix"],
        ),
        (
            'points_to = { shape = "folio" }',
            'points_to = { shape = "folio", order = "a" }',
            [],
        ),
        (
            "flags = { F = 1 }",
            "flags = { F = 1, G = 2 }",
            ["compatible s.a: flag G is new"],
        ),
        (
            "flags = { F = 1, G = 2 }",
            "flags = { F = 4 }",
            ["breaking s.a: flag F is gone or changed", "breaking s.a: flag G is gone or changed"],
        ),
        (
            "enum = { F = 1, G = 2 }",
            "enum = { F = 1, G = 3, H = 2 }",
            ["compatible s.a: number H is new", "breaking s.a: number G is gone or changed"],
        ),
        ("reserved = true", "", ["compatible s.a: reserved bits got a meaning"]),
        ("", "reserved = true", []),
        ('role = "count"', 'role = "bytes"', ["cosmetic s.a: description changed"]),
    ],
)
def test_fields(old: str, new: str, expected: list[str]) -> None:
    """What each change of a field of the same place and size means."""
    assert structs(old, new) == expected


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("s64 a;", "breaking s.a: type u64 became s64"),
        ("__be64 a;", "breaking s.a: type u64 became beu64"),
        ("u64 a;  /* y */", "cosmetic s.a: description changed"),
    ],
)
def test_layouts(layout: str, expected: str) -> None:
    """Another type breaks, another comment does not."""
    old = define(struct(8, "u64 a;  /* x */" if "y" in layout else "u64 a;"))
    assert changes(old, define(struct(8, layout))) == [expected]


def test_parts_of_a_word() -> None:
    """Bit-fields are compared part by part, under their own names."""
    old = struct(8, "u64 pfn : 52; u64 f : 12;", "f = { flags = { DIRTY = 1 } }")
    new = struct(8, "u64 pfn : 48; u64 f : 16;", "f = { flags = { DIRTY = 2 } }")
    assert changes(define(old), define(new)) == [
        "breaking s.pfn: 52 became 48 bits",
        "breaking s.f: 12 became 16 bits",
        "breaking s.f: flag DIRTY is gone or changed",
    ]


def test_content() -> None:
    """A tree that became a record breaks; so does a literal with another number."""
    record = define(struct(8, "u64 a;"), "s")
    tree = define("[fdt]\n" + struct(8, "u64 a;"), "fdt")
    assert changes(tree, record) == ["breaking content: fdt became s"]
    assert changes(record, define(struct(8, "u64 a;"))) == []
    numbers = [
        define(f"literals = {{ {text} }}\n", "literal") for text in ("a = 1, b = 2", "b = 3")
    ]
    assert changes(*numbers) == [
        "breaking literals.a: 0x1 became any number",
        "breaking literals.b: 0x2 became 0x3",
    ]
    assert changes(numbers[1], numbers[0])[1] == "breaking literals.a: any number became 0x1"


TREE = '[fdt.properties]\ncompatible = { type = "string", value = "a" }\n'


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "",
            "[fdt.node.c]\n[fdt.node.d]\noptional = true\n",
            ["breaking /c/: node is new", "compatible /d/: node is new"],
        ),
        ("[fdt.node.c]\n", "", ["breaking /c/: node is gone"]),
        ("", "[fdt.nodes]\n", ["compatible /*/: node is new"]),
        ("[fdt.nodes]\n", "", ["breaking /*/: node is gone"]),
        (
            '[fdt.node.c.properties]\np = { type = "u64" }\n',
            '[fdt.node.c.properties]\nq = { type = "u64" }\n'
            'r = { type = "u64", optional = true }\n',
            [
                "breaking /c/p: property is gone",
                "breaking /c/q: property is new",
                "compatible /c/r: property is new",
            ],
        ),
        (
            '[fdt.nodes.properties]\np = { type = "u64" }\n',
            '[fdt.nodes.properties]\np = { type = "u32" }\n',
            ["breaking /*/p: type u64 became u32"],
        ),
    ],
)
def test_trees(old: str, new: str, expected: list[str]) -> None:
    """Nodes and properties that are new, gone or changed, with the path of each."""
    assert changes(define(TREE + old, "fdt"), define(TREE + new, "fdt")) == expected


def test_strings_that_are_right() -> None:
    """The string of a property is part of the contract."""
    new = TREE.replace('"a"', '"b"')
    assert changes(define(TREE, "fdt"), define(new, "fdt")) == [
        "breaking /compatible: 'a' became 'b'"
    ]
