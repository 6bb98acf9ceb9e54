"""Documents as bytes: what is refused and where, and the position of every key."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.structured import MAX_BITS, StructuredError, read_document
from khotool.structured.positions import Path, positions
from khotool.structured.values import key_text

REFUSED: dict[str, tuple[bytes, bool, str]] = {
    "no TOML": (b'id = "x"\ntitle "y"\n', False, "f:2: not TOML: Expected '=' after a key"),
    "an end too early": (
        b"a = 1\nb = ",
        False,
        "f:2: not TOML: Invalid value (at end of document)",
    ),
    "no JSON": (b'{\n "a": ,\n}', True, "f:2: not JSON: Expecting value"),
    "no UTF-8": (b'a = 1\nb = "\xff"', False, "f:2: not TOML: byte 0xff is not UTF-8"),
    "brackets without end": (b"a = " + b"[" * 100_000, False, "f: not TOML: nested too deeply"),
    "JSON brackets": (b"[" * 200_000, True, "f: not JSON: nested too deeply"),
    "a huge integer": (
        f"a = [{{ b = {1 << MAX_BITS:#x} }}]".encode(),
        False,
        "f: an integer of 129",
    ),
    "digits without end": (b'{"a": ' + b"9" * 5000 + b"}", True, "f: not JSON: Exceeds the limit"),
    "more bytes than the limit": (b"a = 1" + b"\n" * 96, False, "f: 101 bytes; at most 100 are"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    """One mistake, with its line where one is known."""
    raw, is_json, message = REFUSED[case]
    limit = 100 if "limit" in case else 1 << 20
    with pytest.raises(StructuredError) as error:
        read_document(raw, "f", is_json=is_json, limit=limit)
    assert str(error.value).startswith(message)
    assert len(error.value.mistakes) == 1


def test_integers_of_128_bits_are_read() -> None:
    """The largest that is accepted."""
    most = (1 << MAX_BITS) - 1
    assert read_document(f"a = {most:#x}".encode(), "f").data == {"a": most}
    huge = read_document(f'{{"a": {most + 1}}}'.encode(), "f", is_json=True, any_integer=True)
    assert huge.data == {"a": most + 1}


TOML = '''\
a = 1
b.c = "x"      # b.d = 2
"q.r" = """
z = 1
"""
t = [ 1, [2,
  3], { k = [4], "l m".n = 1.5 } ]
d = 2026-11-21T07:32:00.5
[s]
x = 'its'
[s.'u']
y = { }
[[m]]
z = 1
[[m]]
[m.n]
o = []
[[m.p]]
q = 1
[[m.p]]
q = 2
"\\u0041\\t" = 1
'''
TOML_LINES = {
    "a": 1, "b": 2, "b.c": 2, "q.r": 3, "t": 6, "t[0]": 6, "t[1]": 6, "t[1][0]": 6, "t[1][1]": 7,
    "t[2]": 7, "t[2].k": 7, "t[2].k[0]": 7, "t[2].l m": 7, "t[2].l m.n": 7, "d": 8, "s": 9,
    "s.x": 10, "s.u": 11, "s.u.y": 12, "m": 13, "m[0]": 13, "m[0].z": 14, "m[1]": 15,
    "m[1].n": 16, "m[1].n.o": 17, "m[1].p": 18, "m[1].p[0]": 18, "m[1].p[0].q": 19,
    "m[1].p[1]": 20, "m[1].p[1].q": 21, "m[1].p[1].A\t": 22,
}  # fmt: skip


def paths_of(data: object) -> list[Path]:
    """Paths of everything in a document."""
    found: list[Path] = []
    stack: list[tuple[Path, object]] = [((), data)]
    while stack:
        path, value = stack.pop()
        found.append(path)
        if isinstance(value, dict):
            stack += [((*path, key), below) for key, below in value.items()]
        elif isinstance(value, list):
            stack += [((*path, number), below) for number, below in enumerate(value)]
    return found


def test_toml_line_of_every_key() -> None:
    """Comments, strings of several lines, arrays, inline tables, arrays of tables."""
    data = read_document(TOML.encode(), "f").data
    found = positions(TOML, paths_of(data), is_json=False)
    assert {key_text(path): line for path, (line, _) in found.items() if path} == TOML_LINES
    assert found["b", "c"] == (2, 1)
    assert found["t", 1, 1] == (7, 3)


def test_json_position_of_every_key() -> None:
    """Keys are at their name, elements at their value."""
    text = '{\n  "a": [1, {"b\\n": "}"},\n    []],\n  "c": {}\n}'
    found = positions(text, paths_of(json.loads(text)), is_json=True)
    assert found == {
        (): (1, 1),
        ("a",): (2, 3),
        ("a", 0): (2, 9),
        ("a", 1): (2, 12),
        ("a", 1, "b\n"): (2, 13),
        ("a", 2): (3, 5),
        ("c",): (4, 3),
    }


def test_the_nearest_table_around_a_missing_key() -> None:
    """A path that is not there has the position of what is around it."""
    assert positions("[s]\n\na = 1\n", [("s", "b"), ("t",)], is_json=False) == {
        ("s", "b"): (1, 1),
        ("t",): (1, 1),
    }


@given(
    st.dictionaries(
        st.text(max_size=4),
        st.recursive(
            st.integers() | st.text(max_size=4),
            lambda below: st.lists(below) | st.dictionaries(st.text(max_size=4), below),
            max_leaves=8,
        ),
        max_size=4,
    ),
    st.sampled_from([None, 1]),
)
def test_json_positions_are_those_of_the_text(data: object, indent: int | None) -> None:
    """What is at the position is the key, or the element."""
    text = json.dumps(data, indent=indent)
    rows = text.split("\n")
    for path, (line, column) in positions(text, paths_of(data), is_json=True).items():
        rest = rows[line - 1][column - 1 :]
        if path and isinstance(path[-1], str):
            assert rest.startswith(json.dumps(path[-1]))
        else:
            value = data
            for step in path:
                value = value[step]  # type: ignore[index]
            assert rest.startswith(json.dumps(value)[:1])


@given(st.text(max_size=200), st.booleans())
def test_any_text_has_positions(text: str, is_json: bool) -> None:
    """No text, valid or not, is too much; positions are those of the text."""
    found = positions(text, [("a",), ("a", 0), ("s", "b")], is_json=is_json)
    assert all(1 <= line <= text.count("\n") + 1 and column >= 1 for line, column in found.values())
