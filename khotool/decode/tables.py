"""Arrays of records that stay numpy arrays: a memfd's folios, a test's list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.abi.compile import CompiledStruct, PlacedField
from khotool.abi.definition import Definition, Field, Holds, Reference, Shape
from khotool.abi.record import decode_record
from khotool.absent import Absent, Reason
from khotool.codec.page_table import walk_page_table
from khotool.codec.vmalloc import ShapeProblem, walk_vmalloc
from khotool.memory.mapped import row_releaser
from khotool.model.image import UNPLACED, Node, NodeKind, Span, Table
from khotool.model.region import RawRegion, RecordRegion, TableRegion
from khotool.pages.claims import Column

if TYPE_CHECKING:
    from khotool.abi.geometry import Geometry
    from khotool.decode.follow import Follower

U64 = np.ndarray[Any, np.dtype[np.uint64]]
MAX_ORDER = 36
"""Orders above this are larger than any physical memory."""


def inline_table(follower: Follower, node: Node, field: Field, definition: Definition) -> None:
    """A property of an FDT node that holds one struct, or an array of them."""
    walker = follower.walker
    kind = field.type
    assert kind is not None
    assert node.span is not None
    compiled = walker.registry.compile(definition, kind.struct, walker.geometry)
    data = walker.read_some(node.span.address, node.span.size)
    if isinstance(data, Absent):
        return
    if kind.kind == "struct":
        values = decode_record(compiled, data)
        # The device tree owns the bytes; only the fields are new.
        walker.record_fields(node, compiled, values, node.span.address, definition)
        return
    records = np.frombuffer(data, compiled.dtype)
    extents = np.array([[node.span.address, node.span.size]], np.uint64)
    node.kind = NodeKind.TABLE
    node.table = Table(compiled, records, extents, len(records))
    claim_rows(follower, node, node.table)


def vmalloc_table(
    follower: Follower, node: Node, holds: Holds, definition: Definition, siblings: dict[str, Any]
) -> None:
    """The array in the vmalloc area whose descriptor ``node`` is."""
    walker = follower.walker
    registry = walker.registry
    compiled = registry.compile(definition, holds.of, walker.geometry)
    descriptor = registry.owner_of_struct(definition, node.struct)
    walker.use(descriptor)
    chunk = registry.compile(descriptor, "kho_vmalloc_chunk", walker.geometry)
    first, order = node.value_of("first") or 0, node.value_of("order") or 0
    total_pages = node.value_of("total_pages") or 0
    count = siblings.get(holds.count)
    count = count if isinstance(count, int) else 0
    node.kind = NodeKind.TABLE
    empty = np.empty(0, compiled.dtype)
    node.table = Table(compiled, empty, np.empty((0, 2), np.uint64), count)
    if not first:
        if count or total_pages:
            walker.report("REC408", node, f"first is 0, but {count} records are declared")
        return
    if order > MAX_ORDER:
        walker.report("REC407", node, f"order {order} is larger than any memory")
        order = 0
    size = walker.geometry.page_size << order
    area = walk_vmalloc(
        walker.space.read,
        first,
        chunk,
        wanted=total_pages >> order,
        max_chunks=walker.limits.chain,
    )
    if not walker.spend(node, len(area.chunks) + 1, len(area.chunks) * chunk.size):
        return
    for number, address in enumerate(area.chunks):
        top = node.add(
            Node("chunks", NodeKind.RECORD, key=str(number), span=Span(address, chunk.size))
        )
        chunk_region(follower, top, chunk, address, descriptor)
        follower.claim(node, address, chunk.size)
    follower.problems(node, area.problems)
    declared = total_pages >> order
    whole = not any(problem.code in ("missing", "limit", "cycle") for problem in area.problems)
    if whole and len(area.pages) != declared:
        problem = ShapeProblem(
            "total-pages",
            first,
            f"total_pages is {total_pages}, the chunks name {len(area.pages) << order}",
        )
        follower.problems(node, [problem])
    placed = area.pages[area.pages < np.uint64(UNPLACED)]
    walker.claim_many(owner(follower, node), placed, size)
    if whole and count * compiled.size > len(area.pages) * size:
        walker.report(
            "REC403",
            node,
            f"{holds.count} is {count}; {len(area.pages)} pages hold "
            f"{len(area.pages) * size // compiled.size}",
        )
    extents = merge_pages(area.pages, size, count * compiled.size)
    data, extents = read_extents(follower, node, extents)
    records = np.frombuffer(data, compiled.dtype, len(data) // compiled.size)
    if len(records) < min(count, int(area.pages.size) * size // compiled.size):
        node.note = f"{count - len(records)} records are not captured"
    node.table = Table(compiled, records, extents, count)
    if not walker.spend(node):
        return
    walker.regions.append(TableRegion(node.path, definition.id, compiled, extents, records))
    claim_rows(follower, node, node.table)


def tail_table(
    follower: Follower,
    node: Node,
    compiled: CompiledStruct,
    definition: Definition,
    values: dict[str, Any],
) -> None:
    """The array of open length behind the fields of the record that ``node`` leads to."""
    assert compiled.tail is not None
    assert node.target is not None
    walker = follower.walker
    field, element = compiled.tail
    counter = next(f for f in compiled.struct.fields if f.counts == field.label)
    # The counter of bytes may be signed; fewer than none is none.
    count = max(0, int(values[counter.label]))
    start = node.target.address + compiled.size
    if element is None:
        tail_bytes(follower, node, field, definition, start, count)
        return
    table = node.add(Node(field.label, NodeKind.TABLE, field=field, format=definition.id))
    table.struct = element.struct.name
    extents = np.empty((0, 2), np.uint64)
    table.table = Table(element, np.empty(0, element.dtype), extents, count)
    if not count:
        return
    data = walker.read_some(start, element.size, short=True)
    if not isinstance(data, Absent):
        # What is read is bounded by what is captured, not by a count that may be anything.
        most = min(count * element.size, walker.limits.bytes)
        data = walker.read_some(start, most, short=True)
    if isinstance(data, Absent):
        walker.absent(table, start, data)
        return
    records = np.frombuffer(data, element.dtype, min(count, len(data) // element.size))
    if len(records) < count:
        table.note = f"{count - len(records)} records are not captured"
        walker.report("REC403", table, f"{counter.label} is {count}; {len(records)} are there")
    size = len(records) * element.size
    if not len(records) or not walker.spend(table, 1, size):
        return
    extents = np.array([[start, size]], np.uint64)
    table.span = Span(start, size)
    table.table = Table(element, records, extents, count)
    follower.claim(table, start, size)
    walker.regions.append(TableRegion(table.path, definition.id, element, extents, records))
    claim_rows(follower, table, table.table)


def tail_bytes(
    follower: Follower, node: Node, field: Field, definition: Definition, start: int, count: int
) -> None:
    """The ``count`` bytes of open length at ``start``, behind the fields of a record."""
    walker = follower.walker
    value = node.add(
        Node(field.label, NodeKind.VALUE, field=field, format=definition.id, value=b"")
    )
    value.span = Span(start, 0)
    if not count:
        return
    data = walker.read_some(start, min(count, walker.limits.bytes), short=True)
    if isinstance(data, Absent):
        walker.absent(value, start, data)
        value.value = data
        return
    if len(data) < count:
        walker.report("REC403", value, f"{count} bytes are counted; {len(data)} are there")
    if not walker.spend(value, 1, len(data)):
        return
    value.value, value.span = bytes(data), Span(start, len(data))
    follower.claim(value, start, len(data))
    walker.regions.append(RawRegion(value.path, start, value.value))


def page_table(
    follower: Follower,
    node: Node,
    reference: Reference,
    definition: Definition,
    siblings: dict[str, Any],
) -> None:
    """The tables of a page table: memory of the owner of ``node``, one array of entries."""
    walker = follower.walker
    geometry = walker.geometry
    level = siblings.get(reference.level) if reference.level else reference.levels
    entry = walker.registry.compile(definition, reference.of, geometry)
    walker.use(walker.registry.owner_of_struct(definition, reference.of))
    left = min(
        walker.limits.nodes - walker.budget.nodes,
        (walker.limits.bytes - walker.budget.bytes) // geometry.page_size,
    )
    found = walk_page_table(
        walker.space.read,
        int(node.value),
        geometry,
        level=level if isinstance(level, int) else 0,
        max_tables=max(left, 1),
    )
    follower.problems(node, found.problems)
    follower.claim(node, int(node.value), 1)
    if not found.tables:
        return
    pages = np.array(found.tables, np.uint64)
    walker.claim_many(owner(follower, node), pages, np.uint64(geometry.page_size))
    node.target = Span(found.tables[0], geometry.page_size)
    leaves = found.leaves
    node.note = f"{plural(leaves.count, 'leaf entry', 'leaf entries')}, {leaves.pages} pages"
    if not walker.spend(node, len(pages), len(pages) * geometry.page_size):
        return
    extents = np.empty((len(pages), 2), np.uint64)
    extents[:, 0], extents[:, 1] = pages, geometry.page_size
    words = np.concatenate(found.entries)
    records = np.zeros(len(words), entry.dtype)
    records[entry.fields[0].field.name] = words
    tables = node.add(Node("tables", NodeKind.TABLE, format=definition.id))
    tables.struct = entry.struct.name
    tables.table = Table(entry, records, extents, len(records))
    tables.note = plural(len(pages), "table")
    region = TableRegion(tables.path, definition.id, entry, extents, records)
    walker.regions.append(region)


def plural(count: int, one: str, many: str = "") -> str:
    """``1 table``, ``2 tables``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def chunk_region(
    follower: Follower, node: Node, chunk: CompiledStruct, address: int, definition: Definition
) -> None:
    """Make a chunk page a region, with its link as a field and its addresses as a column."""
    data = follower.walker.space.read(address, chunk.size)
    values = decode_record(chunk, data)
    node.format, node.struct = definition.id, chunk.struct.name
    for placed in chunk.fields:
        child = node.add(
            Node(
                placed.field.label,
                NodeKind.VALUE,
                field=placed.field,
                format=definition.id,
                span=Span(address + placed.offset, placed.size),
            )
        )
        child.value = values[placed.field.label]
        if isinstance(child.value, list):
            held = bytes(data[placed.offset : placed.offset + placed.size]).rstrip(b"\0")
            size = placed.size // placed.count
            del child.value[-(-len(held) // size) :]
    follower.walker.regions.append(RecordRegion(node.path, definition.id, chunk, address, values))


def claim_rows(follower: Follower, node: Node, table: Table) -> None:
    """Claim the payload that the rows of a table point to."""
    geometry = follower.walker.geometry
    for placed in table.compiled.fields:
        for field in placed.field.parts or (placed.field,):
            reference = field.points_to
            if reference is None or not len(table):
                continue
            if reference.shape is Shape.ELEMENT and node not in follower.walker.unresolved[-1:]:
                follower.walker.unresolved.append(node)
            if reference.shape is Shape.RANGE and reference.size:
                follower.walker.claim_many(
                    owner(follower, node),
                    table.column(field.label),
                    np.minimum(table.column(reference.size), np.uint64(UNPLACED - 1)),
                )
            if reference.shape is not Shape.FOLIO:
                continue
            lazy = None if reference.order else page_column(table, placed, field, geometry)
            if lazy is not None:
                follower.walker.claim_column(owner(follower, node), lazy)
                continue
            column = table.column(field.label)
            used = column != 0
            starts: U64 = column[used]
            if field.role == "pfn":
                starts = starts << np.uint64(geometry.page_shift)
            size: Any = np.uint64(geometry.page_size)
            if reference.order:
                orders = np.minimum(table.column(reference.order)[used], np.uint64(MAX_ORDER))
                size = size << orders
            follower.walker.claim_many(owner(follower, node), starts, size)


def page_column(
    table: Table, placed: PlacedField, field: Field, geometry: Geometry
) -> Column | None:
    """The pages that a column names, left where they are; None where it has no plain words."""
    values = table.records[placed.field.name]
    if values.ndim != 1 or values.dtype.kind != "u" or values.dtype.itemsize != 8:
        return None
    up = geometry.page_shift if field.role == "pfn" else 0
    for part in placed.parts:
        if part.field is field:
            return Column(values, part.mask, part.shift, up, row_releaser(values))
    return Column(values, up=up, release=row_releaser(values))


def owner(follower: Follower, node: Node) -> str:
    """Path of the owner of what ``node`` reaches."""
    from khotool.decode.follow import owner_path

    return owner_path(node)


def merge_pages(pages: U64, size: int, wanted: int) -> U64:
    """Join neighbouring pages.

    Args:
        pages: (n,) physical addresses in the order of the array.
        size: bytes of each.
        wanted: bytes of the array; pages behind them are left out.

    Returns:
        ndarray (m, 2) uint64: physical address and bytes.
    """
    pages = pages[: -(-wanted // size)]
    if not len(pages):
        return np.empty((0, 2), np.uint64)
    breaks = np.flatnonzero(pages[1:] != pages[:-1] + np.uint64(size)) + 1
    starts = np.concatenate(([0], breaks))
    lengths = np.diff(np.concatenate((starts, [len(pages)])))
    extents = np.empty((len(starts), 2), np.uint64)
    extents[:, 0] = pages[starts]
    extents[:, 1] = lengths.astype(np.uint64) * np.uint64(size)
    extents[-1, 1] -= np.uint64(len(pages) * size - min(wanted, len(pages) * size))
    return extents


def read_extents(follower: Follower, node: Node, extents: U64) -> tuple[memoryview | bytes, U64]:
    """The bytes of an array, up to the first that is not there, and the extents they fill.

    The same page may stand in an array any number of times, so that every piece is paid for.
    """
    parts: list[memoryview] = []
    kept: list[tuple[int, int]] = []
    for address, size in extents.tolist():
        data = follower.walker.read_some(address, size, short=True)
        if isinstance(data, Absent):
            follower.walker.absent(node, address, data)
            break
        if not follower.walker.spend(node, 0, len(data)):
            break
        parts.append(data)
        kept.append((address, len(data)))
        if len(data) < size:
            gone = Absent(Reason.NOT_CAPTURED, "rest of the array")
            follower.walker.absent(node, address + len(data), gone)
            break
    joined = parts[0] if len(parts) == 1 else b"".join(parts)
    return joined, np.array(kept, np.uint64).reshape(-1, 2)
