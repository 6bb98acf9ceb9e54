"""The notation of values: as text, by the role of their field, and in JSON."""

from __future__ import annotations

from khotool.abi.definition import HEX_ROLES, Field
from khotool.absent import Absent

RAW_JSON = 4096
"""Bytes of an unexplained value that are written in JSON."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def number_text(value: int, field: Field | None) -> str:
    """A number as its role asks: addresses hex, sizes with a unit, flags and enums by name."""
    role = field.role if field is not None else ""
    if field is not None and field.flags:
        return flags_text(value, field.flags)
    if field is not None and field.enum:
        for name, number in field.enum.items():
            if number == value:
                return f"{name} ({value})"
        return f"{value} (unknown)"
    if role in HEX_ROLES or role in ("pfn", "flags", "bits"):
        return f"{value:#x}" if value or role not in ("flags", "bits") else "0"
    if role == "bytes":
        return bytes_text(value)
    if role == "bdf" and value < 1 << 16:
        return f"{value >> 8:02x}:{value >> 3 & 31:02x}.{value & 7}"
    return str(value)


def json_scalar(value: object, field: Field | None) -> object:
    """A number, string, list or absent value in JSON, by the role of its field."""
    if isinstance(value, Absent):
        return absent_json(value)
    if isinstance(value, bytes):
        return value[:RAW_JSON].hex()
    if isinstance(value, list):
        return [json_scalar(item, field) for item in value]
    if isinstance(value, int) and field is not None and field.role in HEX_ROLES:
        return f"{value:#x}"
    return value


def absent_json(value: Absent) -> dict[str, str]:
    """An absent value in JSON: its reason and its detail."""
    return {"absent": str(value.reason), "detail": value.detail}


def size_text(size: int) -> str:
    """Bytes in the largest unit that leaves a short number: ``2 MiB``, ``12.1 KiB``, ``48 B``."""
    value = float(size)
    unit = 0
    while abs(value) >= 1024 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    if unit == 0:
        return f"{size} B"
    exact = size % (1 << (10 * unit)) == 0
    return f"{size >> (10 * unit) if exact else format(value, '.1f')} {_UNITS[unit]}"


def bytes_text(size: int) -> str:
    """Bytes exactly, and in a unit from 1 KiB up: ``12345 (12.1 KiB)``."""
    return str(size) if size < 1024 else f"{size} ({size_text(size)})"


def flags_text(value: int, names: dict[str, int]) -> str:
    """``flag_names``, and the number in parentheses."""
    shown = flag_names(value, names)
    return shown if shown == f"{value:#x}" or not value else f"{shown} ({value:#x})"


def flag_names(value: int, names: dict[str, int]) -> str:
    """Names of the set bits joined by ``|``; bits without a name in hexadecimal."""
    if not value:
        return "0"
    parts = []
    rest = value
    for name, bit in names.items():
        if bit and value & bit == bit:
            parts.append(name)
            rest &= ~bit
    if rest or not parts:
        parts.append(f"{rest:#x}")
    return "|".join(parts)
