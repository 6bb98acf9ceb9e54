"""A range of payload, its length in a sibling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import Codec, Use, register
from khotool.codec.contexts import Walk
from khotool.codec.walk import owner_path
from khotool.model.node import UNPLACED, Node, Span, Table

# -- bytes to nodes ----------------------------------------------------------------------


@register(Shape.RANGE)
class RangeCodec(Codec):
    """Payload whose length in bytes stands beside its address."""

    def validate(self, use: Use) -> Iterator[str]:
        """The length is a field beside the address."""
        return use.beside(use.reference.size)

    def walk(
        self, walk: Walk, node: Node, definition: Definition, siblings: Mapping[str, Any]
    ) -> None:
        """The range is the node's target."""
        assert node.field is not None
        assert node.field.points_to is not None
        size = siblings.get(node.field.points_to.size)
        if isinstance(size, int):
            node.target = Span(node.value, size)
            walk.claim(node, node.value, size)

    def column(self, walk: Walk, node: Node, table: Table, field: Field) -> None:
        """Each row has its range."""
        assert field.points_to is not None
        if field.points_to.size:
            sizes = np.minimum(table.column(field.points_to.size), np.uint64(UNPLACED - 1))
            walk.recorder.claim_many(owner_path(node), table.column(field.label), sizes)


# -- nodes to a handover, and back to bytes ----------------------------------------------
