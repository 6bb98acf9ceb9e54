"""One block of payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import Codec, pointer, register
from khotool.codec.opaque import build_payload, one_block, read_payload
from khotool.handover.values import Array, Block, Payload, Rows

if TYPE_CHECKING:
    from khotool.codec.contexts import Builder, Lifter, Reader
    from khotool.model.image import Node, Table

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------


ROW = ("order", "size", "contents", "hole")
"""Keys of a row of a table whose pointer leads to a block."""
MAX_ORDER = 18
"""Page order of a block of a manifest at most: 1 GiB of pages of 4 KiB."""


@register(Shape.FOLIO)
class FolioCodec(Codec):
    """A power of two of pages, named by its address or by its page frame number."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The block; 0 where there is none."""
        if node.target is None:
            return node.value
        return one_block(lifter, node.target.address, node.target.size)

    def read(
        self,
        reader: Reader,
        definition: Definition,
        field: Field,
        table: Mapping[str, Any],
        where: str,
    ) -> Any:
        """A block of memory: its size, and what it holds."""
        return read_payload(reader, table[field.label], where)

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """The address or page frame number of the block at its new place."""
        number = build_payload(builder, field, values, path)
        placed = isinstance(values.get(field.label), Payload)
        return number >> builder.geometry.page_shift if placed and is_frame(field) else number

    def lift_column(self, lifter: Lifter, table: Table, field: Field, rows: Rows) -> None:
        """A block for each row that has one; its order beside it, or as it was preserved."""
        values = table.column(field.label)
        rows.used = values != 0
        addresses = values[rows.used]
        if is_frame(field):
            addresses = addresses << np.uint64(lifter.geometry.page_shift)
        label = pointer(field).order
        orders = table.column(label)[rows.used] if label else lifter.orders(addresses)
        rows.payload = lifter.payload(addresses, np.uint64(lifter.geometry.page_size) << orders)

    def row_keys(self, field: Field) -> tuple[str, ...]:
        """The block itself as elsewhere, or what it is beside the other values of the row."""
        return (field.label, *ROW)

    def read_cell(self, reader: Reader, field: Field, row: Mapping[str, Any], where: str) -> Any:
        """A block, or None for a hole."""
        if row.get("hole", False):
            return None
        here = where
        given: Mapping[str, Any] = row
        if field.label in row:
            here = f"{where}.{field.label}"
            given = reader.table(row[field.label], here, ("order", "size", "contents"))
        order = reader.integer(given, "order", here, 0)
        if order > MAX_ORDER:
            reader.fault(f"{here}.order", f"at most {MAX_ORDER}")
            order = 0
        size = reader.integer(given, "size", here, reader.geometry.page_size << order)
        return Block(size, reader.memory(given, size, here))

    def build_column(
        self, builder: Builder, field: Field, rows: Rows, columns: dict[str, Array], path: str
    ) -> None:
        """Addresses or page frame numbers of the blocks."""
        column = np.zeros(len(rows), np.uint64)
        if rows.payload is not None:
            addresses = builder.place_payload(rows.payload, path)
            if is_frame(field):
                addresses = addresses >> np.uint64(builder.geometry.page_shift)
            column[slice(None) if rows.used is None else rows.used] = addresses
        columns[field.label] = column


def is_frame(field: Field) -> bool:
    """True for a page frame number, False for an address."""
    return field.role == "pfn"
