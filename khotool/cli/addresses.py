"""Addresses as people write them on the command line."""

from __future__ import annotations

from khotool.cli.options import number
from khotool.errors import UsageError


def parse_address(text: str, page_size: int) -> int:
    """A physical address in bytes: ``0x4de000``, decimal, or ``#0x4de`` for a page frame."""
    try:
        value = number(text[1:]) * page_size if text.startswith("#") else number(text)
    except ValueError:
        raise UsageError(f"{text!r}: expected an address such as 0x4de000 or #0x4de") from None
    if value >= 1 << 64:
        raise UsageError(f"{text}: an address has at most 64 bits")
    return value


def parse_range(text: str, page_size: int, default: int) -> tuple[int, int]:
    """``ADDR`` or ``ADDR+LEN``: physical address and bytes; ``default`` bytes without LEN."""
    start, plus, length = text.partition("+")
    address = parse_address(start, page_size)
    if not plus:
        return address, min(default, (1 << 64) - address)
    try:
        size = number(length)
    except ValueError:
        raise UsageError(f"{text!r}: expected ADDR+LEN such as 0x4de000+256") from None
    if not 0 < size <= (1 << 64) - address:
        raise UsageError(f"{text}: the length is 0, or the range ends past 64 bits")
    return address, size
