"""TOML whose numbers can be shown."""

from __future__ import annotations

import pytest

from khotool.abi.toml import MOST_BITS, parse_number, read_toml


def test_numbers_of_any_place_are_looked_at() -> None:
    """A number beyond 128 bits is refused wherever it stands, one of 128 bits is not."""
    most = (1 << MOST_BITS) - 1
    assert read_toml(f"a = [{{ b = [{most:#x}, true] }}]".encode()) == {"a": [{"b": [most, True]}]}
    with pytest.raises(ValueError, match=f"a number of {MOST_BITS + 1} bits"):
        read_toml(f"a = [{{ b = [{most + 1:#x}] }}]".encode())
    with pytest.raises(ValueError, match="a number of 20001 bits"):
        read_toml(f"a = 0x1{'0' * 5000}".encode())


def test_nesting_is_an_error() -> None:
    """Brackets without end are no crash."""
    with pytest.raises(ValueError, match="nested too deeply"):
        read_toml(b"a = " + b"[" * 100_000)


def test_text_that_is_not_utf8() -> None:
    """Bytes that are no text are an error like any other of a document."""
    with pytest.raises(ValueError, match="utf-8"):
        read_toml(b'a = "\xff"')


def test_numbers_in_text() -> None:
    """Decimal and hexadecimal, signed or not; more than 64 characters are no number."""
    assert (parse_number("4096"), parse_number("0x1000"), parse_number("-1")) == (4096, 4096, -1)
    assert parse_number("0x" + "f" * 62) == (1 << 248) - 1
    with pytest.raises(ValueError, match="too long for a number"):
        parse_number("0x" + "f" * 63)
    with pytest.raises(ValueError, match="invalid literal"):
        parse_number("four")
