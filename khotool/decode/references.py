"""Values that name something read elsewhere: a record by its address, a file by its token."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from khotool.abi.definition import Field, Kind, Reference, Shape
from khotool.model.image import Node, NodeKind, Table

if TYPE_CHECKING:
    from khotool.decode.walk import Walker

Places = dict[str, dict[int, Node]]
"""Records of lists by the name of their struct, then by physical address."""


def resolve_references(walker: Walker) -> None:
    """Find what every value that names something means, once everything has been read."""
    pending, walker.unresolved = walker.unresolved, []
    places: Places | None = None
    sessions: dict[int, dict[int, Node]] = {}
    for node in pending:
        reference = node.field.points_to if node.field is not None else None
        if node.table is None and reference is not None and reference.shape is Shape.FILE:
            _file(walker, node, reference, sessions)
            continue
        if places is None:
            places = element_places(walker.tree)
        if node.table is not None:
            _columns(walker, node, node.table, places)
        else:
            assert reference is not None
            _element(walker, node, reference, places)


def element_places(tree: Node) -> Places:
    """Elements of all lists of records, by struct and address."""
    found: Places = {}
    for node in tree.walk():
        if node.key is not None and not node.name and node.kind is NodeKind.RECORD and node.span:
            found.setdefault(node.struct, {})[node.span.address] = node
    return found


def _element(walker: Walker, node: Node, reference: Reference, places: Places) -> None:
    """A record that is an element of a list, by its address."""
    known = places.get(reference.of, {})
    target = known.get(int(node.value))
    if target is not None:
        node.reference = target.path
        node.target = target.span
        return
    walker.report("MEM319", node, _no_element(int(node.value), reference.of, known), node.value)


def _no_element(address: int, struct: str, known: dict[int, Node]) -> str:
    """Why an address names no record, and which record is there instead."""
    order = sorted(known)
    row = bisect_right(order, address) - 1
    near = known[order[row]] if row >= 0 else None
    if near is not None and near.span is not None and address < near.span.end:
        return f"{address:#x} is inside {near.path}, not its start"
    return f"{address:#x} is no {struct} of any list"


def _columns(walker: Walker, node: Node, table: Table, places: Places) -> None:
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
            walker.report("MEM319", node, where, table.span(row).address)


def element_columns(table: Table) -> list[tuple[Field, Reference]]:
    """Columns of a table that hold addresses of records of lists."""
    fields = [f for placed in table.compiled.fields for f in placed.field.parts or (placed.field,)]
    return [
        (field, field.points_to)
        for field in fields
        if field.points_to is not None and field.points_to.shape is Shape.ELEMENT
    ]


def _file(
    walker: Walker, node: Node, reference: Reference, sessions: dict[int, dict[int, Node]]
) -> None:
    """Another file of the same session, by its token."""
    own = file_of(node)
    if own is None or own.parent is None:
        return
    files = sessions.get(id(own.parent))
    if files is None:
        files = sessions[id(own.parent)] = {}
        for file in own.parent.elements():
            token = token_of(file)
            if token is not None:
                files.setdefault(token, file)
    found = files.get(int(node.value))
    if found is None:
        walker.report("LUO510", node, f"no file of this session has token {node.value:#x}")
        return
    node.reference = found.path
    handler = handler_of(found)
    if reference.kind and not handler.startswith(reference.kind):
        text = f"token {node.value:#x} is {found.path}, a file of {handler!r}"
        walker.report("LUO511", node, f"{text}; expected {reference.kind!r}")


def file_of(node: Node) -> Node | None:
    """The record of the file that a node hangs from."""
    current: Node | None = node
    while current is not None:
        if current.key is not None and not current.name and _handle(current) is not None:
            return current
        current = current.parent
    return None


def _handle(file: Node) -> Node | None:
    """The value of a record that leads to what a file's handler wrote."""
    for child in file.children:
        reference = child.field.points_to if child.field is not None else None
        if reference is not None and reference.shape is Shape.HANDLER:
            return child if reference.kind == Kind.FILE else None
    return None


def token_of(file: Node) -> int | None:
    """The token of a file."""
    for child in file.children:
        if child.field is not None and child.field.role == "token" and isinstance(child.value, int):
            return child.value
    return None


def handler_of(file: Node) -> str:
    """The string of a file's handler."""
    handle = _handle(file)
    reference = handle.field.points_to if handle is not None and handle.field is not None else None
    value = file.value_of(reference.by) if reference is not None else None
    return value if isinstance(value, str) else ""
