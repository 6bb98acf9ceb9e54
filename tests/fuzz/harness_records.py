"""Records of every definition: bytes to values in three ways, and back.

Two bytes name the struct, a third a field, a fourth a value of ``EDGES`` for it; the record begins
at 8, so that mutations of words hit words.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.geometry import Geometry
from khotool.abi.record import decode_by_construct, decode_record, decode_records, encode_record
from khotool.errors import DefinitionError, EncodeError
from tests.builders import REGISTRY
from tests.fuzz.damage import EDGES

KIND = "binary"
RUNS = 60000

GEOMETRIES = (Geometry(4096), Geometry(4096, "big"), Geometry(16384, "big"), Geometry(65536))
HEAD = 8
#: Bytes of a record; larger ones repeat themselves.
LARGEST = 1024
#: One of so many inputs goes through construct, which is slow.
SELDOM = 16


@cache
def structs() -> tuple[CompiledStruct, ...]:
    """Every struct of every definition, for each geometry."""
    found = []
    for definition in REGISTRY.definitions.values():
        for name in definition.structs:
            for geometry in GEOMETRIES:
                with suppress(DefinitionError):
                    compiled = REGISTRY.compile(definition, name, geometry)
                    if 0 < compiled.size <= LARGEST:
                        found.append(compiled)
    return tuple(found)


def seeds() -> Iterator[bytes]:
    """Each struct, with other bytes and another field."""
    for number, compiled in enumerate(structs()):
        head = number.to_bytes(2, "little") + bytes([number % 7, number % 23])
        yield head.ljust(HEAD, b"\0") + bytes(number * at % 251 for at in range(compiled.size))


def one_input(data: bytes) -> None:
    """All readers agree, and what is written reads as what was written."""
    number = int.from_bytes(data[:2], "little")
    compiled = structs()[number % len(structs())]
    raw = data[HEAD : HEAD + compiled.size].ljust(compiled.size, b"\0")
    values = decode_record(compiled, raw)
    assert decode_records(compiled, raw, 1) == [values]
    if raw[0] % SELDOM == 0:
        assert decode_by_construct(compiled, raw) == values
    again = encode_record(compiled, values, "fuzz")
    assert again == told(compiled, raw)
    assert decode_record(compiled, again) == values
    field = compiled.leaves[data[2] % len(compiled.leaves)] if len(data) > 2 else None
    if field is not None and isinstance(values[field.label], int):
        changed = values | {field.label: EDGES[data[3] % len(EDGES)] if len(data) > 3 else 0}
        with suppress(EncodeError):
            assert decode_record(compiled, encode_record(compiled, changed, "fuzz")) == changed


def told(compiled: CompiledStruct, raw: bytes) -> bytes:
    """The bytes of a record that its values tell: no gaps, and nothing after the end of a text."""
    told_bytes = bytearray(len(raw))
    for placed in compiled.fields:
        at, end = placed.offset, placed.offset + placed.size
        piece: Any = raw[at:end]
        kind = placed.field.type
        if placed.nested is not None:
            size = placed.nested.size
            piece = b"".join(
                told(placed.nested, piece[row : row + size]) for row in range(0, len(piece), size)
            )
        elif kind is not None and kind.kind == "char":
            piece = piece.split(b"\0", 1)[0].ljust(len(piece), b"\0")
        told_bytes[at:end] = piece
    return bytes(told_bytes)
