"""Lift a decoded image off its addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from khotool.absent import Absent
from khotool.codec.base import codec_of
from khotool.codec.element import Places as ElementPlaces
from khotool.codec.element import element_places
from khotool.handover.memory import default_scratch, source_memory
from khotool.handover.values import (
    Array,
    Buffer,
    Contents,
    EntryValue,
    Handover,
    Link,
    Payload,
    Rows,
)
from khotool.limits import Limits
from khotool.maps import radix
from khotool.memory.space import MemoryFault
from khotool.model.image import UNPLACED, Image, Node, NodeKind, Span
from khotool.pages.blocks import Blocks

PLACES = ("address", "size")
"""Properties of an entry that only say where its blob is."""


def handover_of(image: Image, memory: Sequence[Span] = ()) -> Handover:
    """Everything an image hands over, with its payload read from the image when it is needed.

    Args:
        memory: ranges that a fresh layout may use; by default those that the image is in.
    """
    usable = list(memory) or source_memory(image)
    lifter = Lifter(image)
    entries = [lifter.entry(node) for node in image.entries]
    return Handover(
        geometry=image.geometry,
        osrelease=image.info.osrelease or "",
        machine=image.info.machine,
        entries=[entry for entry in entries if entry is not None],
        memory=usable,
        scratch=scratch_of(image, usable),
        lost=lifter.lost,
    )


def scratch_of(image: Image, memory: Sequence[Span]) -> list[Span]:
    """Scratch areas of an image; where it does not say, the usual ones at the start of memory."""
    if not isinstance(image.scratch, Absent) and image.scratch.areas:
        return list(image.scratch.areas)
    return default_scratch(image.geometry, memory[0].address) if memory else []


class Lifter:
    """Values of one image; what codecs lift with, see ``khotool.codec.contexts.Lifter``.

    Args:
        lost: what cannot be taken over, one sentence each.
    """

    def __init__(self, image: Image) -> None:
        """Lift from one image."""
        self.image = image
        self.geometry, self.registry = image.geometry, image.registry
        self.lost: list[str] = []
        self._elements: ElementPlaces | None = None

    def lose(self, path: str, why: str) -> None:
        """Note what cannot be taken over."""
        self.lost.append(f"{path}: {why}")

    # -- records and trees ---------------------------------------------------------------

    def entry(self, node: Node) -> EntryValue | None:
        """One entry of the root; None for one that is not there."""
        if isinstance(node.value, Absent):
            self.lose(node.path, node.value.detail)
            return None
        raw = node.get("bytes")
        if not node.format or (raw is not None and raw.kind is NodeKind.RAW):
            self.lose(node.path, "unknown format; pointers inside its blob stay as they are")
            return EntryValue(node.name, "", raw=self.blob(node, raw))
        values = self.fields(node)
        for name in PLACES:
            values.pop(name, None)
        return EntryValue(node.name, node.format, values)

    def blob(self, node: Node, raw: Node | None) -> bytes:
        """The bytes of an entry that nothing explains."""
        if raw is not None and raw.value:
            return bytes(raw.value)
        if node.target is None:
            return b""
        try:
            return bytes(self.image.space.read(node.target.address, node.target.size))
        except MemoryFault:
            return b""

    def fields(self, node: Node) -> dict[str, Any]:
        """Values of the children of a node, by label."""
        values: dict[str, Any] = {}
        definition = self.registry.definitions.get(node.format)
        if definition is not None and definition.pinned and node.struct == definition.content:
            self.lose(node.path, definition.pinned)
        derived = {c.field.points_to.pgcnt for c in node.children if c.field and c.field.points_to}
        for child in node.children:
            if child.field is None and child.name == "name":
                values["name"] = child.value
            elif is_missing(child):
                self.lose(node.path, child.value.detail or str(child.value.reason))
            elif is_value(child, derived):
                if isinstance(child.value, Absent):
                    self.lose(child.path, child.value.detail or str(child.value.reason))
                else:
                    values[child.name] = self.value(child)
        return values

    def value(self, node: Node) -> Any:
        """The value of one child, as the codec of its shape lifts it."""
        if node.table is not None:
            return self.rows(node)
        reference = node.field.points_to if node.field is not None else None
        if reference is not None:
            return codec_of(reference.shape).lift(self, node)
        if node.kind is NodeKind.LIST:
            return [self.fields(element) for element in node.elements()]
        return self.fields(node) if node.value is None else node.value

    # -- tables --------------------------------------------------------------------------

    def rows(self, node: Node) -> Rows:
        """The rows of a node that has a table."""
        table = node.table
        assert table is not None
        rows = Rows({})
        for field in table.compiled.leaves:
            if field.points_to is not None:
                codec_of(field.points_to.shape).lift_column(self, table, field, rows)
            elif field.label not in rows.columns:
                values = table.column(field.label)
                if field.expect is None or bool((values != np.uint64(field.expect)).any()):
                    rows.columns[field.label] = values
        if table.position is not None:
            rows.columns[table.position.label] = table.column(table.position.label)
        if table.declared > len(table):
            missing = table.declared - len(table)
            self.lose(node.path, f"{missing} of {table.declared} records not captured")
        return rows

    def link(self, struct: str, address: int) -> Link | int:
        """The record of a list that an address names; the address itself where it names none."""
        if self._elements is None:
            self._elements = element_places(self.image.tree)
        known = self._elements.get(struct, {})
        return Link(known[address].path) if address in known else address

    def radix(self, address: int) -> Blocks:
        """What a radix tree at a physical address holds."""
        geometry, space = self.geometry, self.image.space
        found = radix.walk(
            lambda pages: space.gather(pages, geometry.page_size),
            address,
            geometry=geometry,
            limits=Limits(),
        )
        return found.blocks

    # -- payload -------------------------------------------------------------------------

    def orders(self, addresses: Array) -> Array:
        """Page order of the preserved block that starts at each address; 0 where there is none."""
        found = self.image.map
        if isinstance(found, Absent) or not len(addresses):
            return np.zeros(len(addresses), np.uint64)
        starts, orders = found.blocks.blocks_of(addresses)
        exact = (orders >= 0) & (starts == addresses)
        return np.where(exact, orders, 0).astype(np.uint64)

    def payload(self, addresses: Array, sizes: Array) -> Payload:
        """Memory that is handed over as it is: blocks at old addresses, uint64 (n,)."""
        return Payload(sizes, self.contents(addresses), old=addresses)

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


def is_missing(child: Node) -> bool:
    """True for a child that says why what a pointer leads to is not there."""
    return child.field is None and child.name == "target" and isinstance(child.value, Absent)


def is_value(child: Node, derived: set[str]) -> bool:
    """True for a child that says something of its own.

    Args:
        derived: labels of fields whose numbers follow from an array.
    """
    field = child.field
    if child.kind is NodeKind.RAW or child.key is not None:
        return False
    if field is None and child.name in ("header", "target"):
        return False
    if field is None:
        return child.kind is not NodeKind.VALUE
    if child.table is None and (field.counts or child.name in derived):
        # The encoder counts for itself; a length equal to that of a sibling array is not a count.
        return False
    # What an inline pointer leads to is a sibling.
    return field.points_to is None or not field.points_to.inline


def merge_moves(old: Array, new: Array, sizes: Array) -> Iterator[tuple[int, int, int]]:
    """Join neighbouring blocks that stay neighbours: old address, new address, bytes of each."""
    if not len(old):
        return
    joined = (old[1:] == old[:-1] + sizes[:-1]) & (new[1:] == new[:-1] + sizes[:-1])
    starts = np.concatenate(([0], np.flatnonzero(~joined) + 1))
    totals = np.add.reduceat(sizes, starts)
    yield from zip(old[starts].tolist(), new[starts].tolist(), totals.tolist(), strict=True)
