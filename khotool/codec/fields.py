"""Fields of a record as nodes, and what they lead to."""

from __future__ import annotations

from typing import Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field
from khotool.abi.record import decode_record
from khotool.codec.contexts import Walk
from khotool.codec.follow import follow
from khotool.model.node import Node, NodeKind, Span
from khotool.model.region import RecordRegion


def record(
    walk: Walk,
    node: Node,
    compiled: CompiledStruct,
    data: bytes | memoryview,
    address: int,
    definition: Definition,
    values: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A record as a region, its fields as children of ``node``; follows its pointers.

    Args:
        address: physical address in bytes.
        values: of its fields by label, where ``data`` is decoded already.
    """
    if values is None:
        values = decode_record(compiled, data)
    region = RecordRegion(node.path, definition.id, compiled, address, values, node=node)
    walk.recorder.regions.append(region)
    return record_fields(walk, node, compiled, values, address, definition)


def record_fields(
    walk: Walk,
    node: Node,
    compiled: CompiledStruct,
    values: dict[str, Any],
    address: int,
    definition: Definition,
) -> dict[str, Any]:
    """The fields of a record that is already part of a region."""
    if not node.format or node.kind is NodeKind.ENTRY:
        node.format = definition.id
    node.struct = compiled.struct.name
    if not walk.recorder.spend(node, len(compiled.fields)):
        return values
    pending: list[tuple[Node, Field]] = []
    kind, format_id, children = NodeKind.VALUE, definition.id, node.children
    for label, field, offset, size, nested, many, leads in compiled.cells:
        value, at = values[label], address + offset
        # By position: there are many of these.
        child = Node(label, kind, node, None, field, value, Span(at, size), None, format_id)
        children.append(child)
        if nested is not None:
            child.value = None
            if many:
                used = used_elements(compiled, field, values)
                nested_array(walk, child, nested, value[:used], at, definition)
            else:
                record_fields(walk, child, nested, value, at, definition)
        if leads:
            pending.append((child, field))
    for child, field in pending:
        follow(walk, child, field, definition, values)
    return values


def nested_array(
    walk: Walk,
    node: Node,
    nested: CompiledStruct,
    rows: list[dict[str, Any]],
    address: int,
    definition: Definition,
) -> None:
    """A fixed array of structs inside a record: elements of a list, by index."""
    node.kind = NodeKind.LIST
    for index, values in enumerate(rows):
        start = address + index * nested.size
        element = Node("", NodeKind.RECORD, key=str(index), span=Span(start, nested.size))
        record_fields(walk, node.add(element), nested, values, start, definition)


def used_elements(compiled: CompiledStruct, field: Field, values: dict[str, Any]) -> int | None:
    """How many elements of a fixed array its counter says are used; None without a counter."""
    for placed in compiled.fields:
        if placed.field.counts == field.label:
            return max(0, int(values[placed.field.label]))
    return None
