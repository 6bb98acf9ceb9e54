"""A preserved block whose contents nothing describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import Codec, as_number, register
from khotool.handover.values import Array, Payload

if TYPE_CHECKING:
    from khotool.codec.contexts import Builder, Lifter, Reader
    from khotool.model.image import Node
    from khotool.structured import Table

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------


@register(Shape.OPAQUE)
class OpaqueCodec(Codec):
    """A preserved block whose contents are taken over as they are."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The block; the number where it leads nowhere."""
        if node.target is None or not node.target.size:
            return node.value
        return one_block(lifter, int(node.value), node.target.size)

    def read(
        self,
        reader: Reader,
        definition: Definition,
        field: Field,
        table: Table,
    ) -> Any:
        """A block of memory: its size, and what it holds."""
        return read_payload(reader, table[field.label].table())

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """The address of the block at its new place."""
        return build_payload(builder, field, values, path)


def one_block(lifter: Lifter, address: int, size: int) -> Payload:
    """One block of payload, at a physical address, of ``size`` bytes."""
    return lifter.payload(np.array([address], np.uint64), np.array([size], np.uint64))


def read_payload(reader: Reader, table: Table) -> Payload:
    """A range of memory: its size, and what it holds."""
    size = table.integer("size", sizes=True)
    start = table.optional_integer("start", sizes=True)
    align = table.integer("align", 0, sizes=True) or None
    contents = reader.memory(table, size)
    return Payload(np.array([size], np.uint64), contents, start, align)


def build_payload(builder: Builder, field: Field, values: Mapping[str, Any], path: str) -> int:
    """Place one block of payload, or keep the number of a pointer; its physical address."""
    value = values.get(field.label)
    if not isinstance(value, Payload):
        return as_number(field, values, path)
    addresses: Array = builder.place_payload(value, path)
    return int(addresses[0])
