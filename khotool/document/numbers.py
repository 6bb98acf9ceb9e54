"""Lists of numbers in a full document: they are long, so that one without a mistake is read whole.

A number is an integer, or a string such as ``0x4de000``. The list is empty where one is wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.structured import Value, parse_integer

LOWEST = -(1 << 63)
U64 = np.ndarray[Any, np.dtype[np.uint64]]


def integers(given: Value) -> list[int]:
    """A list of numbers of either sign."""
    try:
        if isinstance(given.raw, list):
            return [n if type(n) is int else _integer(n) for n in given.raw]
    except (TypeError, ValueError):
        pass
    _note(given, LOWEST)
    return []


def column(given: Value) -> U64:
    """A list of numbers from 0 to 2^64 - 1, uint64 (n,)."""
    try:
        if isinstance(given.raw, list) and all(type(number) is int for number in given.raw):
            return np.array(given.raw, np.uint64)
        return np.array(integers(given), np.uint64)
    except OverflowError:
        _note(given)
        return np.empty(0, np.uint64)


def rows(given: Value, width: int) -> U64:
    """A list of lists of ``width`` numbers from 0 to 2^64 - 1 each, uint64 (n, width)."""
    items = given.items()
    wrong = [item for item in items if not isinstance(item.raw, list) or len(item.raw) != width]
    for item in wrong:
        item.mistake(f"expected {width} numbers")
    try:
        good = () if wrong else given.raw
        plain = [[n if type(n) is int else _integer(n) for n in row] for row in good]
        return np.array(plain, np.uint64).reshape(-1, width)
    except (TypeError, ValueError, OverflowError):
        for item in items:
            _note(item)
        return np.empty((0, width), np.uint64)


def _integer(number: object) -> int:
    if not isinstance(number, str):
        raise TypeError("not a number")
    return parse_integer(number)


def _note(given: Value, least: int = 0) -> None:
    """Note which numbers of a list are wrong."""
    for item in given.items():
        item.integer(least=least)
