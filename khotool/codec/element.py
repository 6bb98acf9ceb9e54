"""A record elsewhere in the handover: of a list, or of a pointer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np

from khotool.abi.definition import Definition, Field, Reference, Shape
from khotool.codec.base import Codec, as_number, pointer, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.record import link_or_number
from khotool.handover.values import Array, Link, Rows
from khotool.model.node import Node, NodeKind, Table
from khotool.structured import Table as Written

Places = dict[str, dict[int, Node]]
"""Records by the name of their struct, then by physical address."""

# -- bytes to nodes ----------------------------------------------------------------------


@register(Shape.ELEMENT)
class ElementCodec(Codec):
    """A record elsewhere, by its address; what it names may be read only later."""

    def walk(
        self, walk: Walk, node: Node, definition: Definition, siblings: Mapping[str, Any]
    ) -> None:
        """Left until everything has been read."""
        walk.recorder.defer(self.shape, node)

    def column(self, walk: Walk, node: Node, table: Table, field: Field) -> None:
        """Left until everything has been read."""
        walk.recorder.defer(self.shape, node)

    def resolve(self, walk: Walk, nodes: list[Node]) -> None:
        """Every address is that of a record of its struct."""
        places = element_places(walk.recorder.tree)
        for node in nodes:
            if node.table is not None:
                _resolve_columns(walk, node, node.table, places)
            else:
                assert node.field is not None
                assert node.field.points_to is not None
                _resolve(walk, node, places.get(node.field.points_to.of, {}))

    # -- nodes to a handover, and back to bytes ------------------------------------------

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The path of the record; a number that names none stays."""
        return Link(node.reference) if node.reference else node.value

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
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

    def lift_column(self, lifter: Lifter, table: Table, field: Field, rows: Rows) -> None:
        """Paths of the records that a column names."""
        struct = pointer(field).of
        rows.links[field.label] = [
            lifter.link(struct, address) for address in table.column(field.label).tolist()
        ]

    def read_cell(self, reader: Reader, field: Field, row: Written) -> Any:
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


def element_places(tree: Node) -> Places:
    """Elements of all lists of records, and records that pointers lead to, by struct and address.

    A pointer that shares its record with an earlier one does not count.
    """
    found: Places = {}
    for node in tree.walk():
        if node.key is not None and not node.name and node.kind is NodeKind.RECORD and node.span:
            found.setdefault(node.struct, {})[node.span.address] = node
        elif node.struct and node.target is not None and node.target.address == node.value:
            found.setdefault(node.struct, {}).setdefault(node.target.address, node)
    return found


def _resolve(walk: Walk, node: Node, known: Mapping[int, Node]) -> None:
    """A record that is an element of a list, by its address."""
    target = known.get(int(node.value))
    if target is not None:
        node.reference = target.path
        node.target = target.span if target.key is not None else target.target
        return
    assert node.field is not None
    assert node.field.points_to is not None
    text = _no_element(int(node.value), node.field.points_to.of, known)
    walk.recorder.report("MEM319", node, text, node.value)


def _no_element(address: int, struct: str, known: Mapping[int, Node]) -> str:
    """Why an address names no record, and which record is there instead."""
    order = sorted(known)
    row = bisect_right(order, address) - 1
    near = known[order[row]] if row >= 0 else None
    span = None if near is None else near.span if near.key is not None else near.target
    if near is not None and span is not None and address < span.end:
        return f"{address:#x} is inside {near.path}, not its start"
    return f"{address:#x} is not the address of any {struct}"


def _resolve_columns(walk: Walk, node: Node, table: Table, places: Places) -> None:
    """Columns of a table that hold addresses of records."""
    for field, reference in element_columns(table):
        known = places.get(reference.of, {})
        column = table.column(field.label)
        sound = np.isin(column, np.array(sorted(known), np.uint64))
        if field.null == "empty":
            sound |= column == 0
        wrong = np.flatnonzero(~sound)
        if len(wrong):
            row = int(wrong[0])
            text = _no_element(int(column[row]), reference.of, known)
            where = f"{len(wrong)} rows, the first [{row}]: {text}"
            place = table.span(row).address
            walk.recorder.report("MEM319", node, where, place, rows=len(wrong), row=row)


def element_columns(table: Table) -> list[tuple[Field, Reference]]:
    """Columns of a table that hold addresses of records of lists."""
    fields = [f for placed in table.compiled.fields for f in placed.field.parts or (placed.field,)]
    return [
        (field, field.points_to)
        for field in fields
        if field.points_to is not None and field.points_to.shape is Shape.ELEMENT
    ]
