"""Definition files: what ships loads, and every mistake names its file and key."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.abi.definition import Kind
from khotool.abi.load import load_definition, load_sets
from khotool.abi.registry import load_registry
from khotool.errors import DefinitionError

HEAD = 'id = "x-v1"\ntitle = "X"\nkind = "file"\ncontent = "x_ser"\nstatus = "local"\n'
STRUCT = '[struct.x_ser]\nsize = 8\nfields = [ { name = "a", type = "u64" } ]\n'


def field(text: str) -> str:
    return HEAD + f"[struct.x_ser]\nsize = 8\nfields = [ {{ {text} }} ]\n"


WRONG: dict[str, tuple[str, str]] = {
    "no toml": ("id = ", "f.toml: not a TOML document"),
    "kind missing": ("", "f.toml: key 'kind' is missing"),
    "kind": ('kind = "thing"', "f.toml.kind: 'thing' is none of root, entry"),
    "kind type": ("kind = 3", "f.toml.kind: expected str, found int"),
    "status": (HEAD.replace("local", "old") + STRUCT, "f.toml.status: 'old' is none of merged"),
    "unknown key": (HEAD + "colour = 1\n" + STRUCT, "f.toml.colour: this key has no meaning"),
    "releases key": (
        HEAD + "releases = { since = '1' }\n" + STRUCT,
        "f.toml.releases.since: this key has no meaning",
    ),
    "no table": (HEAD + "releases = 7\n" + STRUCT, "f.toml.releases: expected a table, found int"),
    "strings": (
        HEAD + "uses = [1]\n" + STRUCT,
        "f.toml.uses: expected a list of strings",
    ),
    "number": (
        HEAD + "limits = { n = 'ten' }\n" + STRUCT,
        "f.toml.limits.n: 'ten' is not a number",
    ),
    "number type": (
        HEAD + "limits = { n = true }\n" + STRUCT,
        "f.toml.limits.n: expected a number, found bool",
    ),
    "match": (HEAD + "match = { compatible = 7 }\n" + STRUCT, "f.toml.match.compatible: expected"),
    "match list": (
        HEAD + "match = { compatible = [7] }\n" + STRUCT,
        "f.toml.match.compatible: expected",
    ),
    "depends": (HEAD + "depends = { handlers = 7 }\n" + STRUCT, "f.toml.depends.handlers: expect"),
    "content": (HEAD, "f.toml: content 'x_ser' is no struct of this file"),
    "fdt": (
        HEAD.replace("x_ser", "fdt"),
        "f.toml: content is 'fdt' but there is no [fdt] table",
    ),
    "size": (
        HEAD + "[struct.x_ser]\nsize = 0\nfields = []\n",
        "f.toml.struct.x_ser.size: expected a number of bytes, or 'page'",
    ),
    "size bool": (
        HEAD + "[struct.x_ser]\nsize = true\nfields = []\n",
        "f.toml.struct.x_ser.size: expected a number of bytes, or 'page'",
    ),
    "fields": (
        HEAD + "[struct.x_ser]\nsize = 8\n",
        "f.toml.struct.x_ser: key 'fields' is missing",
    ),
    "key": (
        HEAD + STRUCT + 'key = "b"\n',
        "f.toml.struct.x_ser.key: 'b' is no field of the struct",
    ),
    "twice": (
        HEAD + '[struct.x_ser]\nsize = 8\nfields = [ { name = "a", type = "u32" },'
        ' { name = "a", type = "u32" } ]\n',
        "f.toml.struct.x_ser: 'a' is defined twice",
    ),
    "type text": (field('name = "a", type = "?"'), "fields[0].type: '?' is not a type"),
    "string": (
        field('name = "a", type = "string"'),
        "f.toml.struct.x_ser.a: type 'string' is for properties of a device tree only",
    ),
    "role": (
        field('name = "a", type = "u64", role = "king"'),
        "f.toml.struct.x_ser.fields[0].role: 'king' is none of address",
    ),
    "null": (field('name = "a", type = "u64", null = "no"'), "fields[0].null: 'no' is none of"),
    "shape": (
        field('name = "a", type = "u64", points_to = { shape = "ring" }'),
        "fields[0].points_to.shape: 'ring' is none of record",
    ),
    "pointer key": (
        field('name = "a", type = "u64", points_to = { shape = "record", to = "x" }'),
        "fields[0].points_to.to: this key has no meaning",
    ),
    "holds": (
        field('name = "a", type = "u64", holds = { count = "x" }'),
        "fields[0].holds: key 'of' is missing",
    ),
    "holds key": (
        field('name = "a", type = "u64", holds = { of = "x", count = "y", z = 1 }'),
        "fields[0].holds.z: this key has no meaning",
    ),
    "bits": (field('bits = "s64", parts = []'), "fields[0].bits: expected an unsigned integer"),
    "width": (
        field('bits = "u64", parts = [ { name = "a", width = 65 } ]'),
        "fields[0].parts[0].width: expected bits, 'page_shift' or 'rest'",
    ),
    "expect": (
        field('name = "a", type = "u64", expect = "x"'),
        "fields[0].expect: 'x' is not a number",
    ),
    "allocate": (
        HEAD + 'allocate = { pages = "x" }\n' + STRUCT,
        "f.toml.allocate.pages: expected int, found str",
    ),
    "layout": (
        HEAD.replace("x_ser", "fdt") + '[fdt]\nproperties = [ { name = "a", type = "u64", '
        'layout = "l" } ]\n',
        "f.toml.fdt: layout 'l' is not defined",
    ),
    "layout key": (
        HEAD + "[layouts.l]\nbits = 1\n" + STRUCT,
        "f.toml.layouts.l.bits: this key has no meaning",
    ),
    "layout releases": (
        HEAD + "[layouts.l]\nreleases = { since = '1' }\n" + STRUCT,
        "f.toml.layouts.l.releases.since: this key has no meaning",
    ),
    "allocate key": (
        HEAD + "allocate = { sheets = 1 }\n" + STRUCT,
        "f.toml.allocate.sheets: this key has no meaning",
    ),
    "allocate bool": (
        HEAD + "allocate = { pages = true }\n" + STRUCT,
        "f.toml.allocate.pages: expected int, found bool",
    ),
    "number float": (
        HEAD + "limits = { n = 1.5 }\n" + STRUCT,
        "f.toml.limits.n: expected a number, found float",
    ),
    "struct key": (HEAD + STRUCT + "colour = 1\n", "f.toml.struct.x_ser.colour: this key has no"),
    "bytes of any length": (
        field('name = "a", type = "bytes"'),
        "f.toml.struct.x_ser.a: type 'bytes' is for properties of a device tree only",
    ),
    "layout below": (
        HEAD.replace("x_ser", "fdt") + '[fdt.nodes]\nproperties = [ { name = "a", type = "u64", '
        'layout = "l" } ]\n',
        "f.toml.fdt: layout 'l' is not defined",
    ),
    "node key": (
        HEAD.replace("x_ser", "fdt") + "[fdt]\n[fdt.node.a]\nb = 1\n",
        "f.toml.fdt.node.a.b: this key has no meaning",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_name_file_and_key(case: str) -> None:
    """Each mistake is one sentence with file, key, what was found and what was expected."""
    text, message = WRONG[case]
    with pytest.raises(DefinitionError, match=re.escape(message)):
        load_definition(text.encode(), "f.toml")


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    """No file, however wrong, raises anything but DefinitionError."""
    for load in (load_definition, load_sets):
        with suppress(DefinitionError):
            load(data, "f.toml")


TOML = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 70), st.sampled_from(["u64", "page", "x", "fdt"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["of", "count", "name", "type", "a"]), inner, max_size=3),
    ),
    max_leaves=4,
)


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, int) else f'"{value}"'


TOP_KEYS = (
    "id",
    "title",
    "kind",
    "content",
    "status",
    "header",
    "releases",
    "doc",
    "match",
    "uses",
    "limits",
    "literals",
    "depends",
    "allocate",
    "layouts",
    "struct",
    "fdt",
)
FIELD_KEYS = (
    "name",
    "type",
    "doc",
    "as",
    "role",
    "points_to",
    "null",
    "holds",
    "bits",
    "parts",
    "fill",
    "layout",
    "value",
    "expect",
    "flags",
    "enum",
    "optional",
    "counts",
)


@given(st.sampled_from(TOP_KEYS), TOML)
def test_any_value_of_a_key(key: str, value: Any) -> None:
    """Any value of any key of the top level loads or is a DefinitionError."""
    lines = [line for line in HEAD.splitlines() if not line.startswith(f"{key} ")]
    text = "\n".join([*lines, f"{key} = {toml(value)}", "" if key == "struct" else STRUCT])
    with suppress(DefinitionError):
        load_definition(text.encode(), "f.toml")


@given(st.sampled_from(FIELD_KEYS), TOML, st.booleans())
def test_any_value_of_a_field(key: str, value: Any, alone: bool) -> None:
    """Any value of any key of a field, in a struct or a device tree, is bounded to one error."""
    rest = (
        ""
        if alone
        else ", ".join(
            f'{other} = "a"' if other == "name" else f'{other} = "u64"'
            for other in ("name", "type")
            if other != key
        )
    )
    entry = f"{{ {rest}{', ' if rest else ''}{key} = {toml(value)} }}"
    for text in (
        HEAD + f"[struct.x_ser]\nsize = 8\nfields = [ {entry} ]\n",
        HEAD.replace("x_ser", "fdt") + f"[fdt]\nproperties = [ {entry} ]\n",
    ):
        with suppress(DefinitionError):
            load_definition(text.encode(), "f.toml")


def test_numbers_above_the_range_of_toml() -> None:
    """Numbers above 2^63 stand as hexadecimal strings."""
    text = HEAD + 'limits = { n = "0xffffffffffffffff" }\n' + STRUCT
    assert load_definition(text.encode(), "f.toml").limits == {"n": (1 << 64) - 1}


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
        ("set = 1", "sets.toml.set: expected list, found int"),
        ("set = [1]", "sets.toml.set[0]: expected a table, found int"),
        (SET + "x = 1\n", "sets.toml.set[0].x: this key has no meaning"),
        (SET + 'root_writer = "fast"\n', "sets.toml.set[0].root_writer: 'fast' is none of seq"),
        (SET.replace("root", "stem"), "sets.toml.set[0]: key 'root' is missing"),
        (SET + "entries = { a = 1 }\n", "sets.toml.set[0].entries.a: expected"),
        (SET + "layouts = { a = 1 }\n", "sets.toml.set[0].layouts.a: expected"),
        (
            SET.replace('last = ""', 'last = "", end = "2"'),
            "sets.toml.set[0].releases.end: this key has no meaning",
        ),
        ("other = 1", "sets.toml.other: this key has no meaning"),
    ],
)
def test_mistakes_in_sets(text: str, message: str) -> None:
    """The list of sets is held to its vocabulary as well."""
    with pytest.raises(DefinitionError, match=re.escape(message)):
        load_sets(text.encode(), "sets.toml")
