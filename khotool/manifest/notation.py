"""Numbers in the notations that dump prints them in."""

from __future__ import annotations

import re

from khotool.abi.definition import Field
from khotool.abi.record import int_range
from khotool.structured import Value, parse_size
from khotool.structured.mistake import suggestion

_BDF = re.compile(r"([0-9a-fA-F]{2}):([01][0-9a-fA-F])\.([0-7])")
_NOTE = re.compile(r"^(.*\S) \((?:[^()]*)\)$")
"""``2097152 (2 MiB)``, ``F_SEAL_WRITE (0x8)``: the number, and the same for people."""
MOST = (1 << 64) - 1


def read_number(field: Field | None, given: Value) -> int:
    """A number: an integer, a string such as ``0x1000`` or ``2M``, or as dump prints the field.

    That is a name of an enumeration, names of flags joined by ``|`` or as a list, a PCI address
    such as ``02:00.0``, and any of them with the number once more in parentheses.
    """
    if field is None:
        return given.integer(sizes=True)
    if field.flags and isinstance(given.raw, list):
        return given.flags(field.flags)
    if isinstance(given.raw, str):
        found = printed_number(field, given.raw)
        if found is not None:
            return found
        if (field.flags or field.enum) and not given.raw[:1].isdecimal():
            names = [*field.enum, *field.flags]
            given.mistake(f"{given.raw!r:.60} is not a number{suggestion(given.raw, names)}")
            return 0
    return given.integer(least=bounds(field)[0], most=bounds(field)[1], sizes=True)


def printed_number(field: Field, text: str) -> int | None:
    """The number that dump prints as ``text``; None for a plain number and for anything else."""
    noted = _NOTE.match(text)
    shown = noted[1] if noted else text
    if shown in field.enum:
        return field.enum[shown]
    parts = shown.split("|")
    if field.flags and any(part in field.flags for part in parts):
        return _flags(field, parts)
    address = _BDF.fullmatch(shown) if field.role == "bdf" else None
    if address is not None:
        return int(address[1], 16) << 8 | int(address[2], 16) << 3 | int(address[3])
    if noted is None:
        return None
    try:
        return parse_size(shown)
    except ValueError:
        return None


def bounds(field: Field) -> tuple[int, int]:
    """Smallest and largest number that a field may have, as far as its type says it."""
    kind = field.type
    if kind is None or kind.kind != "int" or not kind.size:
        width = field.width if isinstance(field.width, int) else 0
        return 0, (1 << width) - 1 if width and not field.in_place else MOST
    return int_range(kind.size, kind.signed)


def _flags(field: Field, parts: list[str]) -> int | None:
    result = 0
    for part in parts:
        try:
            result |= field.flags[part] if part in field.flags else int(part, 0)
        except ValueError:
            return None
    return result
