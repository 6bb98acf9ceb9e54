"""TOML as it is safe to work with: numbers of a size that messages can show."""

from __future__ import annotations

import tomllib
from typing import Any

#: Well above any address: what is merely too large keeps its own message.
MOST_BITS = 128
#: Characters of a number that stands in a string.
MOST_DIGITS = 64


def read_toml(text: bytes) -> dict[str, Any]:
    """Parse a TOML document.

    Args:
        text: UTF-8.

    Raises:
        ValueError: not TOML, nested too deeply, or a number of more than ``MOST_BITS`` bits.
    """
    try:
        document = tomllib.loads(text.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    refuse_huge_numbers(document)
    return document


def refuse_huge_numbers(document: object) -> None:
    """Look at every number of a parsed document.

    Raises:
        ValueError: one has more than ``MOST_BITS`` bits. Python converts no integer of more than
            4300 digits to text, so that a message with one in it would be another error.
    """
    left = [document]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
        elif isinstance(item, int) and item.bit_length() > MOST_BITS:
            raise ValueError(f"a number of {item.bit_length()} bits")


def parse_number(text: str) -> int:
    """A number such as ``4096`` or ``0x1000``.

    Raises:
        ValueError: no number, or one of more than ``MOST_DIGITS`` characters.
    """
    if len(text) > MOST_DIGITS:
        raise ValueError("too long for a number")
    return int(text, 0)
