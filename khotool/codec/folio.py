"""One block of payload."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.abi.definition import Field, Shape
from khotool.codec.base import Pointer, reference_of, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.opaque import PayloadCodec, one_block
from khotool.codec.walk import owner_path
from khotool.handover.values import Array, Block, Payload, Rows
from khotool.memory.mapped import row_releaser
from khotool.model.node import Node, Span, Table
from khotool.pages.claims import Column
from khotool.structured import Table as Written

ROW_ORDER = 18
"""Page order of a block of a manifest at most: 1 GiB of pages of 4 KiB."""

MAX_ORDER = 36
"""Orders above this are larger than any physical memory."""
LARGEST_ORDER = 48
"""Orders from here on are not believed at all."""


def _page_column(table: Table, field: Field, page_shift: int) -> Column | None:
    """The pages that a column names, left where they are; None if it is not of 64-bit words."""
    if table.position is not None and field.label == table.position.label:
        return None
    placed = table.compiled.by_label(field.label)
    values = table.records[placed.field.name]
    if values.ndim != 1 or values.dtype.kind != "u" or values.dtype.itemsize != 8:
        return None
    up = page_shift if is_frame(field) else 0
    for part in placed.parts:
        if part.field.label == field.label:
            return Column(values, part.mask, part.shift, up, row_releaser(values))
    return Column(values, up=up, release=row_releaser(values))


@register(Shape.FOLIO)
class FolioCodec(PayloadCodec):
    """A block of payload, by its address or its page frame number."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """The block is the node's target."""
        geometry = walk.scene.geometry
        address = int(node.value)
        if is_frame(pointer.field):
            address <<= geometry.page_shift
        order = pointer.values.get(pointer.reference.order)
        if not isinstance(order, int) or order >= LARGEST_ORDER:
            order = 0
        size = geometry.page_size << order
        node.target = Span(address, size)
        walk.claim(node, address, size)

    def column(self, walk: Walk, node: Node, table: Table, field: Field) -> None:
        """Each row has its block."""
        geometry, label = walk.scene.geometry, reference_of(field).order
        lazy = None if label else _page_column(table, field, geometry.page_shift)
        if lazy is not None:
            walk.recorder.claim_column(owner_path(node), lazy)
            return
        column = table.column(field.label)
        used = column != 0
        starts = column[used]
        if is_frame(field):
            starts = starts << np.uint64(geometry.page_shift)
        size: Any = np.uint64(geometry.page_size)
        if label:
            size = size << np.minimum(table.column(label)[used], np.uint64(MAX_ORDER))
        walk.recorder.claim_many(owner_path(node), starts, size)

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The block; 0 where there is none."""
        if node.target is None:
            return node.value
        return one_block(lifter, node.target.address, node.target.size)

    def build(self, builder: Builder, pointer: Pointer) -> int:
        """The address or page frame number of the block at its new place."""
        number = super().build(builder, pointer)
        placed = isinstance(pointer.value, Payload) and is_frame(pointer.field)
        return number >> builder.geometry.page_shift if placed else number

    def lift_column(self, lifter: Lifter, table: Table, field: Field, rows: Rows) -> None:
        """A block for each row that has one; its order from a column, or as preserved."""
        values = table.column(field.label)
        rows.used = values != 0
        addresses = values[rows.used]
        if is_frame(field):
            addresses = addresses << np.uint64(lifter.geometry.page_shift)
        label = reference_of(field).order
        orders = table.column(label)[rows.used] if label else lifter.orders(addresses)
        rows.payload = lifter.payload(addresses, np.uint64(lifter.geometry.page_size) << orders)

    def read_cell(self, reader: Reader, field: Field, row: Written) -> Any:
        """A block, as elsewhere or with its keys beside the values of the row; None for a hole."""
        if row.boolean("hole"):
            return None
        given = row[field.label].table() if field.label in row else row
        order = given.integer("order", 0, most=ROW_ORDER, sizes=True)
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
