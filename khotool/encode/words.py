"""Sparse arrays of words whose position means something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.kho_array import PAGE, POSITION, build
from khotool.errors import EncodeError
from khotool.handover.values import Rows

if TYPE_CHECKING:
    from khotool.encode.build import Builder


def build_words(
    builder: Builder, definition: Definition, field: Field, rows: Any, path: str
) -> dict[str, Any]:
    """Lay out the array that a descriptor leads to; the descriptor's values.

    Args:
        field: the embedded descriptor.
        rows: a table with a column of positions.
    """
    assert field.type is not None
    assert field.holds is not None
    registry = builder.registry
    owner = registry.owner_of_struct(definition, field.type.struct)
    fields = owner.structs[field.type.struct].fields
    first = next(f for f in fields if f.points_to and f.points_to.shape is Shape.KHO_ARRAY)
    values: dict[str, Any] = {f.label: f.expect for f in fields if f.expect is not None}
    if rows is None or not len(rows):
        return values
    if not isinstance(rows, Rows):
        raise EncodeError(path, "expected a table")
    columns = dict(rows.columns)
    position = columns.pop(POSITION.label, None)
    if position is None:
        position = np.arange(len(rows), dtype=np.uint64)
    if len(np.unique(position)) < len(position):
        raise EncodeError(path, f"two rows have the same {POSITION.label}")
    compiled = registry.compile(definition, field.holds.of, builder.geometry)
    data = builder.table(compiled, Rows(columns, rows.payload, rows.used), path)
    words = np.frombuffer(data, f"{builder.geometry.prefix}u8").astype(np.uint64)
    if rows.used is not None:
        # A position without anything has no word.
        position, words = position[rows.used], words[rows.used]
    page = registry.compile(owner, PAGE, builder.geometry)

    def allocate(count: int) -> list[int]:
        return [builder.alloc_preserve(builder.geometry.page_size, path) for _ in range(count)]

    address, writes = build(position, words, page, allocate)
    builder.writes += writes
    return values | {first.label: address}
