"""From a node of the model to its payload."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from khotool.abi.definition import Shape
from khotool.absent import Absent
from khotool.errors import InputError, UsageError
from khotool.extract.memfd import memfd_plan
from khotool.extract.plan import Plan, plan_of
from khotool.extract.tables import table_plan
from khotool.model.image import Image, Node, NodeKind
from khotool.view.folios import folios_of

MOST_FIELDS = 64
"""Fields of a record that are looked at for a pointer to its payload."""


def payload_plan(image: Image, node: Node) -> Plan:
    """What was handed over at a node: contents of a file, a region, a folio, a sub-tree.

    The payload of a table whose rows point to memory, or of a record with such a table, is all of
    that memory, one row after the other.

    Raises:
        UsageError: the node has no payload; says what to name instead.
        InputError: it has one, and where it is could not be read.
    """
    plan = _described(image, node)
    if plan is not None:
        return plan
    if node.kind is NodeKind.ENTRY:
        if isinstance(node.value, Absent):
            raise InputError(f"{image.info.path}: {node.path} is {node.value.reason}; nothing left")
        if node.target is not None:
            return plan_of(node.path, "blob", [(node.target.address, node.target.size)])
    if node.parent is None and node.span is not None:
        return plan_of("/", "blob", [(node.span.address, node.span.size)])
    raise UsageError(f"{node.path} has no payload; {_hint(node)}")


def find_payload(image: Image, node: Node) -> Plan | None:
    """As ``payload_plan``; None for a node without payload.

    Raises:
        InputError: it has one, and where it is could not be read.
    """
    try:
        return payload_plan(image, node)
    except UsageError:
        return None


def raw_plan(image: Image, node: Node) -> Plan:
    """The bytes of the metadata itself: a record, a table, what a pointer leads to, a value.

    Raises:
        UsageError: the node has no bytes of its own.
    """
    if node.table is not None:
        pieces = [(int(a), int(s)) for a, s in node.table.extents.tolist()]
        return plan_of(node.path, "record", pieces)
    led = node.target is not None and (node.children or node.kind is NodeKind.ENTRY)
    span = node.target if led else node.span
    if span is None:
        raise UsageError(f"{node.path} has no bytes of its own; name a record or a field in it")
    return plan_of(node.path, "record", [(span.address, span.size)])


def _described(image: Image, node: Node) -> Plan | None:
    """The payload that the definitions describe."""
    folios = folios_of(image, node)
    if folios is not None:
        return memfd_plan(folios)
    plan = (
        _pointed(node, _with_record(node), (Shape.RANGE,))
        or _rows(image, node)
        or _pointed(node, (node, *node.children[:MOST_FIELDS]), (Shape.OPAQUE,))
        or _pointed(node, (node,), (Shape.FOLIO,))
    )
    return plan or _table_of_ranges(image, node) or _empty_file(node)


def _with_record(node: Node) -> Iterator[Node]:
    """A node, what is in it, and what is in the record that its handle leads to."""
    yield node
    yield from node.children[:MOST_FIELDS]
    record = node.get("data")
    if record is not None:
        yield from record.children[:MOST_FIELDS]


def _pointed(node: Node, fields: Iterable[Node], shapes: tuple[Shape, ...]) -> Plan | None:
    """The memory that the first pointer of one of some shapes leads to."""
    for child in fields:
        if child.target is not None and points_to(child) in shapes:
            owner = child.parent if child is node and child.parent is not None else node
            kind = "folio" if points_to(child) is Shape.FOLIO else "region"
            return plan_of(owner.path, kind, [(child.target.address, child.target.size)])
    return None


def points_to(node: Node) -> Shape | None:
    """What the field of a node points to; None for a value that is no pointer."""
    reference = node.field.points_to if node.field is not None else None
    return None if reference is None else reference.shape


def _rows(image: Image, node: Node) -> Plan | None:
    """What a table, a row of one, or a field of a row, points to."""
    if node.table is not None:
        return table_plan(image, node)
    row = node if node.kind is NodeKind.RECORD else node.parent
    if row is None or row.parent is None or row.parent.table is None or row.key is None:
        return None
    return table_plan(image, row.parent, int(row.key))


def _table_of_ranges(image: Image, node: Node) -> Plan | None:
    """What the rows of a table point to that an element of a list, or its record, holds."""
    if node.key is None:
        return None
    for child in _with_record(node):
        if child.table is not None and child.table.pointers(Shape.RANGE):
            return table_plan(image, child)
    return None


def _empty_file(node: Node) -> Plan | None:
    """The contents of a file that has none, and so no list of folios."""
    record = node.get("data") or node
    if record.get("pos") is not None and record.value_of("size") == 0:
        return plan_of(record.path, "memfd", [])
    return None


def _hint(node: Node) -> str:
    if node.parent is None or node.get("files") is not None or node.name in ("sessions", "files"):
        return "--all -o FOLDER writes all that is in it"
    if node.name == "regions" and node.children:
        return f"name one of them, such as {node.children[0].path}"
    return "--raw writes the bytes of the record itself"
