"""Integers and sizes as people write them, in documents and on the command line."""

from __future__ import annotations

import re

MAX_BITS = 128
"""Bits of an integer in a document: well above any address, and short enough for a message."""
MAX_DIGITS = 64
"""Characters of an integer in a string."""
SHIFTS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"([0-9][0-9_]*) ?(?:([kmgt])(?:i?b)?|b)", re.IGNORECASE | re.ASCII)


def parse_integer(text: str) -> int:
    """An integer such as ``4096`` or ``0x1000``.

    Raises:
        ValueError: not an integer, or longer than ``MAX_DIGITS`` characters.
    """
    if len(text) > MAX_DIGITS or not text.isascii():
        raise ValueError("not a number, or too long for one")
    return int(text, 0)


def parse_size(text: str) -> int:
    """An integer as for ``parse_integer``, or with a binary unit: ``2M``, ``2 MiB``, ``48 B``.

    Raises:
        ValueError: neither.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return parse_integer(text)
    return parse_integer(match[1].lstrip("0_") or "0") << SHIFTS[(match[2] or "").upper()]


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
