"""Parameters of the preserved-page map that a layout of its definition fixes."""

from __future__ import annotations

from khotool.abi.definition import Definition
from khotool.abi.geometry import Geometry
from khotool.maps import order_tables, radix

CHUNK_HEADER = "khoser_mem_chunk_hdr"
CHUNK_ELEMENT = "khoser_mem_bitmap_ptr"
BUDDY_ORDERS = {4096: 11, 16384: 12, 65536: 14}
"""NR_PAGE_ORDERS by page size, as kernels are configured by default."""


def bitmap_bytes(definition: Definition, layout: str, page_size: int) -> int:
    """Bytes of one bitmap in a layout."""
    value = definition.parameters(layout).get("bitmap_bytes", "page")
    return page_size if value == "page" else int(value)


def radix_depth(definition: Definition, layout: str, geometry: Geometry) -> int:
    """Levels of a radix tree; ``marker = "not counted"`` makes one less for pages of 16 KiB."""
    counted = definition.parameters(layout).get("marker", "counted") == "counted"
    return radix.tree_depth(geometry.page_shift, marker=counted)


def levels_of_order(definition: Definition, layout: str, geometry: Geometry) -> order_tables.Levels:
    """Levels of the tree of each order: ``levels = 4``, or as many as addresses need."""
    number = definition.parameters(layout).get("levels", "needed")
    if isinstance(number, int):
        return order_tables.fixed_levels(number)
    return order_tables.needed_levels(geometry.page_shift)


def order_count(definition: Definition, layout: str, geometry: Geometry) -> int:
    """Page orders that have a tree: those of ``buddy`` blocks, or up to that of a ``huge`` page."""
    if definition.parameters(layout).get("orders", "buddy") == "huge":
        return geometry.page_shift - 2
    return BUDDY_ORDERS.get(geometry.page_size, 11)
