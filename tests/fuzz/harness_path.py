"""Paths of the model, sizes, addresses and ranges, as somebody types them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from khotool.cli.addresses import parse_address, parse_range
from khotool.errors import KhotoolError
from khotool.model.path import parse_path, quote_key, quote_name
from khotool.structured.numbers import SHIFTS, parse_size
from khotool.view.notation import bytes_text, size_text

KIND = "text"
RUNS = 60000

TOP = 1 << 64


def seeds() -> Iterator[bytes]:
    """Paths with keys, quotes, escapes and letters of several bytes; numbers with units."""
    yield b"/LUO/sessions[vm-alpha]/files[0x1]/data/folios[3]/pfn"
    yield b'/"a b"/sessions["a\\"]\\x00\\u1234"]'
    yield "/LUO/sessions[\u00e4\U0001f600]".encode()
    yield b"/"
    yield from (b"2 MiB", b"0x10_0000", b"48B", b"1_024k", b"#0x4de", b"0x4de000+256", b"7t")


def one_input(data: bytes) -> None:
    """Every step comes back from its text, quoted where it has to be; a size is its product."""
    text = data.decode("utf-8", "surrogateescape")
    if not text.startswith("/"):
        numbers(text)
    steps = parse_path(text)
    again = "".join(
        f"[{quote_key(step.text)}]" if step.is_key else f"/{quote_name(step.text)}"
        for step in steps
    )
    assert parse_path(again or "/") == steps


def numbers(text: str) -> None:
    """A text as a size, an address, and a range."""
    with suppress(ValueError):
        size = parse_size(text)
        digits = text.strip().rstrip("iIbB ")
        unit = digits[-1:].upper()
        if unit in SHIFTS and unit and not text.lower().startswith("0x"):
            assert size == int(digits[:-1]) << SHIFTS[unit], text
        shown = size_text(abs(size))
        if "." not in shown:
            assert parse_size(shown) == abs(size), shown
        assert bytes_text(abs(size)).split()[0] == str(abs(size))
    with suppress(KhotoolError):
        assert 0 <= parse_address(text, 4096) < TOP
    with suppress(KhotoolError):
        start, length = parse_range(text, 4096, 512)
        assert 0 <= start < start + length <= TOP
