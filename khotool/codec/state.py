"""State of an architecture, or of a configuration: what tells its layout is the state itself."""

from __future__ import annotations

from typing import Any

from khotool.abi.definition import Definition, Field, Kind, Reference, Shape
from khotool.codec.base import Pointer, codec_of, reference_of, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.handler import handler_definition, handler_format
from khotool.codec.opaque import PayloadCodec, read_payload
from khotool.codec.record import place_record, record_at
from khotool.errors import EncodeError
from khotool.handover.values import Handle
from khotool.model.node import Node, NodeState
from khotool.records import replace
from khotool.structured import Table as Written

SIZE = "size"
"""Key of payload in a manifest; a record has fields instead."""


@register(Shape.STATE)
class StateCodec(PayloadCodec):
    """A record of one of several definitions, or a block that none of them reads."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """The record by the definition whose conditions hold, else the block as it is."""
        reference = state_of(pointer.field)
        chosen = handler_format(walk, node, reference, reference.of)
        if chosen is not None:
            walk.recorder.use(chosen)
        if chosen is not None and chosen.content in chosen.structs:
            record_at(walk, node, walk.scene.content(chosen), chosen)
            return
        node.state = NodeState.UNKNOWN_FORMAT
        codec_of(Shape.OPAQUE).walk(walk, node, pointer)

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The fields of the record, or the block."""
        if node.target is not None and node.struct:
            return Handle(lifter.fields(node), format=node.format)
        return codec_of(Shape.OPAQUE).lift(lifter, node)

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """The fields of the record, by the definition that ``format`` names; or payload."""
        given = table[field.label].table()
        if SIZE in given:
            return read_payload(reader, given)
        return reader.handle(state_of(field), given, table[field.label])

    def build(self, builder: Builder, pointer: Pointer) -> int:
        """The record in a block of its own, the payload at its new place, or the number."""
        value, name = pointer.value, pointer.reference.of
        if not isinstance(value, Handle):
            return super().build(builder, pointer)
        own = handler_definition(builder, Kind.STATE, name, value)
        if value.values is None or own is None or own.content not in own.structs:
            raise EncodeError(pointer.path, f"no definition says how {name} is written")
        return place_record(builder, own, own.content, value.values, pointer.path)


def state_of(field: Field) -> Reference:
    """What a field leads to, as a handle of a state."""
    return replace(reference_of(field), kind=Kind.STATE)
