"""An address in payload that something else leads to, which moves with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import NumberCodec, as_number, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.record import link_or_number
from khotool.handover.values import Link, Moved
from khotool.model.node import Node
from khotool.structured import Table as Written


@register(Shape.INSIDE)
class InsideCodec(NumberCodec):
    """The address is all there is; whose memory it is, something else says."""

    def walk(
        self, walk: Walk, node: Node, definition: Definition, siblings: Mapping[str, Any]
    ) -> None:
        """Nothing is there that nothing else leads to."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The address, which follows the memory it is in."""
        return Moved(int(node.value)) if node.value else node.value

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """The path of payload, whose first address it is; or a number."""
        return link_or_number(reader, field, table[field.label])

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """The address where the memory is now; a number stays."""
        value = values.get(field.label)
        if isinstance(value, Link):
            starts, _ = builder.places.table(value.path, path)
            return int(starts[0]) if len(starts) else 0
        if not isinstance(value, Moved):
            return as_number(field, values, path)
        return int(builder.places.moved(np.array([value.address], np.uint64))[0])
