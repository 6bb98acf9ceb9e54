"""Typed getters: a right value, and each way to be wrong with its place and message."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.structured import (
    MAX_MISTAKES,
    Document,
    Mistake,
    StructuredError,
    Table,
    Value,
    parse_integer,
    parse_size,
    read_document,
)


def read(text: str) -> Document:
    return read_document(text.encode(), "f.toml")


def told(document: Document) -> list[str]:
    document.close_tables()
    return [str(mistake) for mistake in document.mistakes()]


GETTERS: dict[str, tuple[str, Callable[[Table], object], object, str]] = {
    # TOML; getter; what it returns; what is told, without "f.toml:1: ".
    "text": ('a = "x"', lambda t: t.text("a"), "x", ""),
    "default text": ("", lambda t: t.text("a", "y"), "y", ""),
    "missing text": ("", lambda t: t.text("a"), "", "missing key 'a'"),
    "text of a number": ("a = 7", lambda t: t.text("a"), "", "a: expected a string, found an int"),
    "long text": ('a = "xé"', lambda t: t.text("a", limit=2), "", "a: 3 bytes; at most 2 fit"),
    "text that fits": ('a = "xé"', lambda t: t.text("a", limit=3), "xé", ""),
    "empty text": ('a = ""', lambda t: t.text("a", empty=False), "", "a: expected at least one"),
    "NUL": ('a = "\\u0000"', lambda t: t.text("a", nul=False), "", "a: a string cannot contain NU"),
    "integer": ("a = 0x10", lambda t: t.integer("a"), 16, ""),
    "hexadecimal text": ('a = "0xffffffffffffffff"', lambda t: t.integer("a"), (1 << 64) - 1, ""),
    "default integer": ("", lambda t: t.integer("a", 7), 7, ""),
    "missing integer": ("", lambda t: t.integer("a", least=3), 3, "missing key 'a'"),
    "boolean as integer": (
        "a = true",
        lambda t: t.integer("a"),
        0,
        "a: expected an integer, found",
    ),
    "fraction": (
        "a = 1.5",
        lambda t: t.integer("a"),
        0,
        "a: expected an integer, found a number w",
    ),
    "too small": (
        "a = 2",
        lambda t: t.integer("a", least=3, most=9),
        3,
        "a: 2 is out of range; ex",
    ),
    "too large": (
        'a = "0x10000000000000000"',
        lambda t: t.integer("a"),
        0,
        "a: 0x10000000000000000",
    ),
    "size": ('a = "2M"', lambda t: t.integer("a", sizes=True), 2 << 20, ""),
    "suffix without sizes": ('a = "2M"', lambda t: t.integer("a"), 0, "a: '2M' is not a number"),
    "optional integer": ("", lambda t: t.optional_integer("a"), None, ""),
    "boolean": ("a = true", lambda t: t.boolean("a"), True, ""),
    "default boolean": ("", lambda t: t.boolean("a", True), True, ""),
    "no boolean": (
        "a = 1",
        lambda t: t.boolean("a"),
        False,
        "a: expected true or false, found an ",
    ),
    "choice": ('a = "y"', lambda t: t.choice("a", ("x", "y")), "y", ""),
    "near choice": (
        'role = "adress"',
        lambda t: t.choice("role", ("count", "address")),
        "count",
        "role: unknown role 'adress'; did you mean 'address'?",
    ),
    "far choice": (
        'a = "q"',
        lambda t: t.choice("a", ("x", "y")),
        "x",
        "a: unknown a 'q'; expected ",
    ),
    "choice of a number": (
        "a = 1",
        lambda t: t.choice("a", ("x",)),
        "x",
        "a: expected a string, f",
    ),
    "flags": ('a = ["R", "W"]', lambda t: t["a"].flags({"R": 4, "W": 2}), 6, ""),
    "flags as number": ("a = 5", lambda t: t["a"].flags({"R": 4}), 5, ""),
    "unknown flag": (
        'a = ["RO"]',
        lambda t: t["a"].flags({"R": 4}),
        0,
        "a[0]: unknown flag 'RO'; e",
    ),
    "flag of a number": (
        "a = [1]",
        lambda t: t["a"].flags({}),
        0,
        "a[0]: expected the name of a fl",
    ),
    "bytes": ('a = "00 ff"', lambda t: t["a"].hexadecimal(), b"\0\xff", ""),
    "no bytes": (
        'a = "0g"',
        lambda t: t["a"].hexadecimal(),
        b"",
        "a: expected bytes as hexadecimal",
    ),
    "texts": ('a = ["x"]', lambda t: t.texts("a"), ("x",), ""),
    "texts of numbers": (
        "a = [1]",
        lambda t: t.texts("a"),
        ("",),
        "a[0]: expected a string, found ",
    ),
    "no list": ("a = 1", lambda t: t.texts("a"), (), "a: expected a list, found an integer 1"),
    "no table": (
        "a = 1",
        lambda t: t.table("a").text("b", "x"),
        "x",
        "a: expected a table, found ",
    ),
    "missing item": ("", lambda t: t["a"].integer(), 0, "missing key 'a'"),
    "long list": ("a = [1, 2]", lambda t: len(t["a"].items(1)), 1, "a: 2 elements; at most 1 are"),
    "named integers": ('a = {x = "0x10"}', lambda t: t.named_integers("a"), {"x": 16}, ""),
    "named texts": ('a = {x = "y"}', lambda t: t.named_texts("a"), {"x": "y"}, ""),
}


@pytest.mark.parametrize("case", GETTERS)
def test_getter(case: str) -> None:
    """The value, and at most one mistake at its key."""
    text, get, value, message = GETTERS[case]
    document = read(text)
    assert get(document.root) == value
    found = told(document)
    assert len(found) == bool(message), found
    for line in found:
        # A missing key is reported at the table around it, which begins on the first line.
        assert line.startswith(f"f.toml:1: {message}"), line


def test_unknown_keys_name_the_nearest_known_one() -> None:
    """Each unknown key of each table that was opened, in the order of the document."""
    document = read('fiel = 1\n[s]\nname = "x"\n[[t]]\na = 1\n[[t]]\n\nb = 2\n')
    top = document.root
    top.integer("file", 0)
    top.table("s").text("name")
    for row in top.tables("t"):
        row.integer("a", 0)
    with pytest.raises(StructuredError) as error:
        document.finish()
    assert error.value.mistakes == (
        Mistake("f.toml", 1, 1, "fiel", "unknown key 'fiel'; did you mean 'file'?"),
        Mistake("f.toml", 8, 1, "t[1].b", "unknown key 'b'; expected one of a"),
    )
    assert str(error.value) == (
        "f.toml:1: fiel: unknown key 'fiel'; did you mean 'file'? (and 1 more mistake)"
    )


def test_a_table_is_the_same_each_time() -> None:
    """Two readers of one table know its keys together."""
    document = read("[s]\na = 1\nb = 2\n")
    document.root.table("s").integer("a")
    document.root.table("s").integer("b")
    document.finish()


def test_wrong_places() -> None:
    """A mistake marks its place and all around it, and nothing beside it."""
    document = read('[s]\na = [{ b = "x" }]\nc = 1\n')
    value = document.root.table("s")["a"].items()[0].table()["b"]
    value.integer()
    assert value.is_wrong
    assert document.is_wrong(("s", "a"))
    assert document.is_wrong(())
    assert not document.is_wrong(("s", "c"))
    assert [str(m) for m in document.mistakes()] == ["f.toml:2: s.a[0].b: 'x' is not a number"]


def test_lines_inside_a_text() -> None:
    """A mistake in a text of several lines may name one of them."""
    document = read('a = 1\ntext = """\none\ntwo\n"""\n')
    document.root.integer("a")
    document.root["text"].mistake("what is two?", line=2, column=3)
    assert document.mistakes() == [Mistake("f.toml", 4, 3, "text", "what is two?")]
    document = read('text = "one"\n')
    document.root["text"].mistake("what is one?", line=1)
    assert told(document) == ["f.toml:1: text: what is one?"]


def test_mistakes_have_an_end() -> None:
    """The first hundred are kept."""
    document = read("a = [" + "{}," * 200 + "]")
    for item in document.root["a"].items():
        item.integer()
    assert len(document.mistakes()) == MAX_MISTAKES


def test_documents_without_text_have_no_lines() -> None:
    """Data from elsewhere is read alike."""
    document = Document("made", {"a": "x"})
    document.root.integer("a")
    assert told(document) == ["made: a: 'x' is not a number"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4096", 4096),
        ("0x1000", 4096),
        ("-1", -1),
        ("2M", 2 << 20),
        ("1g", 1 << 30),
        ("007K", 7168),
    ],
)
def test_sizes(text: str, value: int) -> None:
    """Decimal, hexadecimal, signed, and with a binary suffix."""
    assert parse_size(text) == value
    if text[-1].isdigit():
        assert parse_integer(text) == value


@pytest.mark.parametrize("text", ["", "K", "four", "0x1K", "0x" + "f" * 63, "9" * 65 + "K", "²K"])
def test_what_is_not_a_size(text: str) -> None:
    """Anything else, and digits without end."""
    with pytest.raises(ValueError, match=r"too long|invalid literal"):
        parse_size(text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below),
    max_leaves=10,
)


@given(JSON_VALUES)
def test_any_value_can_be_asked_for_anything(data: object) -> None:
    """No getter raises, whatever is there."""
    document = Document("any", {"a": data})
    value: Value = document.root["a"]
    value.text(limit=1, empty=False, nul=False)
    value.integer(sizes=True)
    value.boolean()
    value.choice(("x", "y"))
    value.flags({"x": 1})
    value.hexadecimal()
    value.texts()
    for table in (value.table(), *value.tables()):
        table.text("b")
        table.named_tables("c")
    document.close_tables()
    assert all(str(mistake) for mistake in document.mistakes())
