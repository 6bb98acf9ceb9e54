"""The preserved-page map as part of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.abi.definition import Definition, Shape
from khotool.absent import Absent, Reason
from khotool.image.model import Node, Span
from khotool.image.problems import MAP_RULES
from khotool.image.region import MapRegion
from khotool.shapes import bitmap_chunks, radix
from khotool.shapes.preserved import PreservedMap

if TYPE_CHECKING:
    from khotool.image.walk import Walker

CHUNK_HEADER = "khoser_mem_chunk_hdr"
CHUNK_ELEMENT = "khoser_mem_bitmap_ptr"
MAP_OWNER = "/memory_map"


def walk_map(walker: Walker, node: Node, shape: Shape, definition: Definition) -> None:
    """Decode the map whose address is the value of ``node``, and claim its pages."""
    address = int(node.value)
    found = decode_map(walker, address, shape, definition, node.layout)
    node.target = Span(address, walker.geometry.page_size)
    if not walker.space.contains(address, 1):
        absent = Absent(Reason.NOT_CAPTURED, "the preserved-page map is not in this capture")
        walker.map = absent
        walker.absent(node, address, absent)
        return
    walker.map = found
    for problem in found.problems:
        walker.report(MAP_RULES.get(problem.code, "MEM313"), node, problem.message, problem.address)
    walker.regions.append(map_region(walker, node.path, found, shape, definition))
    pages = found.pages
    if len(pages):
        walker.claim_many(
            MAP_OWNER, pages.address, pages.size.astype(np.uint64), expected_outside=True
        )


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
    walker: Walker, address: int, shape: Shape, definition: Definition, layout: str
) -> PreservedMap:
    """Walk a map; ``layout`` picks the size of bitmaps where a definition has several."""
    geometry = walker.geometry

    def read_pages(addresses: Any) -> tuple[Any, Any]:
        return walker.space.gather(addresses, geometry.page_size)

    if shape is Shape.RADIX:
        return radix.walk(
            read_pages, address, page_shift=geometry.page_shift, byteorder=geometry.prefix,
            limits=walker.limits,
        )  # fmt: skip

    size = bitmap_bytes(definition, layout, geometry.page_size)
    return bitmap_chunks.walk(
        read_pages,
        lambda addresses: walker.space.gather(addresses, size),
        address,
        page_shift=geometry.page_shift,
        byteorder=geometry.prefix,
        bitmap_bytes=size,
        header=walker.registry.compile(definition, CHUNK_HEADER, geometry).dtype,
        element=walker.registry.compile(definition, CHUNK_ELEMENT, geometry).dtype,
        limits=walker.limits,
    )


def bitmap_bytes(definition: Definition, layout: str, page_size: int) -> int:
    """Bytes of one bitmap in a layout."""
    value = definition.parameters(layout).get("bitmap_bytes", "page")
    return page_size if value == "page" else int(value)
