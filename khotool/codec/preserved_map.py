"""The preserved-page map, in any of its forms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from khotool.abi.definition import Definition, Field, NodeType, Shape
from khotool.absent import Absent, Reason
from khotool.codec.base import WORD, Codec, Pointer, Stored, codec_of, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.map_layout import (
    CHUNK_ELEMENT,
    CHUNK_HEADER,
    bitmap_bytes,
    levels_of_order,
    order_count,
    radix_depth,
)
from khotool.codec.problems import MAP_RULES, with_limit_hint
from khotool.codec.range_map import RANGE, ranges_map
from khotool.codec.scene import NO_MAP, Scene
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property
from khotool.handover.values import Rows
from khotool.limits import Limits
from khotool.maps import bitmap_chunks, order_tables, radix
from khotool.maps.preserved import MapPages, PreservedMap
from khotool.model.node import Node, Span
from khotool.model.region import MapRegion
from khotool.pages.blocks import Blocks
from khotool.structured import Table as Written

MAP_LIMITS = Limits(nodes=1 << 40)

MAP_OWNER = "/memory_map"
GONE = Absent(Reason.NOT_CAPTURED, "the preserved-page map is not in this capture")

Place = int | Sequence[int]
"""Physical address of a map; of trees by order, the address of each."""


@register(Shape.RADIX, Shape.BITMAP_CHUNKS, Shape.ORDER_TABLES)
class PreservedMapCodec(Codec):
    """The map of preserved pages; it is read before the walk, which only records it."""

    def leads(self, node: Node) -> bool:
        """One address, or of trees by order a table of them."""
        return isinstance(node.value, int) or (
            self.shape is Shape.ORDER_TABLES and node.table is not None
        )

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """The map as a region, with its problems; its pages are the map's own."""
        scene, definition = walk.scene, pointer.definition
        place = map_place(node)
        if isinstance(place, int):
            node.target = Span(place, scene.geometry.page_size)
        if not is_captured(scene, place):
            walk.absent(node, _tops(place)[0], GONE)
            return
        found = scene.map
        if isinstance(found, Absent):
            found = decode_map(scene, place, self.shape, definition, node.layout)
        for problem in found.problems:
            rule = MAP_RULES.get(problem.code, "MEM313")
            text = with_limit_hint(problem.code, problem.text)
            walk.recorder.report(rule, node, text, problem.address, code=problem.code)
        walk.recorder.regions.append(self.region(scene, node, found, definition))
        pages = found.pages
        if len(pages):
            walk.recorder.claim_many(
                MAP_OWNER, pages.address, pages.size.astype(np.uint64), expected_outside=True
            )

    def region(
        self, scene: Scene, node: Node, found: PreservedMap, definition: Definition
    ) -> MapRegion:
        """The map's pages as a region that can be written back."""
        header = element = None
        if self.shape is Shape.BITMAP_CHUNKS:
            header = scene.struct(definition, CHUNK_HEADER)
            element = scene.struct(definition, CHUNK_ELEMENT)
        return MapRegion(
            node.path, definition.id, found, scene.geometry, header, element, node=node
        )

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """Nothing: what is preserved follows from everything else."""
        return 0

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """Nothing: as ``lift``."""
        table[field.label].mistake("the map is made of everything preserved; leave it out")
        return 0

    def build(self, builder: Builder, pointer: Pointer) -> Stored:
        """The map over everything preserved so far."""
        if self.shape is Shape.RADIX:
            return _radix(builder, pointer)
        return (_chunks if self.shape is Shape.BITMAP_CHUNKS else _trees)(builder, pointer)


def map_place(node: Node) -> Place:
    """Where the map of a pointer is: an address, or those in a table of addresses."""
    if node.table is None:
        return int(node.value)
    field = node.table.compiled.fields[0].field
    addresses: list[int] = node.table.column(field.label).tolist()
    return addresses


def _tops(place: Place) -> list[int]:
    """Addresses of the first page of a map, or of each tree that it has."""
    return [place] if isinstance(place, int) else [top for top in place if top]


def is_captured(scene: Scene, place: Place) -> bool:
    """True if a map has its first page in the capture, or none at all."""
    starts = _tops(place)
    return not starts or any(scene.space.contains(start, 1) for start in starts)


def decode_map(
    scene: Scene, place: Place, shape: Shape, definition: Definition, layout: str
) -> PreservedMap:
    """Read a map; ``layout`` picks parameters where a definition has several."""
    geometry = scene.geometry

    def read_pages(addresses: Any) -> tuple[Any, Any]:
        return scene.space.gather(addresses, geometry.page_size)

    common: dict[str, Any] = {"geometry": geometry, "limits": scene.limits}
    if shape is Shape.ORDER_TABLES:
        count = order_count(definition, layout, geometry)
        levels = levels_of_order(definition, layout, geometry)
        if isinstance(place, int):
            return order_tables.walk_table(read_pages, place, count, levels=levels, **common)
        return order_tables.walk(read_pages, place[:count], levels=levels, **common)
    assert isinstance(place, int)
    if shape is Shape.RADIX:
        depth = radix_depth(definition, layout, geometry)
        return radix.walk(read_pages, place, depth=depth, **common)
    size = bitmap_bytes(definition, layout, geometry.page_size)
    return bitmap_chunks.walk(
        read_pages,
        lambda addresses: scene.space.gather(addresses, size),
        place,
        bitmap_bytes=size,
        header=scene.struct(definition, CHUNK_HEADER).dtype,
        element=scene.struct(definition, CHUNK_ELEMENT).dtype,
        **common,
    )


# -- before the walk --------------------------------------------------------------------------


def is_map(field: Field) -> bool:
    """True for a pointer to a map of preserved pages."""
    return field.points_to is not None and isinstance(
        codec_of(field.points_to.shape), PreservedMapCodec
    )


def map_pointers(kind: NodeType, tree: FdtNode) -> Iterator[tuple[Field, Property]]:
    """Properties of a root that lead to a map, in the root node or in named ones."""
    for field in kind.properties:
        prop = tree.get(field.name)
        if prop is not None and is_map(field):
            yield field, prop
    for name, child in kind.nodes.items():
        node = tree.child(name)
        if node is not None:
            yield from map_pointers(child, node)


def map_places(
    scene: Scene, definition: Definition, tree: FdtNode
) -> Iterator[tuple[Field, Shape, Place]]:
    """Where the maps of a root are, as its properties say."""
    if definition.fdt is None:
        return
    order = scene.geometry.byteorder
    for field, prop in map_pointers(definition.fdt, tree):
        assert field.points_to is not None
        raw = prop.value
        words = [int.from_bytes(raw[at : at + WORD], order) for at in range(0, len(raw), WORD)]
        if not words or len(raw) % WORD:
            continue
        listed = field.type is not None and field.type.kind == "array"
        if listed or len(words) == 1:
            yield field, field.points_to.shape, words if listed else words[0]


def read_map(
    scene: Scene, definition: Definition, tree: FdtNode, layout: str = ""
) -> PreservedMap | None:
    """The map of a root as a definition reads it; None where the root has none."""
    if definition.ranges:
        return ranges_map(tree, definition.ranges, scene.struct(definition, RANGE))
    for _, shape, place in map_places(scene, definition, tree):
        return decode_map(scene, place, shape, definition, layout)
    return None


def find_map(
    scene: Scene, definition: Definition, tree: FdtNode, layout: str
) -> PreservedMap | Absent:
    """The map of a root, or why there is none: it is not captured, not written yet, not named."""
    if definition.ranges:
        return ranges_map(tree, definition.ranges, scene.struct(definition, RANGE))
    for field, shape, place in map_places(scene, definition, tree):
        if place == 0:
            if field.null != "empty":
                continue
            nothing = Blocks.empty(scene.geometry.page_shift)
            return PreservedMap("ranges", nothing, MapPages.empty(), [], complete=True)
        if not is_captured(scene, place):
            return GONE
        return decode_map(scene, place, shape, definition, layout)
    return NO_MAP


def map_has_root(
    scene: Scene, definition: Definition, tree: FdtNode | None, address: int | None
) -> bool:
    """True if the map, read by a definition, has a block of one page that is the root."""
    if tree is None or address is None:
        return False
    found = read_map(scene, definition, tree)
    return found is not None and found.blocks.block_of(address) == (address, 0)


def _layout(builder: Builder, pointer: Pointer) -> str:
    """The layout of the map that is written; empty for the only one."""
    return builder.abi.layouts.get(pointer.definition.id, "")


def _radix(builder: Builder, pointer: Pointer) -> int:
    geometry = builder.geometry
    address, places, contents = radix.build(
        builder.preserved(),
        geometry=geometry,
        allocate=lambda count: builder.take_pages(count, pointer.path),
        depth=radix_depth(pointer.definition, _layout(builder, pointer), geometry),
        limits=MAP_LIMITS,
    )
    for place, page in zip(places.tolist(), contents, strict=True):
        builder.write(place, memoryview(page))
    return address


def _chunks(builder: Builder, pointer: Pointer) -> int:
    geometry, definition, path = builder.geometry, pointer.definition, pointer.path
    size = bitmap_bytes(definition, _layout(builder, pointer), geometry.page_size)

    def bitmaps(count: int) -> Any:
        per_page = geometry.page_size // size
        first = builder.take_pages(-(-count // per_page), path)
        offsets = np.arange(per_page, dtype=np.uint64) * np.uint64(size)
        return (first[:, None] + offsets[None, :]).reshape(-1)[:count]

    address, writes = bitmap_chunks.build(
        builder.preserved(),
        geometry=geometry,
        bitmap_bytes=size,
        header=builder.registry.compile(definition, CHUNK_HEADER, geometry).dtype,
        element=builder.registry.compile(definition, CHUNK_ELEMENT, geometry).dtype,
        allocate_pages=lambda count: builder.take_pages(count, path),
        allocate_bitmaps=bitmaps,
        limits=MAP_LIMITS,
    )
    for place, data in writes:
        builder.write(place, data)
    return address


def _trees(builder: Builder, pointer: Pointer) -> int | Rows:
    geometry, definition, layout = builder.geometry, pointer.definition, _layout(builder, pointer)
    kind = pointer.field.type
    listed = kind is not None and kind.kind == "array"
    tops, writes = order_tables.build(
        builder.preserved(),
        geometry=geometry,
        levels=levels_of_order(definition, layout, geometry),
        orders=order_count(definition, layout, geometry),
        allocate=lambda count: builder.take_pages(count, pointer.path),
        table=not listed,
        limits=MAP_LIMITS,
    )
    for place, page in writes:
        builder.write(place, page.tobytes())
    if kind is None or not listed:
        return tops[0]
    struct = builder.registry.compile(definition, kind.struct, geometry)
    label = struct.fields[0].field.label
    return Rows({label: np.array(tops, np.uint64)})
