"""A range of payload, its length in a sibling."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.abi.definition import Field, Shape
from khotool.codec.base import Pointer, reference_of, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.opaque import PayloadCodec, one_block
from khotool.codec.walk import owner_path
from khotool.handover.values import Array, Block, Rows
from khotool.model.node import UNPLACED, Node, Span, Table
from khotool.structured import Table as Written


@register(Shape.RANGE)
class RangeCodec(PayloadCodec):
    """Payload whose length in bytes is a sibling of its address."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """The range is the node's target."""
        size = pointer.values.get(pointer.reference.size)
        if isinstance(size, int):
            node.target = Span(node.value, size)
            walk.claim(node, node.value, size)

    def column(self, walk: Walk, node: Node, table: Table, field: Field) -> None:
        """Each row has its range."""
        label = reference_of(field).size
        if label:
            sizes = np.minimum(table.column(label), np.uint64(UNPLACED - 1))
            walk.recorder.claim_many(owner_path(node), table.column(field.label), sizes)

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The range; 0 where there is none."""
        size = node.parent.value_of(reference_of(node.field).size) if node.parent else 0
        return one_block(lifter, int(node.value), size or 0) if node.value else node.value

    def lift_column(self, lifter: Lifter, table: Table, field: Field, rows: Rows) -> None:
        """A range for each row that has one."""
        addresses = table.column(field.label)
        lengths = table.column(reference_of(field).size)
        rows.columns[reference_of(field).size] = lengths
        rows.used = addresses != 0
        rows.payload = lifter.payload(addresses[rows.used], lengths[rows.used])

    def read_cell(self, reader: Reader, field: Field, row: Written) -> Any:
        """A range, as elsewhere or with its keys beside the values of the row; None for a hole."""
        if row.boolean("hole"):
            return None
        label = reference_of(field).size
        given = row[field.label].table() if field.label in row else row
        length = row.optional_integer(label, sizes=True)
        asked = given.optional_integer("size", sizes=True)
        if length is not None and asked is not None and length != asked:
            row[label].mistake(f"{label} is {length}, but size is {asked}; leave one of them out")
        known = length if asked is None else asked
        size = reader.geometry.page_size if known is None else known
        return Block(size, reader.memory(given, size))

    def build_column(
        self, builder: Builder, field: Field, rows: Rows, columns: dict[str, Array], path: str
    ) -> None:
        """Addresses and lengths; the length of a row without memory stays as it is."""
        column = np.zeros(len(rows), np.uint64)
        if rows.payload is not None:
            used = slice(None) if rows.used is None else rows.used
            length = reference_of(field).size
            lengths = columns.get(length, np.zeros(len(rows), np.uint64)).copy()
            lengths[used] = rows.payload.sizes
            columns[length] = lengths
            column[used] = builder.place_payload(rows.payload, path)
        columns[field.label] = column
