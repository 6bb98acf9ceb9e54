"""A record of a list elsewhere in the handover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import Codec, as_number, pointer, register
from khotool.handover.values import Array, Link, Rows

if TYPE_CHECKING:
    from khotool.codec.contexts import Builder, Lifter, Reader
    from khotool.model.image import Node
    from khotool.model.image import Table as NodeTable
    from khotool.structured import Table, Value

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------


@register(Shape.ELEMENT)
class ElementCodec(Codec):
    """A record of a list elsewhere: a link by its path."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The path of the record; a number that names none stays."""
        return Link(node.reference) if node.reference else node.value

    def read(
        self,
        reader: Reader,
        definition: Definition,
        field: Field,
        table: Table,
    ) -> Any:
        """The path of a record, as dump prints it."""
        return link_or_number(reader, field, table[field.label])

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """The address of the record."""
        value = values.get(field.label)
        if isinstance(value, Link):
            return builder.places.record(value, path)
        return as_number(field, values, path)

    def lift_column(self, lifter: Lifter, table: NodeTable, field: Field, rows: Rows) -> None:
        """Paths of the records that a column names."""
        struct = pointer(field).of
        rows.links[field.label] = [
            lifter.link(struct, address) for address in table.column(field.label).tolist()
        ]

    def read_cell(self, reader: Reader, field: Field, row: Table) -> Any:
        """The path of a record, or a number."""
        given = row.get(field.label)
        return 0 if given is None else link_or_number(reader, field, given)

    def build_column(
        self, builder: Builder, field: Field, rows: Rows, columns: dict[str, Array], path: str
    ) -> None:
        """Addresses of the records."""
        links = rows.links.get(field.label)
        if links is not None:
            columns[field.label] = np.array(
                [
                    builder.places.record(link, path) if isinstance(link, Link) else link
                    for link in links
                ],
                np.uint64,
            )


def link_or_number(reader: Reader, field: Field, given: Value) -> Link | int:
    """The path of a record, or its address."""
    if isinstance(given.raw, str) and given.raw.startswith("/"):
        return Link(given.raw)
    return reader.number(field, given)
