"""A record elsewhere in the handover: of a list, or of a pointer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import Codec, Pointer, reference_of, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.record import link_or_number
from khotool.handover.values import Array, Link, Rows
from khotool.model.node import Node, NodeKind, Table
from khotool.structured import Table as Written

Places = dict[str, dict[int, Node]]
"""Records by the name of their struct, then by physical address."""


@register(Shape.ELEMENT)
class ElementCodec(Codec):
    """A record elsewhere, by its address; what it names may be read only later."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
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
                _resolve(walk, node, places.get(reference_of(node.field).of, {}))

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The path of the record; a number that names none stays."""
        return Link(node.reference) if node.reference else node.value

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """The path of a record, as dump prints it."""
        return link_or_number(reader, field, table[field.label])

    def build(self, builder: Builder, pointer: Pointer) -> int:
        """The address of the record."""
        value = pointer.value
        if isinstance(value, Link):
            return builder.places.record(value, pointer.path)
        return pointer.number()

    def lift_column(self, lifter: Lifter, table: Table, field: Field, rows: Rows) -> None:
        """Paths of the records that a column names."""
        struct = reference_of(field).of
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
            place = builder.places.record
            numbers = [place(link, path) if isinstance(link, Link) else link for link in links]
            columns[field.label] = np.array(numbers, np.uint64)


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
    text = _no_element(int(node.value), reference_of(node.field).of, known)
    walk.recorder.report("MEM319", node, text, node.value)


def _no_element(address: int, struct: str, known: Mapping[int, Node]) -> str:
    """Why an address does not name a record, and which record is there instead."""
    order = sorted(known)
    row = bisect_right(order, address) - 1
    near = known[order[row]] if row >= 0 else None
    span = None if near is None else near.span if near.key is not None else near.target
    if near is not None and span is not None and address < span.end:
        return f"{address:#x} is inside {near.path}, not its start"
    return f"{address:#x} is not the address of any {struct}"


def _resolve_columns(walk: Walk, node: Node, table: Table, places: Places) -> None:
    """Columns of a table that hold addresses of records."""
    for field in table.pointers(Shape.ELEMENT):
        reference = reference_of(field)
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
