"""Arrays of records that stay numpy arrays: what their rows lead to, and those of open length."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, Holds
from khotool.abi.record import decode_filled
from khotool.absent import Absent, Reason
from khotool.codec.base import Codec, Pointer, Stored, codec_of
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.walk import owner_path
from khotool.errors import EncodeError
from khotool.handover.values import Rows
from khotool.model.node import Node, NodeKind, NodeState, Span, Table
from khotool.model.region import RawRegion, RecordRegion, TableRegion
from khotool.structured import Table as Written

U64 = np.ndarray[Any, np.dtype[np.uint64]]


class TableCodec(Codec):
    """A shape whose descriptor leads to a table."""

    embedded = True

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The rows of the table."""
        if node.table is not None:
            return lifter.rows(node)
        return lifter.fields(node) if node.value is None else node.value

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """The rows of the table."""
        if field.holds is None:
            return reader.number(field, table[field.label])
        return reader.table_rows(definition, field.holds.of, table[field.label])

    def build(self, builder: Builder, pointer: Pointer) -> Stored:
        """The fields of the descriptor; a pointer without a declared meaning stays a number."""
        rows, field = pointer.value, pointer.field
        if field.holds is None or field.type is None:
            return pointer.number()
        if rows is None or not len(rows):
            return self.empty(builder, pointer)
        if not isinstance(rows, Rows):
            raise EncodeError(pointer.path, "expected a table")
        return self.lay_out(builder, pointer, field.holds, rows)

    def empty(self, builder: Builder, pointer: Pointer) -> dict[str, Any]:
        """Fields of the descriptor of a table without rows; those left out are 0."""
        return {}

    @abstractmethod
    def lay_out(
        self, builder: Builder, pointer: Pointer, holds: Holds, rows: Rows
    ) -> dict[str, Any]:
        """Lay the rows of a table out; the fields of their descriptor."""


def begin_table(
    walk: Walk, node: Node, pointer: Pointer
) -> tuple[Definition, CompiledStruct, Holds]:
    """Make a descriptor's node a table that is still empty.

    Returns:
        The definition of the descriptor, the struct of a row, and what the field says it holds.
    """
    holds, scene = pointer.field.holds, walk.scene
    assert holds is not None
    compiled = scene.struct(pointer.definition, holds.of)
    descriptor = scene.owner_of_struct(pointer.definition, node.struct)
    walk.recorder.use(descriptor)
    count = pointer.values.get(holds.count)
    node.kind = NodeKind.TABLE
    node.table = empty_table(compiled, count if isinstance(count, int) else 0)
    return descriptor, compiled, holds


def empty_table(compiled: CompiledStruct, declared: int) -> Table:
    """A table of which no record is there."""
    records = np.empty(0, compiled.dtype)
    return Table(compiled, records, np.empty((0, 2), np.uint64), declared)


def claim_rows(walk: Walk, node: Node, table: Table) -> None:
    """Claim the payload that the rows of a table point to."""
    if not len(table):
        return
    for field in table.compiled.leaves:
        if field.points_to is not None:
            codec_of(field.points_to.shape).column(walk, node, table, field)


def not_captured(node: Node, count: int) -> None:
    """Say that some records of a table are not in the capture."""
    node.state = NodeState.PARTLY_CAPTURED
    node.remark = f"{count} records are not captured"


# -- arrays of open length -------------------------------------------------------------------


def tails(
    walk: Walk, node: Node, compiled: CompiledStruct, definition: Definition, values: dict[str, Any]
) -> None:
    """The arrays of open length after the fields of the record that ``node`` leads to."""
    assert node.target is not None
    start = node.target.address + compiled.size
    for field, element in compiled.tails:
        counter = next(f for f in compiled.struct.fields if f.counts == field.label)
        # The counter of bytes may be signed; fewer than none is none.
        count = max(0, int(values[counter.label]))
        if element is None:
            tail_bytes(walk, node, field, definition, start, count)
            start += count
        else:
            table = node.add(Node(field.label, NodeKind.TABLE, field=field, format=definition.id))
            tail_records(walk, table, element, start, count, counter.label)
            start += count * element.size


def tail_records(
    walk: Walk, table: Node, element: CompiledStruct, start: int, count: int, counter: str
) -> None:
    """The ``count`` records at ``start``, after the fields of a record that counts them."""
    recorder, limits = walk.recorder, walk.scene.limits
    table.struct = element.struct.name
    table.table = empty_table(element, count)
    if not count:
        return
    data = walk.scene.read(start, element.size, short=True)
    if not isinstance(data, Absent):
        # What is read is bounded by what is captured, not by a count that may be anything.
        data = walk.scene.read(start, min(count * element.size, limits.bytes), short=True)
    if isinstance(data, Absent):
        walk.absent(table, start, data)
        return
    records = np.frombuffer(data, element.dtype, min(count, len(data) // element.size))
    if len(records) < count:
        not_captured(table, count - len(records))
        text = f"{counter} is {count}; {len(records)} are there"
        recorder.report("REC403", table, text, count=count, there=len(records))
    size = len(records) * element.size
    if not len(records) or not recorder.spend(table, 1, size):
        return
    extents = np.array([[start, size]], np.uint64)
    table.span = Span(start, size)
    table.table = Table(element, records, extents, count)
    walk.claim(table, start, size)
    recorder.regions.append(
        TableRegion(table.path, table.format, element, extents, records, node=table)
    )
    claim_rows(walk, table, table.table)


def tail_bytes(
    walk: Walk, node: Node, field: Field, definition: Definition, start: int, count: int
) -> None:
    """The ``count`` bytes of open length at ``start``, after the fields of a record."""
    recorder = walk.recorder
    value = node.add(
        Node(field.label, NodeKind.VALUE, field=field, format=definition.id, value=b"")
    )
    value.span = Span(start, 0)
    if not count:
        return
    data = walk.scene.read(start, min(count, walk.scene.limits.bytes), short=True)
    if isinstance(data, Absent):
        walk.absent(value, start, data)
        value.value = data
        return
    if len(data) < count:
        text = f"{count} bytes are counted; {len(data)} are there"
        recorder.report("REC403", value, text, count=count, there=len(data))
    if not recorder.spend(value, 1, len(data)):
        return
    value.value, value.span = bytes(data), Span(start, len(data))
    walk.claim(value, start, len(data))
    recorder.regions.append(RawRegion(value.path, start, value.value, node=value))


# -- pieces ----------------------------------------------------------------------------------


def list_pages(
    walk: Walk, node: Node, name: str, page: CompiledStruct, pages: list[int], owner: Definition
) -> bool:
    """Make the pages of a linked array nodes and regions; False once the budget is used up.

    Args:
        name: of the nodes.
        page: struct of a page, of the definition ``owner``.
        pages: physical address of each.
    """
    recorder, size, kind, form = walk.recorder, page.size, NodeKind.VALUE, owner.id
    if not recorder.spend(node, len(pages) + 1, len(pages) * size):
        return False
    path = owner_path(node)
    for number, address in enumerate(pages):
        top = Node(name, NodeKind.RECORD, node, str(number), span=Span(address, size), format=form)
        top.struct = page.struct.name
        node.children.append(top)
        values = decode_filled(page, walk.scene.space.read(address, size))
        for label, field, offset, length, *_ in page.cells:
            span, value = Span(address + offset, length), values[label]
            top.children.append(Node(label, kind, top, None, field, value, span, None, form))
        recorder.regions.append(RecordRegion(top.path, form, page, address, values, node=top))
        recorder.claim(path, address, size)
    return True


def read_extents(walk: Walk, node: Node, extents: U64) -> tuple[memoryview | bytes, U64]:
    """The bytes of an array, up to the first that is not there, and the extents they fill.

    An array may list the same page any number of times, so every piece is charged.
    """
    parts: list[memoryview] = []
    kept: list[tuple[int, int]] = []
    wanted = extents.tolist()
    for address, size in wanted:
        data = walk.scene.read(address, size, short=True)
        if isinstance(data, Absent):
            walk.absent(node, address, data)
            break
        if not walk.recorder.spend(node, 0, len(data)):
            break
        parts.append(data)
        kept.append((address, len(data)))
        if len(data) < size:
            gone = Absent(Reason.NOT_CAPTURED, "rest of the array")
            walk.absent(node, address + len(data), gone)
            break
    joined = parts[0] if len(parts) == 1 else b"".join(parts)
    if len(kept) == len(wanted) and (not kept or kept[-1][1] == wanted[-1][1]):
        return joined, extents
    return joined, np.array(kept, np.uint64).reshape(-1, 2)


def merge_pages(pages: U64, size: int, wanted: int) -> U64:
    """Join neighbours of equal size.

    Args:
        pages: (n,) physical addresses in the order of the array.
        size: bytes of each.
        wanted: bytes of the array; pages after them are left out.

    Returns:
        ndarray (m, 2) uint64: physical address and bytes.
    """
    pages = pages[: -(-wanted // size)]
    if not len(pages):
        return np.empty((0, 2), np.uint64)
    if len(pages) == 1:
        return np.array([[int(pages[0]), min(wanted, size)]], np.uint64)
    breaks = np.flatnonzero(pages[1:] != pages[:-1] + np.uint64(size)) + 1
    starts = np.concatenate(([0], breaks))
    lengths = np.diff(np.concatenate((starts, [len(pages)])))
    extents = np.empty((len(starts), 2), np.uint64)
    extents[:, 0] = pages[starts]
    extents[:, 1] = lengths.astype(np.uint64) * np.uint64(size)
    extents[-1, 1] -= np.uint64(len(pages) * size - min(wanted, len(pages) * size))
    return extents


def plural(count: int, one: str, many: str = "") -> str:
    """``1 table``, ``2 tables``."""
    return f"{count} {one if count == 1 else many or one + 's'}"
