"""Paths: what is quoted is parsed back, and any text is a path or one error."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.errors import UsageError
from khotool.model.path import Step, parse_path, quote_key, quote_name

ANY = st.text(st.characters(exclude_categories=()))
"""Any characters at all: lone surrogates, controls, those beyond the basic plane."""


@given(st.lists(st.tuples(ANY, st.booleans()), min_size=1))
def test_any_string_comes_back(steps: list[tuple[str, bool]]) -> None:
    """Names and keys of any characters, in any order, survive quoting and parsing."""
    text = "/" + quote_name("top")
    text += "".join(
        f"[{quote_key(word)}]" if is_key else f"/{quote_name(word)}" for word, is_key in steps
    )
    expected = [Step("top", False), *(Step(word, is_key) for word, is_key in steps)]
    assert parse_path(text) == expected


@given(ANY)
def test_quoted_text_is_printable(word: str) -> None:
    """What is quoted can be shown: no controls, no surrogates, no direction marks."""
    assert quote_key(word).isprintable()
    assert quote_name(word).isprintable()


@given(st.one_of(ANY, st.text('/[]"\\uU0dF1 ').map(lambda text: "/" + text)))
def test_any_text_is_a_path_or_an_error(text: str) -> None:
    """No text raises anything but UsageError."""
    with suppress(UsageError):
        parse_path(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LUO", "a path starts with '/', as dump prints it"),
        ("", "a path starts with '/'"),
        ("//a", "empty name at character 1"),
        ("/a/", "empty name at character 3"),
        ("/a[b", "'[' is not closed"),
        ('/a["b', "a quote is not closed"),
        ('/a["b"', "'[' is not closed"),
        ('/a["b"c]', "'[' is not closed"),
        ('/"a', "a quote is not closed"),
        ("/a[b]c", "expected '/' or '[' at character 6"),
        (r'/a["\u12"]', "bad escape at character"),
        (r'/a["\u +12"]', "bad escape at character"),
        (r'/a["\U00110000"]', "bad escape at character"),
    ],
)
def test_errors_say_where(text: str, message: str) -> None:
    """Each error shows the path and the place."""
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_path(text)


def test_examples() -> None:
    """Plain words stay plain; the rest is quoted."""
    assert quote_key("vm-alpha") == "vm-alpha"
    assert quote_key("0x1") == "0x1"
    assert quote_key("") == '""'
    assert quote_key("a b") == '"a b"'
    assert quote_key("\U000e0001") == r'"\U000e0001"'
    assert parse_path("/") == []
    assert parse_path("/LUO/sessions[a]/files[0x1]") == [
        Step("LUO", False),
        Step("sessions", False),
        Step("a", True),
        Step("files", False),
        Step("0x1", True),
    ]
