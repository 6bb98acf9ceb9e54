"""The preserved-page map of a fresh layout, in the form that its root's definition says."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.abi.definition import Definition, Field, NodeType, Shape
from khotool.codec.map_layout import (
    CHUNK_ELEMENT,
    CHUNK_HEADER,
    MAPS,
    bitmap_bytes,
    levels_of_order,
    order_count,
    radix_depth,
)
from khotool.encode.build import Builder
from khotool.handover.values import Rows
from khotool.limits import Limits
from khotool.maps import bitmap_chunks, order_tables, radix
from khotool.pages.blocks import Blocks

LIMITS = Limits(nodes=1 << 40)
OWNER = "/memory_map"


def build_map(builder: Builder, definition: Definition) -> int | Rows:
    """Write the map over everything preserved so far; what the root says of its place."""
    field = map_field(definition.fdt)
    if field is None or field.points_to is None:
        return 0
    blocks = preserved_blocks(builder)
    layout = builder.abi.layouts.get(definition.id, "")
    if field.points_to.shape is Shape.RADIX:
        return _radix(builder, blocks, radix_depth(definition, layout, builder.geometry))
    if field.points_to.shape is Shape.BITMAP_CHUNKS:
        return _chunks(builder, definition, blocks, layout)
    return _trees(builder, definition, blocks, layout, field)


def map_field(kind: NodeType | None) -> Field | None:
    """The field of a root, in itself or in a named node, that leads to the map."""
    if kind is None:
        return None
    own = (f for f in kind.properties if f.points_to is not None and f.points_to.shape in MAPS)
    below = (map_field(child) for child in kind.nodes.values())
    return next(own, None) or next((field for field in below if field is not None), None)


def preserved_blocks(builder: Builder) -> Blocks:
    """Everything preserved so far."""
    # A handover may preserve nothing: the empty arrays stand for it.
    starts = [np.zeros(0, np.uint64), *(addresses for addresses, _ in builder.preserved)]
    orders = [np.zeros(0, np.uint8)] + [
        np.full(len(addresses), order, np.uint8) for addresses, order in builder.preserved
    ]
    start = np.concatenate(starts)
    return Blocks.from_runs(
        start, np.ones(len(start), np.uint64), np.concatenate(orders), builder.geometry.page_shift
    )


def _pages(builder: Builder) -> Any:
    return lambda count: builder.allocator.take(count, builder.geometry.page_size, OWNER)


def _radix(builder: Builder, blocks: Blocks, depth: int) -> int:
    geometry = builder.geometry
    address, places, contents = radix.build(
        blocks,
        page_shift=geometry.page_shift,
        byteorder=geometry.prefix,
        allocate=_pages(builder),
        depth=depth,
        limits=LIMITS,
    )
    builder.writes += [
        (place, memoryview(page)) for place, page in zip(places.tolist(), contents, strict=True)
    ]
    return address


def _chunks(builder: Builder, definition: Definition, blocks: Blocks, layout: str) -> int:
    geometry = builder.geometry
    pages = _pages(builder)
    size = bitmap_bytes(definition, layout, geometry.page_size)

    def bitmaps(count: int) -> Any:
        per_page = geometry.page_size // size
        first = pages(-(-count // per_page))
        offsets = np.arange(per_page, dtype=np.uint64) * np.uint64(size)
        return (first[:, None] + offsets[None, :]).reshape(-1)[:count]

    address, writes = bitmap_chunks.build(
        blocks,
        page_shift=geometry.page_shift,
        byteorder=geometry.prefix,
        bitmap_bytes=size,
        header=builder.registry.compile(definition, CHUNK_HEADER, geometry).dtype,
        element=builder.registry.compile(definition, CHUNK_ELEMENT, geometry).dtype,
        allocate_pages=pages,
        allocate_bitmaps=bitmaps,
        limits=LIMITS,
    )
    builder.writes += writes
    return address


def _trees(
    builder: Builder, definition: Definition, blocks: Blocks, layout: str, field: Field
) -> int | Rows:
    geometry = builder.geometry
    listed = field.type is not None and field.type.kind == "array"
    tops, writes = order_tables.build(
        blocks,
        page_shift=geometry.page_shift,
        byteorder=geometry.prefix,
        levels=levels_of_order(definition, layout, geometry),
        orders=order_count(definition, layout, geometry),
        allocate=_pages(builder),
        table=not listed,
        limits=LIMITS,
    )
    builder.writes += [(place, page.tobytes()) for place, page in writes]
    if not listed:
        return tops[0]
    assert field.type is not None
    struct = builder.registry.compile(definition, field.type.struct, geometry)
    label = struct.fields[0].field.label
    return Rows({label: np.array(tops, np.uint64)})
