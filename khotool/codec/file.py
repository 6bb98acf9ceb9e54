"""Another file of the same session, named by its token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import Codec, as_number, register

if TYPE_CHECKING:
    from khotool.codec.contexts import Builder, Lifter, Reader
    from khotool.model.image import Node
    from khotool.structured import Table

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------


@register(Shape.FILE)
class FileCodec(Codec):
    """Another file, by its token: a number like any other."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The number."""
        return node.value

    def read(
        self,
        reader: Reader,
        definition: Definition,
        field: Field,
        table: Table,
    ) -> Any:
        """The number."""
        return reader.number(field, table[field.label])

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """The number."""
        return as_number(field, values, path)
