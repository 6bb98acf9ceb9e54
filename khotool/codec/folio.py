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
    from khotool.model.image import Node
    from khotool.model.image import Table as NodeTable
    from khotool.structured import Table

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------


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
        table: Table,
    ) -> Any:
        """A block of memory: its size, and what it holds."""
        return read_payload(reader, table[field.label].table())

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

    def lift_column(self, lifter: Lifter, table: NodeTable, field: Field, rows: Rows) -> None:
        """A block for each row that has one; its order beside it, or as it was preserved."""
        values = table.column(field.label)
        rows.used = values != 0
        addresses = values[rows.used]
        if is_frame(field):
            addresses = addresses << np.uint64(lifter.geometry.page_shift)
        label = pointer(field).order
        orders = table.column(label)[rows.used] if label else lifter.orders(addresses)
        rows.payload = lifter.payload(addresses, np.uint64(lifter.geometry.page_size) << orders)

    def read_cell(self, reader: Reader, field: Field, row: Table) -> Any:
        """A block, as elsewhere or with its keys beside the values of the row; None for a hole."""
        if row.boolean("hole"):
            return None
        given = row[field.label].table() if field.label in row else row
        order = given.integer("order", 0, most=MAX_ORDER, sizes=True)
        size = given.integer("size", reader.geometry.page_size << order, sizes=True)
        return Block(size, reader.memory(given, size))

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
