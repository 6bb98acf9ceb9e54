"""One block of payload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import Codec, Use, register
from khotool.codec.contexts import Walk
from khotool.codec.walk import owner_path
from khotool.model.node import Node, Span, Table

MAX_ORDER = 36
"""Orders above this are larger than any physical memory."""
LARGEST_ORDER = 48
"""Orders from here on are not believed at all."""

# -- bytes to nodes ----------------------------------------------------------------------


@register(Shape.FOLIO)
class FolioCodec(Codec):
    """A block of payload, by its address or its page frame number."""

    def validate(self, use: Use) -> Iterator[str]:
        """The page order is a field beside it."""
        return use.beside(use.reference.order)

    def walk(
        self, walk: Walk, node: Node, definition: Definition, siblings: Mapping[str, Any]
    ) -> None:
        """The block is the node's target."""
        geometry = walk.scene.geometry
        field = node.field
        assert field is not None
        assert field.points_to is not None
        address = int(node.value)
        if field.role == "pfn":
            address <<= geometry.page_shift
        order = siblings.get(field.points_to.order) if field.points_to.order else 0
        if not isinstance(order, int) or order >= LARGEST_ORDER:
            order = 0
        size = geometry.page_size << order
        node.target = Span(address, size)
        walk.claim(node, address, size)

    def column(self, walk: Walk, node: Node, table: Table, field: Field) -> None:
        """Each row has its block."""
        assert field.points_to is not None
        geometry = walk.scene.geometry
        column = table.column(field.label)
        used = column != 0
        starts = column[used]
        if field.role == "pfn":
            starts = starts << np.uint64(geometry.page_shift)
        size: Any = np.uint64(geometry.page_size)
        if field.points_to.order:
            orders = np.minimum(table.column(field.points_to.order)[used], np.uint64(MAX_ORDER))
            size = size << orders
        walk.recorder.claim_many(owner_path(node), starts, size)


# -- nodes to a handover, and back to bytes ----------------------------------------------
