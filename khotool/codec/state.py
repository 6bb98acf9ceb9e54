"""State of an architecture, or of a configuration: what tells its layout is the state itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from khotool.abi.definition import Definition, Field, Kind, Shape
from khotool.codec.base import as_number, codec_of, pointer, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.handler import handler_definition, handler_format
from khotool.codec.opaque import PayloadCodec, read_payload
from khotool.codec.record import place_record, record_at
from khotool.errors import EncodeError
from khotool.handover.values import Handle
from khotool.model.node import Node, NodeState
from khotool.structured import Table as Written

SIZE = "size"
"""Key of payload in a manifest; a record has fields instead."""


@register(Shape.STATE)
class StateCodec(PayloadCodec):
    """A record of one of several definitions, or a block that none of them reads."""

    # -- bytes to nodes ------------------------------------------------------------------

    def walk(
        self, walk: Walk, node: Node, definition: Definition, siblings: Mapping[str, Any]
    ) -> None:
        """The record by the definition whose conditions hold, else the block as it is."""
        assert node.field is not None
        reference = pointer(node.field)
        chosen = handler_format(walk, node, replace(reference, kind=Kind.STATE), reference.of)
        if chosen is not None:
            walk.recorder.use(chosen)
        if chosen is not None and chosen.content in chosen.structs:
            record_at(walk, node, walk.scene.content(chosen), chosen)
            return
        node.state = NodeState.UNKNOWN_FORMAT
        codec_of(Shape.OPAQUE).walk(walk, node, definition, siblings)

    # -- nodes to a handover, and back to bytes ------------------------------------------

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
        return reader.handle(replace(pointer(field), kind=Kind.STATE), given, table[field.label])

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """The record in a block of its own, the payload at its new place, or the number."""
        value = values.get(field.label)
        if not isinstance(value, Handle):
            return super().build(builder, definition, field, values, path)
        if value.values is None:
            return as_number(field, {field.label: value.literal}, path)
        own = handler_definition(builder, Kind.STATE, pointer(field).of, value)
        if own is None or own.content not in own.structs:
            raise EncodeError(path, f"no definition says how {pointer(field).of} is written")
        return place_record(builder, own, own.content, value.values, path)
