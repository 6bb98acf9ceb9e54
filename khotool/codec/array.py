"""Consecutive records, after a header or counted by a sibling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Reference, Shape
from khotool.abi.record import decode_record
from khotool.absent import Absent, Reason
from khotool.codec.base import Pointer, register
from khotool.codec.contexts import Builder, Walk
from khotool.codec.fields import record
from khotool.codec.lists import ListCodec, elements
from khotool.codec.scene import Scene
from khotool.errors import EncodeError
from khotool.model.node import Node, NodeKind, Span

MAX_PAGES = 1 << 16
"""Pages of one array that are believed; the kernel's largest blocks have 2^13."""


@register(Shape.ARRAY)
class ArrayCodec(ListCodec):
    """Consecutive records, after a header or counted by a sibling."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """A list of its records, and its header where it has one."""
        definition, reference, scene = pointer.definition, pointer.reference, walk.scene
        compiled = scene.struct(definition, reference.of)
        address = int(node.value)
        node.kind = NodeKind.LIST
        values = pointer.values
        header = self.header(scene, definition, reference)
        head = header.size if header is not None else 0
        if header is not None:
            data = scene.read(address, header.size)
            if isinstance(data, Absent):
                walk.missing(node, address, data)
                return
            values = own = decode_record(header, data)
            top = node.add(Node("header", NodeKind.RECORD, span=Span(address, header.size)))
            record(walk, top, header, data, address, definition, own)
        pages = array_pages(walk, node, reference, values, head, compiled.size)
        size = pages * scene.geometry.page_size
        node.target = Span(address, size)
        walk.claim(node, address, size)
        fits = max(0, size - head) // compiled.size
        count = array_count(walk, node, values.get(reference.count), pages, fits)
        if count:
            array_body(walk, node, compiled, definition, address + head, count)

    def header(
        self, scene: Scene, definition: Definition, reference: Reference
    ) -> CompiledStruct | None:
        """The struct in front of the records, where the pointer names one."""
        return scene.struct(definition, reference.header) if reference.header else None

    def ends(self, scene: Scene, pointer: Pointer) -> bool:
        """As ``ListCodec.ends``; an array of no address ends."""
        address, reference = int(pointer.value), pointer.reference
        if not address:
            return True
        page = scene.geometry.page_size
        compiled = scene.struct(pointer.definition, reference.of)
        values, head = pointer.values, 0
        header = self.header(scene, pointer.definition, reference)
        if header is not None:
            data = scene.read(address, header.size)
            if isinstance(data, Absent):
                return True
            values, head = decode_record(header, data), header.size
        count = values.get(reference.count)
        pages = values.get(reference.pgcnt, reference.pages)
        if not isinstance(count, int) or not isinstance(pages, int):
            return False
        used = head + count * compiled.size
        if pages and used > pages * page:
            return False
        end = address + used
        rest = scene.read(end, -end % page)
        return isinstance(rest, Absent) or not any(rest)

    def build(self, builder: Builder, pointer: Pointer) -> int:
        """The header, where the format has one, and the records."""
        definition, reference, path = pointer.definition, pointer.reference, pointer.path
        items = pointer.value or []
        if not items and not reference.header:
            return 0
        pages = written_pages(builder, definition, reference, len(items))
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


def array_pages(
    walk: Walk, node: Node, reference: Reference, values: Mapping[str, Any], head: int, size: int
) -> int:
    """Pages of an array: as its own field says, as the writer allocates, or as it needs.

    Args:
        values: of the header, else of the fields beside the pointer.
        head: bytes in front of the records, each of ``size`` bytes.
    """
    declared = values.get(reference.pgcnt)
    if isinstance(declared, int):
        if declared > MAX_PAGES:
            walk.recorder.report("REC403", node, f"{reference.pgcnt} is {declared}", pages=declared)
        return min(declared, MAX_PAGES)
    if reference.pages:
        return reference.pages
    count = values.get(reference.count)
    wanted = head + size * (count if isinstance(count, int) else 0)
    return min(-(-wanted // walk.scene.geometry.page_size), MAX_PAGES)


def array_count(walk: Walk, node: Node, count: object, pages: int, fits: int) -> int:
    """Records of an array, held to those that fit its pages; 0 where the count is lost."""
    if not isinstance(count, int):
        return 0
    if count > fits:
        text = f"count is {count}; {pages} pages take {fits}"
        walk.recorder.report("REC403", node, text, int(node.value), count=count, fits=fits)
    return min(count, fits)


def array_body(
    walk: Walk, node: Node, compiled: CompiledStruct, definition: Definition, start: int, count: int
) -> None:
    """The records of an array at physical address ``start``, as many of them as are there."""
    body = walk.scene.read(start, count * compiled.size, short=True)
    if isinstance(body, Absent):
        walk.missing(node, start, body)
        return
    if len(body) < count * compiled.size:
        gone = Absent(Reason.NOT_CAPTURED, "rest of the array")
        walk.missing(node, start + len(body), gone)
    elements(walk, node, compiled, body, start, len(body) // compiled.size, definition)


def written_pages(
    builder: Builder, definition: Definition, reference: Reference, count: int
) -> int:
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
