"""Text that is safe to show, and numbers that are easy to read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.render.text import plural, quoted, range_text, visible
from khotool.view.notation import bytes_text, flags_text, size_text


@given(st.text(st.characters(codec=None)))
def test_visible_is_printable(text: str) -> None:
    """Whatever a string holds, what is shown is printable and can be written as UTF-8."""
    shown = visible(text)
    assert shown.isprintable()
    shown.encode("utf-8")


def test_visible_keeps_words() -> None:
    """Letters of any language stay; controls, direction marks and stray bytes are escapes."""
    assert visible("ünïcode/näme 日本") == "ünïcode/näme 日本"
    assert visible("a\x1b[31m\u202e\udcff\n") == "a\\x1b[31m\\u202e\\xff\\n"


def test_quoted() -> None:
    """Plain words are bare; the empty string and words with blanks are quoted."""
    assert [quoted(t) for t in ("vm", "", "a b", 'a"b')] == ["vm", '""', '"a b"', '"a\\"b"']


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (12345, "12.1 KiB"),
        (2 << 20, "2 MiB"),
        ((1 << 64) - 1, "16.0 EiB"),
        (1 << 63, "8 EiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    """Exact sizes have no fraction."""
    assert size_text(size) == text


def test_small_texts() -> None:
    """Flags by name with what is unknown; ranges with their last byte; plurals."""
    names = {"READ": 1, "WRITE": 2}
    assert flags_text(0, names) == "0"
    assert flags_text(3, names) == "READ|WRITE (0x3)"
    assert flags_text(0x41, names) == "READ|0x40 (0x41)"
    assert flags_text(0x40, names) == "0x40"
    assert range_text(0x1000, 0x1000) == "0x1000-0x1fff"
    assert range_text(0x1000, 0) == "0x1000"
    assert (bytes_text(17), bytes_text(4096)) == ("17", "4096 (4 KiB)")
    assert (plural(1, "page"), plural(0, "page"), plural(2, "index", "indices")) == (
        "1 page",
        "0 pages",
        "2 indices",
    )
