"""A device tree at an address, with a definition of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import Codec, as_number, pointer, register
from khotool.codec.record import target_values

if TYPE_CHECKING:
    from khotool.codec.contexts import Builder, Lifter, Reader
    from khotool.model.image import Node
    from khotool.structured import Table

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------


@register(Shape.TREE)
class TreeCodec(Codec):
    """A device tree: its values, below the pointer or beside it."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The values of the tree; the number where it leads nowhere."""
        return node.value if node.target is None else lifter.fields(node)

    def read(
        self,
        reader: Reader,
        definition: Definition,
        field: Field,
        table: Table,
    ) -> Any:
        """The values of the tree."""
        inner = table if pointer(field).inline else table[field.label].table()
        return reader.tree(pointer(field).format, inner)

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """The tree in a preserved block of its own."""
        value, path = target_values(builder, definition, field, values, path)
        if not isinstance(value, Mapping):
            return as_number(field, {field.label: value}, path)
        own = builder.registry.get(pointer(field).format)
        return builder.place(builder.tree(own, value, path), path)
