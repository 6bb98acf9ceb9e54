"""One record at an address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Reference, Shape
from khotool.absent import Absent
from khotool.codec.base import Codec, Use, register
from khotool.codec.contexts import Walk
from khotool.codec.fields import record
from khotool.codec.tables import tail
from khotool.model.node import Node, Span

# -- bytes to nodes ----------------------------------------------------------------------


@register(Shape.RECORD)
class RecordCodec(Codec):
    """A struct at an address, with an array of open length after its fields where it has one."""

    def validate(self, use: Use) -> Iterator[str]:
        """The record has a struct."""
        return use.needs_struct("the record")

    def walk(
        self, walk: Walk, node: Node, definition: Definition, siblings: Mapping[str, Any]
    ) -> None:
        """The fields of the record, below its pointer or beside it."""
        assert node.field is not None
        assert node.field.points_to is not None
        reference = node.field.points_to
        compiled = walk.scene.struct(definition, reference.of)
        record_at(walk, node, compiled, definition, holder_of(node, reference))


def holder_of(node: Node, reference: Reference) -> Node | None:
    """Where the values of a target stand: beside its pointer, or, None, below it."""
    return node.parent if reference.inline else None


def record_at(
    walk: Walk,
    node: Node,
    compiled: CompiledStruct,
    definition: Definition,
    holder: Node | None = None,
) -> None:
    """The record that the value of ``node`` leads to, its fields in ``holder`` or in ``node``."""
    address = int(node.value)
    data = walk.scene.read(address, compiled.size)
    if isinstance(data, Absent):
        walk.missing(node, address, data)
        walk.claim(node, address, compiled.size)
        return
    node.target = Span(address, compiled.size)
    walk.claim(node, address, compiled.size)
    node.format = definition.id
    values = record(walk, holder or node, compiled, data, address, definition)
    if compiled.tail is not None:
        tail(walk, node, compiled, definition, values)


# -- nodes to a handover, and back to bytes ----------------------------------------------
