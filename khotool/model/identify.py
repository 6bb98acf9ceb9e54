"""All that a physical address is, most specific first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from khotool.abi.definition import Field, Shape
from khotool.absent import Absent
from khotool.maps.preserved import PageKind, PreservedMap
from khotool.memory.space import MemoryFault
from khotool.model.image import Image, Node, NodeKind, Span, Table
from khotool.model.places import Places, field_at
from khotool.records import dataclass, field

MAX_ROWS = 8
"""Folios listed for one address; a sound image has one."""
ROWS = 1 << 16
"""Rows that are read together; their columns stay in the cache."""
LARGEST_ORDER = 40
"""Page order that no record exceeds."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that an address is.

    Args:
        kind: ``field``, ``row``, ``payload``, ``record``, ``tree``, ``map``, ``owner``,
            ``block``, ``scratch`` or ``capture``.
        text: one sentence without the path.
        path: of the node it is about; empty for none.
        data: numbers for machines; addresses are under ``address``, offsets and sizes in bytes.
    """

    kind: str
    text: str
    path: str = ""
    data: dict[str, int | str] = field(default_factory=dict)


class Identifier:
    """Answers for one image; the index over its values is made once."""

    def __init__(self, image: Image) -> None:
        """Index the image."""
        self.image = image
        self.places = Places(image)

    def identify(self, address: int) -> list[Fact]:
        """All facts about a physical address in bytes."""
        return [
            *self._fields(address),
            *self._rows(address),
            *self._payload(address),
            *self._records(address),
            *self._trees(address),
            *self._map(address),
            *self._ranges(address),
            *self._owners(address),
            *self._block(address),
            *self._scratch(address),
            *self._capture(address),
        ]

    def _fields(self, address: int) -> Iterator[Fact]:
        for node in self.places.values.overlapping(address, address + 1):
            span = node.span
            assert span is not None
            text = f"byte {address - span.address} of {span.size}"
            if isinstance(node.value, list) and node.field is not None and node.field.type:
                index = (address - span.address) // node.field.type.size
                used = len(node.value)
                text = f"element {index} of {used}" if index < used else f"unused element {index}"
            parent = node.parent
            data: dict[str, int | str] = {"offset": address - span.address, "size": span.size}
            if parent is not None and parent.struct and parent.kind is not NodeKind.IMAGE:
                base = _record_base(parent)
                if base is not None and base <= span.address:
                    text += f", at +{span.address - base:#x} of struct {parent.struct}"
                    data["struct"] = parent.struct
                    data["struct_offset"] = span.address - base
            yield Fact("field", text, node.path, data)

    def _rows(self, address: int) -> Iterator[Fact]:
        for node, first, last in self.places.rows_at(address, address + 1):
            assert node.table is not None
            for index in range(first, last):
                start = node.table.span(index).address
                offset = address - start
                placed = field_at(node, offset)
                struct = node.table.compiled.struct.name
                where = f"{node.path}[{index}]"
                if placed is not None and not placed.field.parts:
                    where += f"/{placed.field.label}"
                text = f"byte {offset} of record {index} of {len(node.table)}, struct {struct}"
                data: dict[str, int | str] = {
                    "row": index,
                    "offset": offset,
                    "struct": struct,
                    "size": node.table.compiled.size,
                }
                yield Fact("row", text, where, data)

    def _payload(self, address: int) -> Iterator[Fact]:
        for node in self.places.tables:
            table = node.table
            assert table is not None
            for column in table.pointers(Shape.FOLIO):
                yield from self._folios(node, table, column, address)

    def _folios(self, node: Node, table: Table, column: Field, address: int) -> Iterator[Fact]:
        found = islice(folios_around(self.image, table, column, address), MAX_ROWS)
        index_label = next((f.label for f in table.fields() if f.role == "page-index"), "")
        shift = self.image.geometry.page_shift
        for row, start in found:
            offset = address - start
            text = f"byte {offset:+#x} of folio {row}"
            data: dict[str, int | str] = {"row": row, "offset": offset}
            if index_label:
                at = table.column(index_label, slice(row, row + 1))
                place = (int(at[0]) << shift) + offset
                text += f", file offset {place:#x}"
                data["file_offset"] = place
            yield Fact("payload", text, f"{node.path}[{row}]", data)

    def _records(self, address: int) -> Iterator[Fact]:
        seen: set[str] = set()
        for node in self.places.targets.overlapping(address, address + 1):
            target = node.target
            assert target is not None
            if not node.children or node.kind is NodeKind.TABLE or node.path in seen:
                continue
            seen.add(node.path)
            what = node.struct or node.format or "what it points to"
            yield _inside("record", address, target, f"{what}, {target.size} bytes", node.path)

    def _trees(self, address: int) -> Iterator[Fact]:
        for region in self.places.trees:
            span = Span(region.address, len(region.blob.data))
            if span.address <= address < span.end:
                what = f"a device tree at {span.address:#x}, {span.size} bytes"
                yield _inside("tree", address, span, what, region.path)

    def _map(self, address: int) -> Iterator[Fact]:
        found = self.image.map
        if not isinstance(found, PreservedMap) or not len(found.pages):
            return
        pages = found.pages
        inside = np.uint64(address) - pages.address < pages.size
        for row in np.flatnonzero(inside)[:MAX_ROWS].tolist():
            page = pages[row]
            kind = page.kind.name.lower()
            level = f" of level {page.level}" if page.kind is PageKind.INTERIOR else ""
            what = f"a {found.layout} {kind} page{level} at {page.address:#x}"
            span = Span(page.address, page.size)
            yield _inside("map", address, span, what, "/memory_map", page=kind)

    def _ranges(self, address: int) -> Iterator[Fact]:
        for node in self.places.targets.overlapping(address, address + 1):
            reference = node.field.points_to if node.field is not None else None
            target = node.target
            if reference is None or reference.shape not in (Shape.RANGE, Shape.FOLIO):
                continue
            assert target is not None
            what = f"{target.size} bytes of payload"
            yield _inside("payload", address, target, what, node.path)

    def _owners(self, address: int) -> Iterator[Fact]:
        for path in self.image.owners_of(address):
            yield Fact("owner", "owns the page", path)

    def _block(self, address: int) -> Iterator[Fact]:
        found = self.image.map
        if isinstance(found, Absent):
            yield Fact("block", f"whether it is preserved is not known: {found.reason}")
            return
        block = found.blocks.block_of(address)
        if block is None:
            yield Fact("block", "not preserved")
            return
        start, order = block
        text = f"preserved, in the block of order {order} at {start:#x}"
        yield Fact("block", text, "", {"address": start, "order": order})

    def _scratch(self, address: int) -> Iterator[Fact]:
        scratch = self.image.scratch
        for number, area in enumerate([] if isinstance(scratch, Absent) else scratch.areas):
            if area.address <= address < area.end:
                what = f"scratch area {number}, {area.size} bytes"
                yield _inside("scratch", address, area, what)

    def _capture(self, address: int) -> Iterator[Fact]:
        if self.image.info.container in ("debugfs", "fdt"):
            return
        try:
            self.image.space.read(address, 1)
        except MemoryFault as fault:
            yield Fact("capture", f"not in the capture: {fault.reason}", "", {"captured": 0})
            return
        yield Fact("capture", "in the capture", "", {"captured": 1})


def _inside(
    kind: str, address: int, span: Span, what: str, path: str = "", **more: int | str
) -> Fact:
    """An address as a byte of something."""
    offset = address - span.address
    data: dict[str, int | str] = {"address": span.address, "offset": offset, "size": span.size}
    return Fact(kind, f"byte {offset:+#x} of {what}", path, data | more)


def folios_around(
    image: Image, table: Table, column: Field, address: int
) -> Iterator[tuple[int, int]]:
    """Row and physical address in bytes of each folio around an address, ascending by row.

    The order of a folio is that of the record, else that of the preserved block, else 0.
    """
    geometry = image.geometry
    reference = column.points_to
    label = reference.order if reference is not None else ""
    blocks = image.map.blocks if isinstance(image.map, PreservedMap) and not label else None
    largest = LARGEST_ORDER if label else blocks.largest_order if blocks is not None else 0
    reach = np.uint64(min(geometry.page_size << largest, 1 << 63))
    for first in range(0, len(table), ROWS):
        part = slice(first, first + ROWS)
        starts = table.column(column.label, part)
        if column.role == "pfn":
            starts = starts << np.uint64(geometry.page_shift)
        # Subtraction wraps where the folio lies above the address; then it is larger than sizes.
        behind = np.uint64(address) - starts
        rows = np.flatnonzero((behind < reach) & (starts != 0))
        if not rows.size:
            continue
        orders = np.zeros(rows.size, np.int64)
        if label:
            orders = np.minimum(table.column(label, part)[rows], np.uint64(LARGEST_ORDER))
        elif blocks is not None:
            orders = np.maximum(blocks.blocks_of(starts[rows])[1], 0)
        inside = rows[behind[rows] < np.uint64(geometry.page_size) << orders.astype(np.uint64)]
        yield from zip((first + inside).tolist(), starts[inside].tolist(), strict=True)


def _record_base(node: Node) -> int | None:
    """Physical address of the record whose fields are the children of ``node``."""
    if node.target is not None and node.kind is not NodeKind.TABLE:
        return node.target.address
    return node.span.address if node.span is not None else None
