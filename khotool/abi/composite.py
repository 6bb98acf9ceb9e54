"""Strings of several parts, such as ``luo-v5;block-v1``: a version, then those of what it uses.

A record that begins with such a string is as long as the string makes it; what follows the
string is that of the first part.
"""

from __future__ import annotations

from khotool.abi.definition import Definition, FieldType
from khotool.abi.record import encode_text
from khotool.errors import EncodeError
from khotool.records import replace

SEPARATOR = ";"
ALIGNMENT = 8
"""A string in front of a record takes a multiple of so many bytes, with at least one NUL."""
MAX_LENGTH = 255
"""Bytes of a string that are believed."""


def first_part(string: str) -> str:
    """The first part of a string of several; the string itself if it has one."""
    return string.partition(SEPARATOR)[0]


def stretched(definition: Definition, string: str) -> Definition | None:
    """A definition of a record for a longer string in front of it; None where that cannot be.

    Args:
        definition: of the string's first part, a record that begins with it.
        string: all parts; becomes the id.
    """
    struct = definition.structs.get(definition.content)
    if struct is None or not isinstance(struct.size, int) or SEPARATOR not in string:
        return None
    head = struct.fields[0]
    if head.type is None or head.type.kind != "char" or head.value != first_part(string):
        return None
    try:
        length = len(encode_text(string))
    except EncodeError:
        return None
    if length > MAX_LENGTH or "\0" in string:
        return None
    width = -(-(length + 1) // ALIGNMENT) * ALIGNMENT
    kind = FieldType("char", f"char[{width}]", width)
    longer = replace(
        struct,
        fields=(replace(head, type=kind, value=string), *struct.fields[1:]),
        size=struct.size - head.type.size + width,
    )
    return replace(
        definition,
        id=string,
        match={**definition.match, "compatible": (string,)},
        structs={**definition.structs, struct.name: longer},
    )
