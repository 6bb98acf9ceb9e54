"""An address in payload that something else leads to, which moves with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import NumberCodec, Pointer, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.record import link_or_number
from khotool.handover.values import Link, Moved
from khotool.model.node import Node
from khotool.structured import Table as Written


@register(Shape.INSIDE)
class InsideCodec(NumberCodec):
    """The address is all there is; whose memory it is, something else says."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """Nothing is there that nothing else leads to."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The address, which follows the memory it is in."""
        return Moved(int(node.value)) if node.value else node.value

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """The path of payload, whose first address it is; or a number."""
        return link_or_number(reader, field, table[field.label])

    def build(self, builder: Builder, pointer: Pointer) -> int:
        """The address where the memory is now; a number stays."""
        value = pointer.value
        if isinstance(value, Link):
            starts, _ = builder.places.table(value.path, pointer.path)
            return int(starts[0]) if len(starts) else 0
        if not isinstance(value, Moved):
            return pointer.number()
        return int(builder.places.moved(np.array([value.address], np.uint64))[0])
