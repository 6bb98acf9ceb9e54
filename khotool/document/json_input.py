"""Read a JSON document key by key; every error names its place."""

from __future__ import annotations

from typing import Any

from khotool.abi.record import fit_int
from khotool.errors import EncodeError
from khotool.structured.numbers import parse_integer


def take(data: Any, key: str, kind: type[Any], where: str) -> Any:
    """A key of an object, of the expected type.

    Raises:
        EncodeError: missing, or of a wrong type.
    """
    if not isinstance(data, dict):
        raise EncodeError(where, "expected an object")
    if key not in data:
        raise EncodeError(where, f"key {key!r} is missing")
    value = data[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise EncodeError(f"{where}.{key}", f"expected {kind.__name__}, found {value!r:.40}")
    return value


def number(value: Any, where: str) -> int:
    """A number, or a string such as ``0x4de000``.

    Raises:
        EncodeError: neither.
    """
    if isinstance(value, str):
        try:
            return parse_integer(value)
        except ValueError:
            raise EncodeError(where, f"{value!r:.60} is not a number") from None
    if not isinstance(value, int) or isinstance(value, bool):
        raise EncodeError(where, f"expected a number, found {value!r:.60}")
    return value


def word(value: Any, where: str) -> int:
    """A number from 0 to 2^64 - 1; as ``number``.

    Raises:
        EncodeError: no number, or out of range.
    """
    return fit_int(number(value, where), 8, False, where)


def address_of(data: Any, where: str) -> int:
    """The ``address`` of a region, below 2^64."""
    return word(data.get("address"), f"{where}.address")
