"""From a node of the model to the bytes it stands for."""

from __future__ import annotations

from khotool.abi.definition import Shape
from khotool.absent import Absent
from khotool.errors import InputError, UsageError
from khotool.extract.memfd import contents_of, memfd_plan
from khotool.extract.plan import Plan, plan_of
from khotool.model.image import Image, Node, NodeKind

MAX_ORDER = 36


def payload_plan(image: Image, node: Node) -> Plan:
    """What was handed over at a node: contents of a file, a region, a folio, a sub-tree.

    Raises:
        UsageError: the node stands for no payload; says what to ask for instead.
        InputError: it does, but its place could not be read.
    """
    found = contents_of(node)
    if found is not None:
        try:
            return memfd_plan(image, *found)
        except ValueError as error:
            raise InputError(f"{image.info.path}: {error}") from None
    plan = _range(node) or _folio(image, node) or _block(node) or _nothing(node)
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


def has_range(node: Node) -> bool:
    """True if a record gives a range of memory, as the record of a file may."""
    return _range(node) is not None


def _range(node: Node) -> Plan | None:
    """A range of memory that a node is, or that a field in it, or in a file's record, gives."""
    record = node.get("data")
    below = record.children[:64] if record is not None else []
    for child in (node, *node.children[:64], *below):
        reference = child.field.points_to if child.field is not None else None
        if reference is not None and reference.shape is Shape.RANGE and child.target is not None:
            owner = child.parent if child is node and child.parent is not None else node
            return plan_of(owner.path, "region", [(child.target.address, child.target.size)])
    return None


def has_block(node: Node) -> bool:
    """True if a value leads to a block of memory that nothing describes."""
    return _block(node) is not None


def _block(node: Node) -> Plan | None:
    """A block of memory that nothing describes, which a node or a value in it leads to."""
    for child in (node, *node.children[:64]):
        reference = child.field.points_to if child.field is not None else None
        if reference is not None and reference.shape is Shape.OPAQUE and child.target is not None:
            owner = child.parent if child is node and child.parent is not None else node
            return plan_of(owner.path, "region", [(child.target.address, child.target.size)])
    return None


def is_empty(node: Node) -> bool:
    """True for a file without contents, and so without a list of folios."""
    return _nothing(node) is not None


def _nothing(node: Node) -> Plan | None:
    """The contents of a file that has none, and so no list of folios."""
    record = node.get("data") or node
    if record.get("pos") is not None and record.value_of("size") == 0:
        return plan_of(record.path, "memfd", [])
    return None


def _folio(image: Image, node: Node) -> Plan | None:
    """A folio that a row of a table, or a field of it, points to."""
    row = node if node.kind is NodeKind.RECORD else node.parent
    if row is None or row.parent is None or row.parent.table is None or row.key is None:
        return None
    for child in row.children:
        reference = child.field.points_to if child.field is not None else None
        if reference is None or reference.shape is not Shape.FOLIO or not child.value:
            continue
        assert child.field is not None
        address = int(child.value)
        if child.field.role == "pfn":
            address <<= image.geometry.page_shift
        notes: list[str] = []
        order = row.value_of(reference.order) if reference.order else None
        if not isinstance(order, int):
            block = None if isinstance(image.map, Absent) else image.map.blocks.block_of(address)
            order = block[1] if block is not None else 0
            if block is None:
                notes.append("the map does not tell the folio's size; one page is taken")
        if order > MAX_ORDER or address >= 1 << 64:
            raise InputError(f"{image.info.path}: {row.path}: no folio has order {order}")
        size = image.geometry.page_size << order
        return plan_of(row.path, "folio", [(address, min(size, (1 << 64) - 1 - address))], notes)
    return None


def _hint(node: Node) -> str:
    if node.parent is None or node.get("files") is not None or node.name in ("sessions", "files"):
        return "--all -o FOLDER writes all that is in it"
    if node.table is not None:
        return f"name one row, such as {node.path}[0], or give --raw"
    if node.name == "regions" and node.children:
        return f"name one of them, such as {node.children[0].path}"
    return "--raw writes the bytes of the record itself"
