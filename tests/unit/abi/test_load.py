"""Definition files: what ships loads, every mistake names its line and key, and defaults."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.abi.definition import (
    Allocate,
    Condition,
    Field,
    FieldType,
    Kind,
    Reference,
    Shape,
    Struct,
)
from khotool.abi.load import load_definition
from khotool.abi.registry import load_registry
from khotool.abi.sets import load_sets
from khotool.errors import DefinitionError
from tests.unit.abi.texts import HEAD, TREE, file, load, struct, tree

STRUCT = struct("u64 a;")
GOOD = HEAD + STRUCT


def field(meaning: str) -> str:
    """A definition of one field with a meaning, which is on line 11."""
    return file("u64 a;", f"a = {{ {meaning} }}")


def pointer(reference: str) -> str:
    return field(f"points_to = {{ {reference} }}")


WRONG: dict[str, tuple[str, str]] = {
    "no TOML": ("id = ", "f.toml:1: not TOML: Invalid value (at end of document)"),
    "missing": (STRUCT, "f.toml:1: missing key 'id' (and 4 more mistakes)"),
    "kind": (GOOD.replace("file", "fiel"), "3: kind: unknown kind 'fiel'; did you mean 'file'?"),
    "kind type": (GOOD.replace('"file"', "3"), "3: kind: expected a string, found an integer 3"),
    "status": (
        GOOD.replace('"local"', '"?"'),
        "5: status: unknown status '?'; expected one of mer",
    ),
    "unknown key": (HEAD + "colour = 1\n" + STRUCT, "6: colour: unknown key 'colour'"),
    "releases key": (
        HEAD + "releases = { fist = '1' }\n" + STRUCT,
        "6: releases.fist: unknown key 'fist'; did you mean 'first'?",
    ),
    "no table": (HEAD + "releases = 7\n" + STRUCT, "6: releases: expected a table, found an integ"),
    "strings": (HEAD + "uses = [1]\n" + STRUCT, "6: uses[0]: expected a string, found an integer"),
    "number": (HEAD + "limits = { n = 'ten' }\n" + STRUCT, "6: limits.n: 'ten' is not a number"),
    "number type": (HEAD + "limits = { n = true }\n" + STRUCT, "limits.n: expected an integer, fo"),
    "number float": (HEAD + "limits = { n = 1.5 }\n" + STRUCT, "limits.n: expected an integer, fo"),
    "match": (HEAD + "match = { compatible = 7 }\n" + STRUCT, "match.compatible: expected a list"),
    "match list": (HEAD + "match = { name = [7] }\n" + STRUCT, "match.name[0]: expected a string"),
    "depends": (HEAD + "depends = { flbs = 7 }\n" + STRUCT, "depends.flbs: expected a string"),
    "content": (HEAD, "4: content: content 'x_ser' is not a struct of this file"),
    "fdt": (TREE, "4: content: content is 'fdt', but there is no [fdt] table"),
    "no size": (GOOD.replace("size = 8\n", ""), "6: struct.x_ser: missing key 'size'"),
    "no layout": (HEAD + "[struct.x_ser]\nsize = 8\n", "6: struct.x_ser: missing key 'layout'"),
    "layout type": (
        HEAD + "[struct.x_ser]\nsize = 8\nlayout = []\n",
        "layout: expected a string, f",
    ),
    "C": (file("u64 a; u63 b;"), "10: struct.x_ser.layout: unknown type 'u63'"),
    "C on one line": (
        HEAD + "[struct.x_ser]\nsize = 8\nlayout = 'u63 a;'\n",
        "8: struct.x_ser.layout: unknown type 'u63'",
    ),
    "no name of C": (
        GOOD + struct("u64 a;", name='"a-b"'),
        "'a-b' is not the name of a struct in C",
    ),
    "member": (
        file("u64 count;", "cuont = { role = 'count' }"),
        "12: struct.x_ser.fields.cuont: struct x_ser has no member 'cuont'; did you mean 'count'?",
    ),
    "struct key": (
        HEAD + "[struct.x_ser]\ncolour = 1\n" + STRUCT[15:],
        "7: struct.x_ser.colour: unk",
    ),
    "key": (GOOD.replace("size", 'key = "b"\nsize'), "7: struct.x_ser.key: 'b' is not a field of "),
    "unique": (
        GOOD.replace("size", 'unique = ["b"]\nsize'),
        "unique: 'b' is not a field of the st",
    ),
    "twice": (file("u32 a; u32 b;", 'b = { as = "a" }'), "fields.b: 'a' is defined twice"),
    "parts twice": (
        file("u64 a:1; u64 b:1;", 'b = { as = "a" }'),
        "fields.b: 'a' is defined twice",
    ),
    "not last": (
        file("struct x_ser a[]; u8 n;", 'n = { counts = "a" }'),
        "9: struct.x_ser.layout: a: arrays of open length come last",
    ),
    "not counted": (
        file("u64 n; u8 a[];"),
        "10: struct.x_ser.layout: a: no field counts this array",
    ),
    "role": (
        field('role = "adress"'),
        "12: struct.x_ser.fields.a.role: unknown role 'adress'; did",
    ),
    "null": (
        field('null = "no"'),
        "fields.a.null: unknown null 'no'; expected one of error, empty",
    ),
    "shape": (
        pointer('shape = "ring"'),
        "fields.a.points_to.shape: unknown shape 'ring'; exp",
    ),
    "pointer key": (
        pointer('shape = "record", to = "x"'),
        "points_to.to: unknown key 'to'; expected",
    ),
    "holds": (field('holds = { count = "x" }'), "fields.a.holds: missing key 'of'"),
    "holds key": (
        field('holds = { of = "x", z = 1 }'),
        "holds.z: unknown key 'z'; expected one of ",
    ),
    "expect": (field('expect = "x"'), "fields.a.expect: 'x' is not a number"),
    "flags": (field('flags = "F_SEEL"'), "fields.a.flags: flags 'F_SEEL' is not defined; did you"),
    "flag values": (field('flags = { A = "x" }'), "fields.a.flags.A: 'x' is not a number"),
    "set values": (GOOD + "[flags.MY]\nA = 'x'\n", "flags.MY.A: 'x' is not a number"),
    "optional field": (field("optional = true"), "fields.a.optional: unknown key 'optional'"),
    "in place": (field("in_place = true"), "fields.a.in_place: unknown key 'in_place'"),
    "allocate": (
        HEAD + 'allocate = { pages = "x" }\n' + STRUCT,
        "allocate.pages: 'x' is not a num",
    ),
    "allocate key": (HEAD + "allocate = { sheets = 1 }\n" + STRUCT, "allocate.sheets: unknown key"),
    "layout": (
        tree('a = { type = "u64", layout = "l" }'),
        "8: fdt.properties.a: layout 'l' is not defined",
    ),
    "layout below": (
        tree(more='[fdt.nodes.properties]\na = { type = "u64", layout = "l" }\n'),
        "9: fdt.nodes.properties.a: layout 'l' is not defined",
    ),
    "layout key": (
        HEAD + "[layouts.l]\nbits = 1\n" + STRUCT,
        "7: layouts.l.bits: unknown key 'bits'",
    ),
    "property type": (tree('a = { type = "?" }'), "8: fdt.properties.a.type: '?' is not a type"),
    "property without a type": (tree("a = {}"), "8: fdt.properties.a: missing key 'type'"),
    "elements": (tree('a = { type = "u8[0]" }'), "a.type: an array has 1 to 65536 elements"),
    "node key": (tree(more="[fdt.node.a]\nb = 1\n"), "9: fdt.node.a.b: unknown key 'b'"),
    "empty condition": (
        HEAD + "probe = [{}]\n" + STRUCT,
        "6: probe[0]: a probe condition needs at",
    ),
    "condition key": (
        HEAD + "probe = [{ lenght = 8 }]\n" + STRUCT,
        "6: probe[0].lenght: unknown key 'lenght'; did you mean 'length'?",
    ),
    "condition of no field": (
        HEAD + 'probe = [{ field = "q", equals = 1 }]\n' + STRUCT,
        "6: probe[0]: 'q' is not a field of x_ser",
    ),
    "condition of no list": (
        HEAD + 'probe = [{ rows = "a", field = "a", equals = 1 }]\n' + STRUCT,
        "6: probe[0]: 'a' does not lead to records",
    ),
    "condition of no end": (
        HEAD + 'probe = [{ field = "a", ends = true }]\n' + STRUCT,
        "6: probe[0]: 'a' does not lead to an array that could end",
    ),
    "too long": ("#" * (1 << 20) + "\n", "f.toml: 1048577 bytes; at most 1048576 are read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_name_file_line_and_key(case: str) -> None:
    """Each mistake is one sentence with file, line, key, what was found and what was expected."""
    text, message = WRONG[case]
    with pytest.raises(DefinitionError, match=re.escape(message)) as error:
        load(text, "f.toml")
    assert str(error.value).startswith("f.toml:")


def test_all_mistakes_are_raised_at_once() -> None:
    """The error has every mistake of the file, and its text the first with their number."""
    text = file("u64 a; u63 b;", 'a = { role = "king" }').replace('"file"', '"fiel"')
    with pytest.raises(DefinitionError) as error:
        load(text)
    assert [line.partition(": ")[0] for line in error.value.mistakes] == [
        "x.toml:3",
        "x.toml:10",
        "x.toml:13",
    ]
    assert str(error.value).endswith("(and 2 more mistakes)")


# -- what keys mean when they are missing ----------------------------------------------------


def test_fields_without_a_meaning() -> None:
    """A member in C is all that a field needs."""
    (field,) = load(GOOD).structs["x_ser"].fields
    assert field == Field("a", FieldType("int", "u64", 8))
    assert load(GOOD).structs["x_ser"] == Struct("x_ser", (field,), 8)


def test_pointers_of_one_key() -> None:
    """A shape is all that a pointer needs: one page, no levels, no siblings."""
    (made,) = load(pointer('shape = "opaque"')).structs["x_ser"].fields
    assert made.points_to == Reference(shape=Shape.OPAQUE)


def test_conditions_of_one_key() -> None:
    """A condition asks for nothing that it does not name; texts and numbers may be equal."""
    text = HEAD + 'probe = [{ length = 8 }, { has = "a", equals = "b" }, { equals = 0 }]\n' + STRUCT
    conditions = load(text).probe
    assert conditions[0] == Condition(length=8)
    assert [one.equals for one in conditions] == [None, "b", 0]


def test_rules_of_allocation() -> None:
    """One number is enough; the others are 0; without the key there is no rule."""
    rule = load(file("u64 a;", more="allocate = { bytes = 8 }\n")).allocate
    assert rule == Allocate(bytes=8)
    assert load(GOOD).allocate is None


def test_packed() -> None:
    """Members alone are packed unless the file says otherwise; a whole struct says it itself."""
    assert load(GOOD).structs["x_ser"].packed is True
    natural = GOOD.replace("size", "packed = false\nsize")
    assert load(natural).structs["x_ser"].packed is False
    whole = file("struct x_ser {\nu64 a;\t/* an a */\n} __packed;")
    assert load(whole).structs["x_ser"] == Struct(
        "x_ser", (Field("a", FieldType("int", "u64", 8), "an a"),), 8
    )
    assert load(whole.replace("__packed", "")).structs["x_ser"].packed is False


def test_names_of_bits_and_values() -> None:
    """A set of this file, one that khotool ships, or a table; the file's own set wins."""
    sets = "[flags.MY]\nA = 1\n[flags.MEMFD_LUO_FOLIO]\nB = 2\n[enum.STATE]\nOFF = 0\nON = 1\n"
    fields = 'a = { flags = "MY" }\nb = { flags = "F_SEAL" }\nc = { flags = "MEMFD_LUO_FOLIO" }\n'
    fields += 'd = { enum = "STATE" }\ne = { flags = { C = 0x10 } }'
    text = file("u32 a; u32 b; u32 c; u32 d; u32 e;", fields, 20) + sets
    found = {field.name: field for field in load(text).structs["x_ser"].fields}
    assert (found["a"].flags, found["c"].flags, found["e"].flags) == ({"A": 1}, {"B": 2}, {"C": 16})
    assert found["b"].flags["F_SEAL_WRITE"] == 8
    assert found["d"].enum == {"OFF": 0, "ON": 1}


def test_constants() -> None:
    """Lengths may be names that the file gives values."""
    text = file("char a[LEN];", size=16) + "[constants]\nLEN = 16\n"
    assert load(text).structs["x_ser"].fields[0].type == FieldType("char", "char[16]", 16)


def test_properties_in_order_and_by_layout() -> None:
    """Properties keep the order of the file; one name may have a table for each layout."""
    text = tree(
        'b = { type = "u32" }',
        more='[[fdt.properties.a]]\ntype = "u32"\nlayout = "one"\n'
        '[[fdt.properties.a]]\ntype = "u64"\nlayout = "two"\n[fdt.properties.c]\ntype = "string"\n'
        "[layouts.one]\n[layouts.two]\n",
    )
    fdt = load(text).fdt
    assert fdt is not None
    found = [(field.name, field.type and field.type.text, field.layout) for field in fdt.properties]
    assert found == [
        ("b", "u32", ""),
        ("a", "u32", "one"),
        ("a", "u64", "two"),
        ("c", "string", ""),
    ]


@pytest.mark.parametrize(
    ("size", "possible"),
    [
        ("8", True),
        ("0", False),
        ("-1", False),
        ("1048577", False),
        ("true", False),
        ("'pages'", False),
        ("8.0", False),
    ],
)
def test_sizes_of_structs(size: str, possible: bool) -> None:
    """A struct has 1 byte to 1 MiB, or a page."""
    text = file("u64 a;", size=size)
    if possible:
        assert load(text).structs["x_ser"].size == int(size)
        return
    with pytest.raises(
        DefinitionError, match="expected a number of bytes from 1 to 1048576, or 'p"
    ):
        load(text)


def test_the_only_layout_needs_no_name() -> None:
    """A name selects its layout; without one, the only layout is meant, of several none."""
    one = "[layouts.a]\nparameters = { bytes = 512 }\n"
    two = one + "[layouts.b]\nparameters = { bytes = 4096 }\n"
    text = HEAD.replace('content = "x_ser"', 'content = "none"')
    single, several = load(text + one), load(text + two)
    assert single.parameters("") == single.parameters("a") == {"bytes": 512}
    assert (several.parameters(""), several.parameters("b")) == ({}, {"bytes": 4096})
    assert load(text).parameters("a") == {}


def test_numbers_above_the_range_of_toml() -> None:
    """Numbers above 2^63 are hexadecimal strings."""
    text = HEAD + 'limits = { n = "0xffffffffffffffff" }\n' + STRUCT
    assert load(text).limits == {"n": (1 << 64) - 1}


# -- hostile files ---------------------------------------------------------------------------


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    """No file, however wrong, raises anything but DefinitionError."""
    for read in (load_definition, load_sets):
        with suppress(DefinitionError):
            read(data, "f.toml")


TOML = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 70), st.sampled_from(["u64", "page", "x", "fdt"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["of", "count", "name", "type", "a"]), inner, max_size=3),
    ),
    max_leaves=4,
)
TOP_KEYS = (
    *("id", "title", "kind", "content", "status", "header", "releases", "doc", "match", "uses"),
    *("limits", "literals", "depends", "allocate", "probe", "layouts", "struct", "fdt"),
    *("flags", "enum", "constants"),
)
FIELD_KEYS = (
    *("type", "doc", "as", "role", "points_to", "null", "holds", "layout", "value", "expect"),
    *("flags", "enum", "optional", "counts"),
)


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, int) else f'"{value}"'


@given(st.sampled_from(TOP_KEYS), TOML)
def test_any_value_of_a_key(key: str, value: Any) -> None:
    """Any value of any key of the top level loads or is a DefinitionError."""
    lines = [line for line in HEAD.splitlines() if not line.startswith(f"{key} ")]
    text = "\n".join([*lines, f"{key} = {toml(value)}", "" if key == "struct" else STRUCT])
    with suppress(DefinitionError):
        load(text)


@given(st.sampled_from(FIELD_KEYS), TOML)
def test_any_value_of_a_field(key: str, value: Any) -> None:
    """Any value of any key of a member or property loads or is a DefinitionError."""
    for text in (field(f"{key} = {toml(value)}"), tree(f"a = {{ {key} = {toml(value)} }}")):
        with suppress(DefinitionError):
            load(text)


# -- what ships ------------------------------------------------------------------------------


def test_what_ships_loads() -> None:
    """Every shipped file is a definition with provenance; files are named after their id."""
    registry = load_registry()
    for definition in registry:
        assert definition.title
        assert definition.header
        assert definition.first or definition.status != "merged"
        assert Path(definition.source).stem == definition.id
    assert {d.kind for d in registry} == set(Kind)


SET = '[[set]]\nid = "1"\nreleases = { first = "1", last = "" }\nroot = "kho-v4"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("set = 1", "sets.toml:1: set: expected a list, found an integer 1"),
        ("set = [1]", "sets.toml:1: set[0]: expected a table, found an integer 1"),
        (SET + "x = 1\n", "sets.toml:5: set[0].x: unknown key 'x'"),
        (SET + 'root_writer = "fast"\n', "set[0].root_writer: unknown root_writer 'fast'; expect"),
        (SET.replace("root", "stem"), "sets.toml:1: set[0]: missing key 'root'"),
        (SET + "entries = { a = 1 }\n", "set[0].entries.a: expected a string"),
        (SET + "layouts = { a = 1 }\n", "set[0].layouts.a: expected a string"),
        (
            SET.replace('last = ""', 'last = "", end = "2"'),
            "set[0].releases.end: unknown key 'end'",
        ),
        ("other = 1", "sets.toml:1: other: unknown key 'other'"),
    ],
)
def test_mistakes_in_sets(text: str, message: str) -> None:
    """The list of sets has a vocabulary as well."""
    with pytest.raises(DefinitionError, match=re.escape(message)):
        load_sets(text.encode(), "sets.toml")
