"""The preserved-page map as part of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.abi.definition import Definition, Field, NodeType, Shape
from khotool.absent import Absent, Reason
from khotool.decode.problems import MAP_RULES, told
from khotool.decode.ranges import RANGE, ranges_map
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property
from khotool.maps import bitmap_chunks, order_tables, radix
from khotool.maps.layouts import (
    CHUNK_ELEMENT,
    CHUNK_HEADER,
    MAPS,
    bitmap_bytes,
    levels_of_order,
    order_count,
    radix_depth,
)
from khotool.maps.preserved import PreservedMap
from khotool.model.image import Node, Span
from khotool.model.region import MapRegion

if TYPE_CHECKING:
    from khotool.decode.walk import Walker

MAP_OWNER = "/memory_map"
WORD = 8
"""Bytes of an address of a map."""

Place = int | Sequence[int]
"""Physical address of a map; of trees by order, the address of each."""


def walk_map(walker: Walker, node: Node, shape: Shape, definition: Definition) -> None:
    """Decode the map whose address is the value of ``node``, and claim its pages."""
    place = map_place(node)
    found = decode_map(walker, place, shape, definition, node.layout)
    if isinstance(place, int):
        node.target = Span(place, walker.geometry.page_size)
    starts = [place] if isinstance(place, int) else [top for top in place if top]
    if starts and not any(walker.space.contains(start, 1) for start in starts):
        absent = Absent(Reason.NOT_CAPTURED, "the preserved-page map is not in this capture")
        walker.map = absent
        walker.absent(node, starts[0], absent)
        return
    walker.map = found
    for problem in found.problems:
        rule = MAP_RULES.get(problem.code, "MEM313")
        walker.report(rule, node, told(problem.code, problem.message), problem.address)
    walker.regions.append(map_region(walker, node.path, found, shape, definition))
    pages = found.pages
    if len(pages):
        walker.claim_many(
            MAP_OWNER, pages.address, pages.size.astype(np.uint64), expected_outside=True
        )


def map_place(node: Node) -> Place:
    """Where the map of a pointer is: an address, or those in a table of addresses."""
    if node.table is None:
        return int(node.value)
    field = node.table.compiled.fields[0].field
    addresses: list[int] = node.table.column(field.label).tolist()
    return addresses


def map_region(
    walker: Walker, path: str, found: PreservedMap, shape: Shape, definition: Definition
) -> MapRegion:
    """The map's pages as a region that can be written back."""
    header = element = None
    if shape is Shape.BITMAP_CHUNKS:
        header = walker.registry.compile(definition, CHUNK_HEADER, walker.geometry)
        element = walker.registry.compile(definition, CHUNK_ELEMENT, walker.geometry)
    return MapRegion(path, definition.id, found, walker.geometry, header, element)


def decode_map(
    walker: Walker, place: Place, shape: Shape, definition: Definition, layout: str
) -> PreservedMap:
    """Walk a map; ``layout`` picks parameters where a definition has several."""
    geometry = walker.geometry

    def read_pages(addresses: Any) -> tuple[Any, Any]:
        return walker.space.gather(addresses, geometry.page_size)

    if shape is Shape.ORDER_TABLES:
        levels = levels_of_order(definition, layout, geometry)
        if not isinstance(place, int):
            return order_tables.walk(
                read_pages,
                place[: order_count(definition, layout, geometry)],
                page_shift=geometry.page_shift,
                byteorder=geometry.prefix,
                levels=levels,
                limits=walker.limits,
            )
        return order_tables.walk_table(
            read_pages,
            place,
            order_count(definition, layout, geometry),
            page_shift=geometry.page_shift,
            byteorder=geometry.prefix,
            levels=levels,
            limits=walker.limits,
        )
    assert isinstance(place, int)
    if shape is Shape.RADIX:
        return radix.walk(
            read_pages,
            place,
            page_shift=geometry.page_shift,
            byteorder=geometry.prefix,
            limits=walker.limits,
            depth=radix_depth(definition, layout, geometry),
        )

    size = bitmap_bytes(definition, layout, geometry.page_size)
    return bitmap_chunks.walk(
        read_pages,
        lambda addresses: walker.space.gather(addresses, size),
        place,
        page_shift=geometry.page_shift,
        byteorder=geometry.prefix,
        bitmap_bytes=size,
        header=walker.registry.compile(definition, CHUNK_HEADER, geometry).dtype,
        element=walker.registry.compile(definition, CHUNK_ELEMENT, geometry).dtype,
        limits=walker.limits,
    )


# -- before the walk --------------------------------------------------------------------------


def map_pointers(kind: NodeType, tree: FdtNode) -> Iterator[tuple[Field, Property]]:
    """Properties of a root that lead to a map, in the root node or in named ones."""
    for field in kind.properties:
        prop = tree.get(field.name)
        if prop is not None and field.points_to is not None and field.points_to.shape in MAPS:
            yield field, prop
    for name, child in kind.nodes.items():
        node = tree.child(name)
        if node is not None:
            yield from map_pointers(child, node)


def read_map(
    walker: Walker, definition: Definition, tree: FdtNode, layout: str = ""
) -> PreservedMap | None:
    """The map of a root as a definition reads it; None where the root has none."""
    if definition.ranges:
        compiled = walker.registry.compile(definition, RANGE, walker.geometry)
        return ranges_map(tree, definition.ranges, compiled)
    order = walker.geometry.byteorder
    for field, prop in map_pointers(definition.fdt, tree) if definition.fdt is not None else ():
        assert field.points_to is not None
        raw = prop.value
        words = [int.from_bytes(raw[at : at + WORD], order) for at in range(0, len(raw), WORD)]
        if not words or len(raw) % WORD:
            continue
        listed = field.type is not None and field.type.kind == "array"
        if listed or len(words) == 1:
            place = words if listed else words[0]
            return decode_map(walker, place, field.points_to.shape, definition, layout)
    return None


def map_has_root(
    walker: Walker, definition: Definition, tree: FdtNode | None, address: int | None
) -> bool:
    """True if the map, read by a definition, has a block of one page that is the root."""
    if tree is None or address is None:
        return False
    found = read_map(walker, definition, tree)
    return found is not None and found.blocks.block_of(address) == (address, 0)
