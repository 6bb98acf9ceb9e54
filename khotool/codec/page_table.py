"""Page tables of an IOMMU: pages of entries that lead to further tables, or to memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.abi.geometry import Geometry
from khotool.codec.base import Codec, Pointer, reference_of, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.problems import Read, ShapeProblem
from khotool.codec.tables import plural
from khotool.codec.walk import owner_path
from khotool.errors import EncodeError
from khotool.handover.values import Mapped, PageTables
from khotool.memory.space import MemoryFault
from khotool.model.node import Node, NodeKind, Span, Table
from khotool.model.region import TableRegion
from khotool.records import dataclass, field
from khotool.structured import Table as Written

MAX_ENTRIES = 1 << 20
"""Entries of the last level that a manifest may ask for."""

U64 = np.ndarray[Any, np.dtype[np.uint64]]

MAX_LEVEL = 6
"""Level of a first table at most; seven levels cover more than 64 bits of address."""
PRESENT = 3
"""An entry with none of these bits leads nowhere; above level 0, one with a single one to memory:
VT-d lets tables be read and written, and VMSAv8-64 has a block there."""
SUPERPAGE = 1 << 7
"""Above level 0: the entry leads to memory, not to a table."""
ADDRESS_BITS = 52
MAX_PROBLEMS = 64


@dataclass(slots=True)
class Leaves:
    """Entries that lead to memory, of one table.

    Args:
        count: entries.
        pages: base pages they cover.
    """

    count: int = 0
    pages: int = 0


@dataclass(slots=True)
class PageTable:
    """A walked page table.

    Args:
        tables: physical address of each table, the first one first, level by level down.
        levels: level of each table; those of level 0 have no tables below them.
        entries: words of each table, uint64 in host byte order.
        leaves: what all entries that lead to memory amount to.
        problems: what stopped or disturbed the walk.
    """

    tables: list[int]
    levels: list[int]
    entries: list[U64]
    leaves: Leaves
    problems: list[ShapeProblem] = field(default_factory=list)


class TableKind(NamedTuple):
    """What the entries of a table are.

    Args:
        level: tables of level 0 have none below them.
        root: a root table of VT-d, whose entries have bit 0 alone.
    """

    level: int
    root: bool = False

    def leads_on(self, words: U64) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Entries that lead to tables below this one, bool (n,)."""
        if not self.level:
            return np.zeros(len(words), bool)
        bits = words & np.uint64(PRESENT)
        present = bits != 0 if self.root else bits == PRESENT
        table: np.ndarray[Any, np.dtype[np.bool_]] = present & (words & np.uint64(SUPERPAGE) == 0)
        return table


def address_mask(geometry: Geometry) -> int:
    """Bits of an entry that are a physical address: up to bit 51, whole pages."""
    return ((1 << ADDRESS_BITS) - 1) & ~(geometry.page_size - 1)


def walk_page_table(
    read: Read, top: int, geometry: Geometry, *, level: int, max_tables: int, root: bool = False
) -> PageTable:
    """Follow a page table from its first table down.

    A table is a page of 64-bit words. Work is bounded by the tables: each is read once, and one
    that is reached twice is a problem, as is one that leads to itself.

    Args:
        read: physical address and length in bytes to bytes; raises MemoryFault.
        top: physical address of the first table.
        level: of the first table; tables of level 0 have none below them.
        max_tables: tables read at most.
        root: it is a root table of VT-d, whose entries have bit 0 alone.
    """
    found = PageTable([], [], [], Leaves())
    if not 0 <= level <= MAX_LEVEL:
        text = f"level {level}; page tables have levels 0 to {MAX_LEVEL}"
        found.problems.append(ShapeProblem("level", top, text))
        return found
    if top % geometry.page_size:
        found.problems.append(ShapeProblem("unaligned", top, "a table is not page aligned"))
    seen = {top}
    pending = [top]
    while pending:
        below: list[int] = []
        for address in pending:
            if len(found.tables) >= max_tables:
                text = f"stopped after {max_tables} page tables"
                found.problems.append(ShapeProblem("limit", address, text))
                return found
            words = _words(read, address, geometry, found)
            if words is None:
                continue
            found.tables.append(address)
            found.levels.append(level)
            found.entries.append(words)
            below += _children(words, TableKind(level, root), geometry, address, seen, found)
        pending, level = below, level - 1
    return found


def _words(read: Read, address: int, geometry: Geometry, found: PageTable) -> U64 | None:
    try:
        data = read(address, geometry.page_size)
    except MemoryFault as fault:
        _note(found, ShapeProblem("missing", fault.address, f"page table: {fault}"))
        return None
    return np.frombuffer(data, f"{geometry.prefix}u8").astype(np.uint64)


def _children(
    words: U64,
    kind: TableKind,
    geometry: Geometry,
    table: int,
    seen: set[int],
    found: PageTable,
) -> list[int]:
    """Tables below one table that were not met before; its leaves are counted."""
    leads = kind.leads_on(words)
    present = (words & np.uint64(PRESENT)) != 0
    number = int(np.count_nonzero(present & ~leads))
    found.leaves.count += number
    bits = geometry.page_shift - 3
    found.leaves.pages += number << (bits * kind.level)
    children: list[int] = []
    for address in (words[leads] & np.uint64(address_mask(geometry))).tolist():
        if address in seen:
            text = f"the table at {address:#x} is reached twice"
            _note(found, ShapeProblem("shared-table", table, text))
            continue
        seen.add(address)
        children.append(address)
    return children


def levels(words: U64, tables: list[int], top: int, mask: int, *, root: bool = False) -> list[int]:
    """Level of each table of a walked page table.

    Args:
        words: uint64 (n, entries), of each table.
        tables: physical address of each, the first one first.
        top: level of the first.
        mask: bits of an entry that are an address.
        root: it is a root table of VT-d.
    """
    place = {address: number for number, address in enumerate(tables)}
    result = [0] * len(tables)
    if tables:
        result[0] = top
    for number in range(len(tables)):
        leads = TableKind(result[number], root).leads_on(words[number])
        for address in (words[number][leads] & np.uint64(mask)).tolist():
            child = place.get(address)
            if child is not None and child > number:
                result[child] = result[number] - 1
    return result


def _note(found: PageTable, problem: ShapeProblem) -> None:
    if len(found.problems) < MAX_PROBLEMS:
        found.problems.append(problem)


@register(Shape.PAGE_TABLE)
class PageTableCodec(Codec):
    """Page tables from the first one down: memory of the node's owner, one array of entries."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """One table of all entries, table after table."""
        definition, reference = pointer.definition, pointer.reference
        scene, recorder = walk.scene, walk.recorder
        size = scene.geometry.page_size
        level = pointer.values.get(reference.level, reference.levels)
        entry = scene.struct(definition, reference.of)
        recorder.use(scene.owner_of_struct(definition, reference.of))
        found = walk_page_table(
            scene.space.read,
            int(node.value),
            scene.geometry,
            level=level if isinstance(level, int) else 0,
            max_tables=max(min(recorder.nodes_left, recorder.bytes_left // size), 1),
            root=not reference.level,
        )
        walk.problems(node, found.problems)
        walk.claim(node, int(node.value), 1)
        if not found.tables:
            return
        pages = np.array(found.tables, np.uint64)
        recorder.claim_many(owner_path(node), pages, np.uint64(size))
        node.target = Span(found.tables[0], size)
        leaves = found.leaves
        node.remark = f"{plural(leaves.count, 'leaf entry', 'leaf entries')}, {leaves.pages} pages"
        if not recorder.spend(node, len(pages), len(pages) * size):
            return
        extents = np.empty((len(pages), 2), np.uint64)
        extents[:, 0], extents[:, 1] = pages, size
        words = np.concatenate(found.entries)
        records = np.zeros(len(words), entry.dtype)
        records[entry.fields[0].field.name] = words
        tables = node.add(Node("tables", NodeKind.TABLE, format=definition.id))
        tables.struct = entry.struct.name
        tables.table = Table(entry, records, extents, len(records))
        tables.remark = plural(len(pages), "table")
        recorder.regions.append(
            TableRegion(tables.path, definition.id, entry, extents, records, node=tables)
        )

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The words of all tables."""
        found = node.get("tables")
        if found is None or found.table is None or node.field is None:
            return node.value
        reference, table = reference_of(node.field), found.table
        number = lifter.geometry.page_size // table.compiled.size
        words = table.column(table.compiled.fields[0].field.label).reshape(-1, number)
        old = table.extents[:, 0].tolist()
        top = node.parent.value_of(reference.level) if reference.level and node.parent else None
        root, mask = not reference.level, address_mask(lifter.geometry)
        return PageTables(
            old=old,
            levels=levels(words, old, top or reference.levels, mask, root=root),
            words=list(words),
            fixed=root,
        )

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """A list of what is mapped."""
        return PageTables([read_mapped(item) for item in table[field.label].tables()])

    def build(self, builder: Builder, pointer: Pointer) -> int:
        """The tables, each in a preserved page; the address of the first."""
        value, reference, path = pointer.value, pointer.reference, pointer.path
        if not isinstance(value, PageTables):
            return pointer.number()
        level = int(pointer.values.get(reference.level, reference.levels))
        if not 0 <= level <= MAX_LEVEL:
            raise EncodeError(path, f"level {level}; page tables have levels 0 to {MAX_LEVEL}")
        if value.old:
            return _move_tables(builder, value, path)
        return _Mapper(builder, level, path).build(value.maps)


def read_mapped(table: Written) -> Mapped:
    """What a page table maps at one device address: memory, or that of a table's rows."""
    iova = table.integer("iova", sizes=True)
    if "table" in table:
        return Mapped(iova, table=table.text("table", limit=4096))
    return Mapped(iova, table.integer("size", sizes=True), table.integer("address", sizes=True))


def _move_tables(builder: Builder, value: PageTables, path: str) -> int:
    """Tables of an image at new places, and what they lead to at its new place."""
    page = builder.geometry.page_size
    new = np.array([builder.alloc_preserve(page, path) for _ in value.old], np.uint64)
    old = np.array(value.old, np.uint64)
    builder.places.move(old, new, np.full(len(new), page, np.uint64))
    mask = np.uint64(address_mask(builder.geometry))
    if value.fixed and any(
        level == 0 and words.any() for level, words in zip(value.levels, value.words, strict=True)
    ):
        builder.lose(path, "hardware entries of its last level stay as they are")
    order = np.argsort(old)
    for address, level, given in zip(new.tolist(), value.levels, value.words, strict=True):
        words = given.copy()
        leads = TableKind(level, value.fixed).leads_on(words)
        targets = words[leads] & mask
        row = np.minimum(np.searchsorted(old[order], targets), len(old) - 1)
        found = old[order][row] == targets
        targets[found] = new[order][row][found]
        words[leads] = (words[leads] & ~mask) | targets
        if not value.fixed:
            leaves = ((words & np.uint64(PRESENT)) != 0) & ~leads
            words[leaves] = (words[leaves] & ~mask) | builder.places.moved(words[leaves] & mask)
        _write_table(builder, address, words)
    return int(new[0])


def _write_table(builder: Builder, address: int, words: U64) -> None:
    builder.write(address, words.astype(f"{builder.geometry.prefix}u8").tobytes())


class _Mapper:
    """Tables that map ranges of device addresses."""

    def __init__(self, builder: Builder, level: int, path: str) -> None:
        self.builder = builder
        self.level = level
        self.path = path
        self.page = builder.geometry.page_size
        self.bits = builder.geometry.page_shift - 3
        self.tables: dict[tuple[int, int], tuple[int, U64]] = {}
        self.left = MAX_ENTRIES

    def build(self, maps: list[Mapped]) -> int:
        top = self.table(self.level, 0)[0]
        for item in maps:
            iova = item.iova
            for address, size in self.ranges(item):
                self.map(iova, address, size)
                iova += size
        for address, words in self.tables.values():
            _write_table(self.builder, address, words)
        return top

    def ranges(self, item: Mapped) -> list[tuple[int, int]]:
        """Physical address and bytes of what is mapped, in order."""
        if not item.table:
            return [(item.address, item.size)]
        starts, sizes = self.builder.places.table(item.table, self.path)
        return list(zip(starts.tolist(), sizes.tolist(), strict=True))

    def table(self, level: int, number: int) -> tuple[int, U64]:
        """The table of a level that covers the ``number``-th stretch of its size."""
        found = self.tables.get((level, number))
        if found is None:
            address = self.builder.alloc_preserve(self.page, self.path)
            found = address, np.zeros(self.page // 8, np.uint64)
            self.tables[level, number] = found
            if level < self.level:
                above = self.table(level + 1, number >> self.bits)[1]
                above[number & (len(above) - 1)] = address | PRESENT
        return found

    def map(self, iova: int, address: int, size: int) -> None:
        """Map one range, with entries above the last level where they fit."""
        if (iova | address | size) % self.page:
            raise EncodeError(self.path, f"{iova:#x}: what is mapped is not made of whole pages")
        end = iova + size
        if end > self.page << (self.bits * (self.level + 1)):
            raise EncodeError(self.path, f"{end:#x} is beyond what level {self.level} covers")
        while iova < end:
            level = 0
            while level < min(self.level, 2):
                reach = self.page << (self.bits * (level + 1))
                if (iova | address) % reach or end - iova < reach:
                    break
                level += 1
            reach = self.page << (self.bits * level)
            self.left -= 1
            if self.left < 0:
                raise EncodeError(self.path, f"more than {MAX_ENTRIES} entries")
            number = iova // reach
            words = self.table(level, number >> self.bits)[1]
            words[number & (len(words) - 1)] = address | PRESENT | (SUPERPAGE if level else 0)
            iova, address = iova + reach, address + reach
