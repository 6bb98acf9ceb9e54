"""The form of JSON documents."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.render.json import Rows, json_chunks

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_reads_back(value: object, compact: bool) -> None:
    """Any document reads back as itself, and is printable text that UTF-8 can hold."""
    text = "".join(json_chunks(value, compact=compact))
    text.encode("utf-8")
    assert all(c == "\n" or c.isprintable() for c in text)
    assert json.loads(text) == json.loads(json.dumps(value))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers())), st.booleans())
def test_rows_are_a_list(rows: list[dict[str, int]], compact: bool) -> None:
    """A streamed array reads like a list in its place."""
    document = {"first": 1, "rows": Rows(iter(rows)), "last": {"a": []}}
    text = "".join(json_chunks(document, compact=compact))
    assert json.loads(text) == {"first": 1, "rows": rows, "last": {"a": []}}


def test_form() -> None:
    """One blank a level; what is short stands on one line; surrogates are escapes."""
    document = {"a": {"b": 1, "c": [1, 2]}, "d": ["x" * 60, "y" * 60], "e": "\udcff"}
    assert "".join(json_chunks(document)) == (
        '{\n "a": {"b": 1, "c": [1, 2]},\n "d": [\n  "'
        + "x" * 60
        + '",\n  "'
        + "y" * 60
        + '"\n ],\n "e": "\\udcff"\n}\n'
    )


@pytest.mark.parametrize("compact", [False, True])
def test_rows_at_any_depth_are_written_as_they_come(compact: bool) -> None:
    """A stream inside objects and arrays is read once, element by element, and is an array."""
    read: list[int] = []

    def numbers() -> Iterator[object]:
        for number in range(3):
            read.append(number)
            yield {"n": number, "deep": Rows([number, [number]])}

    chunks = json_chunks(
        {"a": [1, {"rows": Rows(numbers())}], "b": Rows([]), "c": {}}, compact=compact
    )
    text = ""
    while '"n"' not in text:
        text += next(chunks)
    assert read == [0]
    text += "".join(chunks)
    rows = [{"n": number, "deep": [number, [number]]} for number in range(3)]
    assert json.loads(text) == {"a": [1, {"rows": rows}], "b": [], "c": {}}
    assert (" " in text) is not compact
