"""A preserved block whose contents nothing describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from khotool.abi.definition import Definition, Shape
from khotool.codec.base import Codec, Use, register
from khotool.codec.contexts import Walk
from khotool.model.node import Node, Span

# -- bytes to nodes ----------------------------------------------------------------------


@register(Shape.OPAQUE)
class OpaqueCodec(Codec):
    """The preserved block around an address; nothing says what is in it."""

    def validate(self, use: Use) -> Iterator[str]:
        """An address is all that is known."""
        return iter(())

    def walk(
        self, walk: Walk, node: Node, definition: Definition, siblings: Mapping[str, Any]
    ) -> None:
        """The target goes to the end of the preserved block."""
        address = int(node.value)
        walk.claim(node, address, 1)
        block = walk.scene.block_of(address)
        if block is not None:
            end = block[0] + (walk.scene.geometry.page_size << block[1])
            node.target = Span(address, end - address)


# -- nodes to a handover, and back to bytes ----------------------------------------------
