"""One record at an address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import Codec, as_number, pointer, register
from khotool.handover.labels import target_labels

if TYPE_CHECKING:
    from khotool.codec.contexts import Builder, Lifter, Reader
    from khotool.model.image import Node
    from khotool.structured import Table

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------


@register(Shape.RECORD)
class RecordCodec(Codec):
    """One record: its fields, below the pointer or beside it."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The fields of the record; the number where it leads nowhere."""
        return node.value if node.target is None else lifter.fields(node)

    def read(
        self,
        reader: Reader,
        definition: Definition,
        field: Field,
        table: Table,
    ) -> Any:
        """The fields of the record."""
        inner = table if pointer(field).inline else table[field.label].table()
        return reader.record(definition, pointer(field).of, inner)

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """The record in a preserved block of its own."""
        value, path = target_values(builder, definition, field, values, path)
        if not isinstance(value, Mapping):
            return as_number(field, {field.label: value}, path)
        return builder.place(builder.record(definition, pointer(field).of, value, path), path)


def target_values(
    builder: Builder, definition: Definition, field: Field, values: Mapping[str, Any], path: str
) -> tuple[Any, str]:
    """Values of what a pointer leads to, and their path; of an inline one they are beside it.

    None where none of them says anything and the pointer may be 0.
    """
    if not pointer(field).inline:
        return values.get(field.label), path
    labels = target_labels(builder.registry, definition, pointer(field))
    found = {label: values[label] for label in labels if label in values}
    empty = field.null != "error" and not any(found.values())
    return None if empty else found, path.rpartition("/")[0]
