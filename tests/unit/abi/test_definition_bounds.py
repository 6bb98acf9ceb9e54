"""Definitions at their bounds: what a key means when it is not there, and how far numbers go."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from khotool.abi.definition import Condition, Definition, Field, FieldType, Reference, Shape, Struct
from khotool.abi.geometry import Geometry
from khotool.abi.load import load_definition, load_sets
from khotool.abi.registry import Registry
from khotool.errors import DefinitionError
from tests.builders import REGISTRY

HEAD = 'id = "x"\ntitle = "x"\nkind = "structure"\ncontent = "x"\nstatus = "local"\n'


def load(fields: str, size: str = "8", more: str = "", head: str = HEAD) -> Definition:
    text = f"{head}[struct.x]\nsize = {size}\n{more}\nfields = [ {fields} ]\n"
    return load_definition(text.encode(), "x.toml")


def only(fields: str) -> Field:
    (field,) = load(fields).structs["x"].fields
    return field


def test_a_field_of_two_words() -> None:
    """A name and a type are all that a field needs; everything else is off."""
    field = only('{ name = "a", type = "u64" }')
    assert field == Field("a", FieldType("int", "u64", 8))
    off = (field.in_place, field.optional, field.reserved, field.unique, field.nonempty)
    assert off == (False,) * 5
    assert (field.whole_pages, field.component, field.preserved) == (False, False, True)
    assert (field.width, field.null, field.expect) == (0, "error", None)


def test_a_pointer_of_one_word() -> None:
    """A shape is all that a pointer needs: one page, no levels, no siblings."""
    field = only('{ name = "a", type = "u64", points_to = { shape = "record" } }')
    assert field.points_to == Reference(shape=Shape("record"))
    assert (field.points_to.pages, field.points_to.levels) == (1, 0)
    assert field.points_to.inline is False


def test_a_definition_of_few_words() -> None:
    """Neither a segment nor rules of allocation; structs are packed, nodes stand for themselves."""
    definition = load('{ name = "a", type = "u64" }')
    assert (definition.segment, definition.allocate, definition.probe) == (False, {}, ())
    assert definition.structs["x"] == Struct("x", definition.structs["x"].fields, 8)
    assert definition.structs["x"].packed is True
    text = HEAD.replace('content = "x"', 'content = "fdt"') + "[fdt]\n[fdt.node.a]\n"
    tree = load_definition(text.encode(), "x.toml").fdt
    assert tree is not None
    assert (tree.inline, tree.optional, tree.nodes["a"].inline) == (False, False, False)


def test_rules_of_allocation() -> None:
    """One number is enough; the others are 0."""
    head = HEAD + "allocate = { bytes = 8 }\n"
    assert load('{ name = "a", type = "u64" }', head=head).allocate == {
        "pages": 0,
        "bytes": 8,
        "bytes_each": 0,
        "of": "",
    }
    head = HEAD + 'allocate = { of = "a" }\n'
    rule = load('{ name = "a", type = "u64" }', head=head).allocate
    assert rule == {"pages": 0, "bytes": 0, "bytes_each": 0, "of": "a"}


def test_a_condition_of_one_word() -> None:
    """A sign asks for nothing that it does not name; an empty one asks for nothing at all."""
    head = HEAD + "probe = [ { length = 8 } ]\n"
    (condition,) = load('{ name = "a", type = "u64" }', head=head).probe
    assert condition == Condition(length=8)
    assert (condition.length, condition.multiple, condition.above) == (8, 0, None)
    off = (condition.aligned, condition.preserved, condition.asked, condition.ends)
    assert off == (False,) * 4
    for wrong, message in (
        ("{ }", "a condition names a sign"),
        ("{ length = 8, colour = 1 }", "probe[0].colour: this key has no meaning"),
    ):
        with pytest.raises(DefinitionError, match=re.escape(message)):
            load('{ name = "a", type = "u64" }', head=HEAD + f"probe = [ {wrong} ]\n")


@pytest.mark.parametrize(
    ("size", "possible"),
    [
        ("1", True),
        ("0", False),
        ("-1", False),
        ("1048576", True),
        ("1048577", False),
        ("true", False),
        ("'pages'", False),
        ("8.0", False),
    ],
)
def test_sizes_of_structs(size: str, possible: bool) -> None:
    """A struct has 1 byte to 1 MiB, or a page."""
    if possible:
        assert load('{ name = "a", type = "u8" }', size).structs["x"].size == int(size)
        return
    with pytest.raises(DefinitionError, match="expected a number of bytes, or 'page'"):
        load('{ name = "a", type = "u8" }', size)


@pytest.mark.parametrize(
    ("width", "possible"),
    [
        ("1", True),
        ("16", True),
        ("17", False),
        ("0", False),
        ("-1", False),
        ("true", False),
        ("'rest'", True),
        ("'page_shift'", True),
        ("'all'", False),
        ("1.0", False),
    ],
)
def test_widths_of_parts(width: str, possible: bool) -> None:
    """A part has a bit or more, and no more than its word."""
    text = f'{{ bits = "u16", parts = [ {{ name = "a", width = {width} }} ] }}'
    if possible:
        assert str(only(text).parts[0].width) == width.strip("'")
        return
    with pytest.raises(DefinitionError, match=re.escape("expected bits, 'page_shift' or 'rest'")):
        only(text)


@pytest.mark.parametrize("word", ["s16", "char[2]", "x"])
def test_words_of_parts(word: str) -> None:
    """Only an unsigned integer has parts, and a word has no key but those of a word."""
    with pytest.raises(DefinitionError, match=r"bits: expected an unsigned integer type"):
        only(f'{{ bits = "{word}", parts = [] }}')
    with pytest.raises(DefinitionError, match=r"fields\[0\]\.name: this key has no meaning"):
        only('{ bits = "u16", parts = [], name = "a" }')


@pytest.mark.parametrize(
    ("count", "possible"), [("1", True), ("65536", True), ("65537", False), ("0", False)]
)
def test_numbers_of_elements(count: str, possible: bool) -> None:
    """An array has 1 to 65536 elements."""
    if possible:
        kind = only(f'{{ name = "a", type = "u16[{count}]" }}').type
        assert kind is not None
        assert (kind.count, kind.size) == (int(count), 2)
        return
    with pytest.raises(DefinitionError, match="an array has 1 to 65536 elements"):
        only(f'{{ name = "a", type = "u16[{count}]" }}')


def test_parts_have_names_of_their_own() -> None:
    """Names of parts count as names of fields."""
    word = '{ bits = "u64", parts = [ { name = "a", width = 1 }, { name = "b", width = 1 } ] }'
    assert only(word).name == "a:b"
    with pytest.raises(DefinitionError, match="'b' is defined twice"):
        load(f'{word}, {{ name = "b", type = "u8" }}')
    with pytest.raises(DefinitionError, match="'a' is defined twice"):
        load(word.replace('"b"', '"a"'))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('{ name = "n", type = "u8", counts = "a" }, { name = "a", type = "x[]" }', ""),
        ('{ name = "a", type = "x[]" }, { name = "n", type = "u8", counts = "a" }', "comes last"),
        ('{ name = "n", type = "u8" }, { name = "a", type = "x[]" }', "no field counts this"),
        ('{ name = "n", type = "u8", counts = "b" }, { name = "a", type = "x[]" }', "no field"),
    ],
)
def test_arrays_of_open_length(fields: str, message: str) -> None:
    """Such an array ends its struct, and a field of the struct counts it."""
    if not message:
        kind = load(fields).structs["x"].fields[-1].type
        assert kind is not None
        assert (kind.kind, kind.struct) == ("array", "x")
        return
    with pytest.raises(DefinitionError, match=message):
        load(fields)


def test_the_only_layout_needs_no_name() -> None:
    """A name selects its layout; without one, the only layout is meant, of several none."""
    one = "[layouts.a]\nparameters = { bytes = 512 }\n"
    two = one + "[layouts.b]\nparameters = { bytes = 4096 }\n"
    text = HEAD.replace('content = "x"', 'content = "none"')
    single = load_definition((text + one).encode(), "x.toml")
    several = load_definition((text + two).encode(), "x.toml")
    assert single.parameters("") == single.parameters("a") == {"bytes": 512}
    assert (several.parameters(""), several.parameters("b")) == ({}, {"bytes": 4096})
    assert load_definition(text.encode(), "x.toml").parameters("a") == {}


def test_what_a_string_means_where_nothing_tells() -> None:
    """Without a sign before with one, released before developed; the order of files is last."""
    text = HEAD.replace("structure", "file").replace('content = "x"', 'content = "none"')
    text += 'match = { compatible = "s" }\n'

    def made(identifier: str, status: str, sign: bool) -> Definition:
        body = text.replace('id = "x"', f'id = "{identifier}"').replace("local", status)
        return load_definition((body + ("probe = [ { length = 8 } ]\n" * sign)).encode(), "x.toml")

    given = [
        made("signed", "merged", True),
        made("signed-posted", "development", True),
        made("posted", "development", False),
        made("released", "merged", False),
    ]
    registry = Registry(given)
    found = registry.handlers("file", "s")
    assert [one.id for one in found] == ["released", "posted", "signed", "signed-posted"]
    assert registry.handler("file", "s") is found[0]
    assert registry.handler("file", "t") is None


def test_releases_of_sets() -> None:
    """A set reaches from its first to its last release, both included; an open one has no end."""
    root = load_definition(HEAD.replace('content = "x"', 'content = "none"').encode(), "x.toml")
    text = "".join(
        f'[[set]]\nid = "{name}"\nroot = "x"\nstatus = "merged"\n'
        f'releases = {{ first = "{first}", last = "{last}" }}\n'
        for name, first, last in (
            ("old", "5.3", "5.4.7"),
            ("rc", "6.0-rc2", "6.0-rc3"),
            ("open", "7.1", ""),
        )
    )
    registry = Registry([root], load_sets(text.encode(), "sets.toml"))
    expected = {
        "5.2": None,
        "5.3": "old",
        "5.4": "old",
        "5.4.9": "old",
        "5.5": None,
        "6.0": None,
        "6.0-rc1": None,
        "6.0-rc2": "rc",
        "6.0-rc4": None,
        "7.0": None,
        "7.0-rc1": None,
        "7.1": "open",
        "7.1-rc1": "open",
        "999.999": "open",
        "rc": "rc",
        "999999999.5": "open",
    }
    for release, name in expected.items():
        found = registry.set_for(release)
        assert (found.id if found else None) == name, release


@pytest.mark.parametrize(("page", "shift"), [(4096, 12), (16384, 14), (65536, 16)])
def test_geometries(page: int, shift: int) -> None:
    """The page shift follows from the page size, the prefix from the byte order."""
    assert Geometry(page).page_shift == shift
    assert (Geometry(page).prefix, Geometry(page, "big").prefix) == ("<", ">")
    assert Geometry() == Geometry(4096, "little")


def test_what_is_read_can_be_a_key() -> None:
    """Definitions, all that they hold, and sets have a hash, and equal ones the same."""
    for definition in REGISTRY:
        parts = [definition, *definition.structs.values(), *definition.layouts.values()]
        parts += [] if definition.fdt is None else [definition.fdt]
        for part in parts:
            assert len({part, replace(part)}) == 1  # type: ignore[type-var]
    assert len({*REGISTRY.sets.values(), *map(replace, REGISTRY.sets.values())}) == len(
        REGISTRY.sets
    )
