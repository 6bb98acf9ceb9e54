"""A path expression."""

from __future__ import annotations

from collections.abc import Iterator

from khotool.model.path import parse_path, quote_key, quote_name

KIND = "text"
RUNS = 6000


def seeds() -> Iterator[bytes]:
    """Paths with keys, quotes, escapes and letters of several bytes."""
    yield b"/LUO/sessions[vm-alpha]/files[0x1]/data/folios[3]/pfn"
    yield b'/"a b"/sessions["a\\"]\\x00\\u1234"]'
    yield "/LUO/sessions[\u00e4\U0001f600]".encode()
    yield b"/"


def one_input(data: bytes) -> None:
    """Every step comes back from its text, quoted where it has to be."""
    steps = parse_path(data.decode("utf-8", "surrogateescape"))
    text = "".join(
        f"[{quote_key(step.text)}]" if step.is_key else f"/{quote_name(step.text)}"
        for step in steps
    )
    assert parse_path(text or "/") == steps
