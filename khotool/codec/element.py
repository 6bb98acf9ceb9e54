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
    from khotool.model.image import Node, Table

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
        table: Mapping[str, Any],
        where: str,
    ) -> Any:
        """The path of a record, as dump prints it."""
        given = table[field.label]
        if isinstance(given, str) and given.startswith("/"):
            return Link(given)
        return reader.number(given, where)

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

    def lift_column(self, lifter: Lifter, table: Table, field: Field, rows: Rows) -> None:
        """Paths of the records that a column names."""
        struct = pointer(field).of
        rows.links[field.label] = [
            lifter.link(struct, address) for address in table.column(field.label).tolist()
        ]

    def read_cell(self, reader: Reader, field: Field, row: Mapping[str, Any], where: str) -> Any:
        """The path of a record, or a number."""
        given = row.get(field.label, 0)
        if isinstance(given, str) and given.startswith("/"):
            return Link(given)
        return reader.number(given, f"{where}.{field.label}")

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
