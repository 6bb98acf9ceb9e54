"""Types of fields and properties as a definition writes them."""

from __future__ import annotations

import re
from typing import Literal, cast

from khotool.abi.definition import FieldType

MAX_ELEMENTS = 65536
"""Elements of a fixed array of integers or structs."""
_INT = re.compile(r"^(be)?([us])(8|16|32|64)(?:\[([0-9]{1,6})\])?$")
_CHAR = re.compile(r"^char\[([1-9][0-9]{0,8})\]$")
_BYTES = re.compile(r"^bytes\[([0-9]{1,9})\]$")
_ARRAY = re.compile(r"^([A-Za-z_]\w*)\[\]$")
_STRUCT = re.compile(r"^([A-Za-z_]\w*)(?:\[([0-9]{1,6})\])?$")


def parse_type(text: str) -> FieldType:
    """A type by its text: ``u64``, ``beu32[4]``, ``char[48]``, ``bytes``, ``kho_mem[]``.

    Raises:
        ValueError: not a type, or an array of a length that is not allowed.
    """
    if match := _INT.match(text):
        big, sign, bits, count = match.groups()
        return FieldType(
            "int", text, int(bits) // 8, sign == "s", bool(big), count=_elements(count)
        )
    if match := _CHAR.match(text):
        return FieldType("char", text, int(match[1]))
    if match := _BYTES.match(text):
        return FieldType("bytes", text, int(match[1]))
    if text == "bytes[]":
        return FieldType("array", text)
    if text in ("string", "bytes"):
        return FieldType(cast("Literal['string', 'bytes']", text), text)
    if match := _ARRAY.match(text):
        return FieldType("array", text, struct=match[1])
    if match := _STRUCT.match(text):
        return FieldType("struct", text, struct=match[1], count=_elements(match[2]))
    raise ValueError(f"{text!r:.60} is not a type")


def _elements(text: str | None) -> int:
    if text is None:
        return 0
    if not 0 < int(text) <= MAX_ELEMENTS:
        raise ValueError(f"an array has 1 to {MAX_ELEMENTS} elements")
    return int(text)
