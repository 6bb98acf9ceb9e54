"""Integers as people write them in documents."""

from __future__ import annotations

MAX_BITS = 128
"""Bits of an integer in a document: well above any address, and short enough for a message."""
MAX_DIGITS = 64
"""Characters of an integer in a string."""
SUFFIXES = {"K": 10, "M": 20, "G": 30, "T": 40}
"""Binary size suffixes with their shifts."""


def parse_integer(text: str) -> int:
    """An integer such as ``4096`` or ``0x1000``.

    Raises:
        ValueError: not an integer, or longer than ``MAX_DIGITS`` characters.
    """
    if len(text) > MAX_DIGITS:
        raise ValueError("too long for a number")
    return int(text, 0)


def parse_size(text: str) -> int:
    """An integer as for ``parse_integer``, or with a suffix such as ``2M`` (2 MiB).

    Raises:
        ValueError: neither.
    """
    shift = SUFFIXES.get(text[-1:].upper(), 0)
    digits = text[:-1]
    # A hexadecimal number has no suffix: none of the four letters is one of its digits.
    if shift and digits.isascii() and digits.isdecimal():
        return parse_integer(digits.lstrip("0") or "0") << shift
    return parse_integer(text)


def has_huge_integer(document: object) -> int:
    """Bits of an integer beyond ``MAX_BITS`` anywhere in a parsed document; 0 without one.

    Python converts no integer of more than 4300 digits to text, so that a message with one in it
    would itself fail.
    """
    left = [document]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
        elif isinstance(item, int) and item.bit_length() > MAX_BITS:
            return item.bit_length()
    return 0
