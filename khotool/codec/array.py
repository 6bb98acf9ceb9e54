"""Records one after another, after a header or counted by a sibling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from khotool.abi.definition import Definition, Field, Reference, Shape
from khotool.codec.base import Codec, pointer, register
from khotool.errors import EncodeError

if TYPE_CHECKING:
    from khotool.codec.contexts import Builder, Lifter, Reader
    from khotool.model.image import Node
    from khotool.structured import Table

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------


@register(Shape.ARRAY)
class ArrayCodec(Codec):
    """Records one after another."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The fields of each record."""
        return [lifter.fields(element) for element in node.elements()]

    def read(
        self,
        reader: Reader,
        definition: Definition,
        field: Field,
        table: Table,
    ) -> Any:
        """A list of records."""
        return reader.records(definition, pointer(field).of, table[field.label])

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """The header, where the format has one, and the records."""
        reference = pointer(field)
        items = values.get(field.label) or []
        if not items and not reference.header:
            return 0
        pages = array_pages(builder, definition, reference, len(items))
        room = pages * builder.geometry.page_size
        head = b""
        if reference.header:
            counts = {reference.count: len(items)}
            if reference.pgcnt:
                counts[reference.pgcnt] = pages
            head = builder.record(definition, reference.header, counts, f"{path}/header")
        size = builder.registry.compile(definition, reference.of, builder.geometry).size
        fits = (room - len(head)) // size
        if len(items) > fits:
            raise EncodeError(path, f"{len(items)} records; {definition.id} takes at most {fits}")
        address = builder.alloc_preserve(room, path)
        start = address + len(head)
        at = range(start, start + len(items) * size, size)
        body = b"".join(builder.elements(definition, reference.of, items, path, at))
        builder.write(address, (head + body).ljust(room, b"\0"))
        return address


def array_pages(builder: Builder, definition: Definition, reference: Reference, count: int) -> int:
    """Pages of an array of ``count`` records; 0 for one that is not there."""
    if not count and not reference.header:
        return 0
    if reference.pages:
        return reference.pages
    geometry = builder.geometry
    size = count * builder.registry.compile(definition, reference.of, geometry).size
    if reference.header:
        size += builder.registry.compile(definition, reference.header, geometry).size
    return -(-size // geometry.page_size)
