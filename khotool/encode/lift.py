"""Lift a decoded image off its addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from khotool.abi.definition import Reference, Shape
from khotool.absent import Absent
from khotool.codec.element import Places as ElementPlaces
from khotool.codec.element import element_places
from khotool.codec.page_table import address_mask, levels
from khotool.handover.values import (
    Array,
    Buffer,
    Contents,
    EntryValue,
    Handle,
    Handover,
    Link,
    PageTables,
    Payload,
)
from khotool.handover.values import Rows as RowValues
from khotool.memory.space import MemoryFault
from khotool.model.image import UNPLACED, Image, Node, NodeKind, NodeState

PLACES = ("address", "size")
"""Properties of an entry that only say where its blob is."""


def handover_of(image: Image) -> Handover:
    """Everything an image hands over, with its payload read from the image when it is needed."""
    lifter = _Lifter(image)
    entries = [lifter.entry(node) for node in image.entries]
    return Handover(
        geometry=image.geometry,
        osrelease=image.info.osrelease or "",
        machine=image.info.machine,
        entries=[entry for entry in entries if entry is not None],
        scratch=[] if isinstance(image.scratch, Absent) else list(image.scratch.areas),
        lost=lifter.lost,
    )


class _Lifter:
    def __init__(self, image: Image) -> None:
        self.image = image
        self.lost: list[str] = []
        self.elements: ElementPlaces | None = None

    def entry(self, node: Node) -> EntryValue | None:
        if isinstance(node.value, Absent):
            self.lost.append(f"{node.path}: {node.value.detail}")
            return None
        raw = node.get("bytes")
        if not node.format or (raw is not None and raw.kind is NodeKind.RAW):
            data = raw.value if raw is not None else b""
            target = node.target
            if target is not None and not data:
                data = self.read(target.address, target.size)
            self.lost.append(f"{node.path}: unknown format; pointers inside its blob stay as is")
            return EntryValue(node.name, "", raw=data)
        values = self.fields(node)
        for name in PLACES:
            values.pop(name, None)
        return EntryValue(node.name, node.format, values)

    def read(self, address: int, size: int) -> bytes:
        try:
            return bytes(self.image.space.read(address, size))
        except MemoryFault:
            return b""

    def fields(self, node: Node) -> dict[str, Any]:
        values: dict[str, Any] = {}
        derived = {c.field.points_to.pgcnt for c in node.children if c.field and c.field.points_to}
        for child in node.children:
            if (
                child.field is not None
                and child.table is None
                and (child.field.counts or child.name in derived)
            ):
                # The encoder counts for itself; an array that is as long as another is no count.
                continue
            if child.key is not None or (child.field is None and child.kind is NodeKind.VALUE):
                if child.name == "name" and child.field is None:
                    values["name"] = child.value
                continue
            if child.kind is NodeKind.RAW or child.name in ("header", "target"):
                continue
            reference = child.field.points_to if child.field is not None else None
            if reference is not None and reference.inline:
                # What it leads to stands beside it.
                continue
            if isinstance(child.value, Absent):
                self.lost.append(f"{child.path}: {child.value.detail or child.value.reason}")
                continue
            values[child.name] = self.value(child, node)
        return values

    def value(self, node: Node, parent: Node) -> Any:
        reference = node.field.points_to if node.field is not None else None
        if node.kind is NodeKind.TABLE:
            return self.rows(node)
        if node.kind is NodeKind.LIST or (reference and reference.shape in _LISTS):
            return [self.fields(element) for element in node.elements()]
        if reference is None:
            return self.fields(node) if node.value is None else node.value
        if reference.shape in _TARGETS and node.target is not None:
            return self.fields(node)
        if reference.shape is Shape.HANDLER:
            if node.target is None or node.get("target") is not None:
                if node.state is NodeState.UNKNOWN_HANDLER:
                    self.lost.append(f"{node.path}: unknown handler; its handle stays as is")
                return Handle(None, int(node.value), node.format)
            return Handle(self.fields(node), format=node.format)
        if reference.shape is Shape.RANGE:
            return self.block(node.value, parent.value_of(reference.size) or 0)
        if reference.shape is Shape.OPAQUE and node.target is not None:
            return self.block(node.value, node.target.size)
        if reference.shape is Shape.ELEMENT and node.reference:
            return Link(node.reference)
        if reference.shape is Shape.PAGE_TABLE and node.get("tables") is not None:
            return self.page_tables(node, reference)
        return node.value

    def block(self, address: int, size: int) -> Payload:
        """A piece of payload."""
        old = np.array([address], np.uint64)
        return Payload(np.array([size], np.uint64), self.contents(old), old=old)

    def page_tables(self, node: Node, reference: Reference) -> PageTables | int:
        """The words of all tables of a page table."""
        table = node.children[0].table
        assert table is not None
        number = self.image.geometry.page_size // table.compiled.size
        words = table.column(table.compiled.fields[0].field.label)
        old = table.extents[:, 0].tolist()
        top = node.parent.value_of(reference.level) if reference.level and node.parent else None
        return PageTables(
            old=old,
            levels=levels(
                words.reshape(-1, number),
                old,
                top or reference.levels,
                address_mask(self.image.geometry),
            ),
            words=list(words.reshape(-1, number)),
            fixed=not reference.level,
        )

    def rows(self, node: Node) -> RowValues:
        table = node.table
        assert table is not None
        columns: dict[str, Array] = {}
        payload: Payload | None = None
        used: Array | None = None
        links: dict[str, list[Link | int]] = {}
        geometry = self.image.geometry
        for placed in table.compiled.fields:
            for field in placed.field.parts or (placed.field,):
                values = table.column(field.label)
                reference = field.points_to
                if reference is not None and reference.shape is Shape.RANGE:
                    lengths = table.column(reference.size)
                    payload = Payload(lengths, self.contents(values), old=values)
                    continue
                if reference is not None and reference.shape is Shape.ELEMENT:
                    links[field.label] = self.links(values, reference)
                    continue
                if reference is None or reference.shape is not Shape.FOLIO:
                    if field.expect is None or bool((values != np.uint64(field.expect)).any()):
                        columns[field.label] = values
                    continue
                used = values != 0
                addresses = values[used]
                if field.role == "pfn":
                    addresses = addresses << np.uint64(geometry.page_shift)
                if reference.order:
                    orders = table.column(reference.order)[used]
                else:
                    orders = self.orders(addresses)
                sizes = np.uint64(geometry.page_size) << orders
                payload = Payload(sizes, self.contents(addresses), old=addresses)
        if table.position is not None:
            columns[table.position.label] = table.column(table.position.label)
        if table.declared > len(table):
            missing = table.declared - len(table)
            self.lost.append(f"{node.path}: {missing} of {table.declared} records not captured")
        return RowValues(columns, payload, used, links)

    def links(self, addresses: Array, reference: Reference) -> list[Link | int]:
        """Records that addresses name; an address that names none stays."""
        if self.elements is None:
            self.elements = element_places(self.image.tree)
        known = self.elements.get(reference.of, {})
        return [Link(known[a].path) if a in known else a for a in addresses.tolist()]

    def orders(self, addresses: Array) -> Array:
        """Page order of the preserved block that starts at each address; 0 where there is none."""
        found = self.image.map
        if isinstance(found, Absent) or not len(addresses):
            return np.zeros(len(addresses), np.uint64)
        starts, orders = found.blocks.blocks_of(addresses)
        exact = (orders >= 0) & (starts == addresses)
        return np.where(exact, orders, 0).astype(np.uint64)

    def contents(self, old: Array) -> Contents:
        """The bytes of blocks, read from the image at their old addresses."""

        def copy(new: Array, sizes: Array) -> Iterator[tuple[int, Buffer]]:
            for source, target, size in merge_moves(old, new, sizes):
                if source >= UNPLACED:
                    continue
                for start, data, state in self.image.space.known(source, size):
                    if data is not None and state == "data":
                        yield target + start - source, data

        return copy


_LISTS = frozenset({Shape.ARRAY, Shape.BLOCKS})
_TARGETS = frozenset({Shape.TREE, Shape.RECORD})


def merge_moves(old: Array, new: Array, sizes: Array) -> Iterator[tuple[int, int, int]]:
    """Join neighbouring blocks that stay neighbours: old address, new address, bytes of each."""
    if not len(old):
        return
    joined = (old[1:] == old[:-1] + sizes[:-1]) & (new[1:] == new[:-1] + sizes[:-1])
    starts = np.concatenate(([0], np.flatnonzero(~joined) + 1))
    totals = np.add.reduceat(sizes, starts)
    yield from zip(old[starts].tolist(), new[starts].tolist(), totals.tolist(), strict=True)
