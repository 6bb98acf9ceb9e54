"""The preserved-page map, in any of its forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import Codec, Stored, pointer, register
from khotool.handover.values import Rows
from khotool.limits import Limits
from khotool.maps import bitmap_chunks, order_tables, radix
from khotool.maps.layouts import (
    CHUNK_ELEMENT,
    CHUNK_HEADER,
    bitmap_bytes,
    levels_of_order,
    order_count,
    radix_depth,
)

if TYPE_CHECKING:
    from khotool.codec.contexts import Builder, Lifter, Reader
    from khotool.model.image import Node
    from khotool.pages.blocks import Blocks
    from khotool.structured import Table

# -- bytes to nodes ----------------------------------------------------------------------


# -- nodes to a handover, and back to bytes ----------------------------------------------


LIMITS = Limits(nodes=1 << 40)


@register(Shape.RADIX, Shape.BITMAP_CHUNKS, Shape.ORDER_TABLES)
class MapCodec(Codec):
    """The map of everything preserved: it has no value of its own, and is built last."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """Nothing: what is preserved follows from everything else."""
        return 0

    def read(
        self,
        reader: Reader,
        definition: Definition,
        field: Field,
        table: Table,
    ) -> Any:
        """Nothing: as ``lift``."""
        table[field.label].mistake("the map is made of everything preserved; leave it out")
        return 0

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> Stored:
        """The map over everything preserved so far."""
        shape, blocks = pointer(field).shape, builder.preserved()
        layout = builder.abi.layouts.get(definition.id, "")
        if shape is Shape.RADIX:
            return _radix(builder, blocks, radix_depth(definition, layout, builder.geometry), path)
        if shape is Shape.BITMAP_CHUNKS:
            return _chunks(builder, definition, blocks, layout, path)
        return _trees(builder, definition, field, blocks, layout, path)


def _radix(builder: Builder, blocks: Blocks, depth: int, path: str) -> int:
    geometry = builder.geometry
    address, places, contents = radix.build(
        blocks,
        page_shift=geometry.page_shift,
        byteorder=geometry.prefix,
        allocate=lambda count: builder.take_pages(count, path),
        depth=depth,
        limits=LIMITS,
    )
    for place, page in zip(places.tolist(), contents, strict=True):
        builder.write(place, memoryview(page))
    return address


def _chunks(
    builder: Builder, definition: Definition, blocks: Blocks, layout: str, path: str
) -> int:
    geometry = builder.geometry
    size = bitmap_bytes(definition, layout, geometry.page_size)

    def bitmaps(count: int) -> Any:
        per_page = geometry.page_size // size
        first = builder.take_pages(-(-count // per_page), path)
        offsets = np.arange(per_page, dtype=np.uint64) * np.uint64(size)
        return (first[:, None] + offsets[None, :]).reshape(-1)[:count]

    address, writes = bitmap_chunks.build(
        blocks,
        page_shift=geometry.page_shift,
        byteorder=geometry.prefix,
        bitmap_bytes=size,
        header=builder.registry.compile(definition, CHUNK_HEADER, geometry).dtype,
        element=builder.registry.compile(definition, CHUNK_ELEMENT, geometry).dtype,
        allocate_pages=lambda count: builder.take_pages(count, path),
        allocate_bitmaps=bitmaps,
        limits=LIMITS,
    )
    for place, data in writes:
        builder.write(place, data)
    return address


def _trees(
    builder: Builder,
    definition: Definition,
    field: Field,
    blocks: Blocks,
    layout: str,
    path: str,
) -> int | Rows:
    geometry = builder.geometry
    listed = field.type is not None and field.type.kind == "array"
    tops, writes = order_tables.build(
        blocks,
        page_shift=geometry.page_shift,
        byteorder=geometry.prefix,
        levels=levels_of_order(definition, layout, geometry),
        orders=order_count(definition, layout, geometry),
        allocate=lambda count: builder.take_pages(count, path),
        table=not listed,
        limits=LIMITS,
    )
    for place, page in writes:
        builder.write(place, page.tobytes())
    if not listed:
        return tops[0]
    assert field.type is not None
    struct = builder.registry.compile(definition, field.type.struct, geometry)
    label = struct.fields[0].field.label
    return Rows({label: np.array(tops, np.uint64)})
