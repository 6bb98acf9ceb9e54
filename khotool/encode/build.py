"""Lay a handover out afresh: records, lists and tables of one ABI set at new addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from khotool import records
from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import AbiSet, Definition, Field, leaf_fields
from khotool.abi.geometry import Geometry
from khotool.abi.record import encode_record
from khotool.abi.registry import Registry
from khotool.codec.array import written_pages
from khotool.codec.base import Pointer, codec_for, codec_of
from khotool.encode.fdt_build import FdtBuilder, buffer_size, finish, written
from khotool.errors import EncodeError
from khotool.handover.allocate import Allocator
from khotool.handover.columns import pack_columns
from khotool.handover.labels import target_labels
from khotool.handover.placement import Places
from khotool.handover.values import Array, Buffer, Payload, Rows
from khotool.model.path import quote_key
from khotool.pages.blocks import Blocks
from khotool.records import dataclass

MAX_ORDER = 10
"""Page order of one allocation at most."""


@dataclass(slots=True)
class Builder:
    """Writes of one handover; what codecs build with, see ``khotool.codec.contexts.Builder``.

    Args:
        abi: the set of strings that is written.
        places: with what an earlier layout of the same handover knows.
        writes: physical address and bytes of every record, list and table.
        payload: physical address and bytes of what is handed over as it is.
        lost: what this ABI set cannot express, one sentence each.
    """

    registry: Registry
    abi: AbiSet
    geometry: Geometry
    allocator: Allocator
    places: Places
    writes: list[tuple[int, Buffer]] = records.field(default_factory=list)
    payload: list[tuple[int, Buffer]] = records.field(default_factory=list)
    lost: list[str] = records.field(default_factory=list)
    _behind: list[tuple[str, bytes, str]] = records.field(default_factory=list)
    _preserved: list[tuple[Array, int]] = records.field(default_factory=list)

    # -- memory --------------------------------------------------------------------------

    def write(self, address: int, data: Buffer) -> None:
        """Put bytes at a physical address."""
        self.writes.append((address, data))

    def alloc_preserve(self, size: int, path: str) -> int:
        """One preserved block that holds ``size`` bytes, as kho_alloc_preserve() gives it."""
        order = max(0, (-(-size // self.geometry.page_size) - 1).bit_length())
        if order > MAX_ORDER:
            raise EncodeError(path, f"{size} bytes; one allocation takes at most order {MAX_ORDER}")
        address = self.allocator.take_one(self.geometry.page_size << order, path)
        self.preserve(np.array([address], np.uint64), order)
        return address

    def place(self, data: bytes, path: str, room: int = 0) -> int:
        """Bytes in a preserved block of their own, of ``room`` bytes at least; its address."""
        address = self.alloc_preserve(max(len(data), room), path)
        self.write(address, data)
        return address

    def take_pages(self, count: int, path: str) -> Array:
        """Physical addresses, uint64 (count,), of pages that are not preserved."""
        return self.allocator.take(count, self.geometry.page_size, path)

    def preserve(self, addresses: Array, order: int) -> None:
        """Preserve blocks of a page order at physical addresses, uint64 (n,)."""
        self._preserved.append((addresses, order))

    def preserve_range(self, address: int, size: int) -> None:
        """Preserve pages as kho_preserve_pages() does: greedily in aligned powers of two."""
        page = self.geometry.page_size
        frame, end = address // page, -(-(address + size) // page)
        while frame < end:
            align = (frame & -frame).bit_length() - 1 if frame else 63
            order = min(align, (end - frame).bit_length() - 1)
            self.preserve(np.array([frame * page], np.uint64), order)
            frame += 1 << order

    def preserved(self) -> Blocks:
        """Everything preserved so far."""
        # A handover may preserve nothing.
        starts = [np.zeros(0, np.uint64), *(addresses for addresses, _ in self._preserved)]
        orders = [np.zeros(0, np.uint8)] + [
            np.full(len(addresses), order, np.uint8) for addresses, order in self._preserved
        ]
        start = np.concatenate(starts)
        ones = np.ones(len(start), np.uint64)
        return Blocks.from_runs(start, ones, np.concatenate(orders), self.geometry.page_shift)

    def place_payload(self, payload: Payload, path: str) -> Array:
        """Allocate the blocks of a payload, preserve them, and take their contents over."""
        sizes = payload.sizes.astype(np.uint64)
        addresses = np.zeros(len(sizes), np.uint64)
        page = self.geometry.page_size
        for size in np.unique(sizes).tolist():
            mine = np.flatnonzero(sizes == size)
            if payload.at is not None:
                # Reserved before anything else was laid out.
                addresses[mine] = payload.at
            elif size >= page and not size & (size - 1):
                addresses[mine] = self.allocator.take(len(mine), size, path, payload.align)
            else:
                align = payload.align or page
                addresses[mine] = [
                    self.allocator.take_one(-(-max(size, 1) // page) * page, path, align)
                    for _ in mine
                ]
            self._preserve_payload(addresses[mine], size)
        self.places.fill(path, addresses, sizes)
        if payload.old is not None and len(payload.old) == len(addresses):
            self.places.move(payload.old, addresses, sizes)
        if payload.contents is not None:
            self.payload += payload.contents(addresses, sizes)
        return addresses

    def _preserve_payload(self, addresses: Array, size: int) -> None:
        pages = size // self.geometry.page_size
        one_block = pages and not size & (size - 1) and not (addresses & np.uint64(size - 1)).any()
        if one_block:
            self.preserve(addresses, pages.bit_length() - 1)
            return
        for address in addresses.tolist():
            self.preserve_range(address, size)

    def reserve_fixed(self, values: Any, path: str) -> None:
        """Take the memory of payload whose place is given, before anything else takes it."""
        if isinstance(values, Payload) and values.at is not None:
            size = int(values.sizes.sum())
            if not self.allocator.reserve(values.at, values.at + size):
                raise EncodeError(
                    path, f"{values.at:#x}+{size:#x} is not free: in use, scratch or no memory"
                )
        elif isinstance(values, Mapping):
            for label, value in values.items():
                self.reserve_fixed(value, f"{path}/{label}")
        elif isinstance(values, list):
            for index, value in enumerate(values):
                name = value.get("name", index) if isinstance(value, Mapping) else index
                self.reserve_fixed(value, f"{path}[{name}]")

    # -- records -------------------------------------------------------------------------

    def record(
        self, definition: Definition, struct: str, values: Mapping[str, Any], path: str
    ) -> bytes:
        """Bytes of one record; what its pointers lead to is built first."""
        compiled, numbers, tail, behind = self._record(definition, struct, values, path)
        if behind:
            raise EncodeError(
                path, f"{behind[0][0]} has to follow a record that is alone in a block"
            )
        return encode_record(compiled, numbers, path) + tail

    def place_record(
        self, definition: Definition, struct: str, values: Mapping[str, Any], path: str
    ) -> int:
        """One record in a preserved block, followed by those that have to be behind it."""
        compiled, numbers, tail, behind = self._record(definition, struct, values, path)
        end = compiled.size + len(tail)
        address = self.alloc_preserve(end + sum(len(data) for _, data, _ in behind), path)
        for label, data, here in behind:
            numbers[label] = address + end
            self.write(address + end, data)
            self.places.keep(here, address + end)
            end += len(data)
        self.write(address, encode_record(compiled, numbers, path) + tail)
        return address

    def put_behind(self, label: str, data: bytes, path: str) -> None:
        """Bytes that follow the record that is being built; ``place_record`` says where."""
        self._behind.append((label, data, path))

    def _record(
        self, definition: Definition, struct: str, values: Mapping[str, Any], path: str
    ) -> tuple[CompiledStruct, dict[str, Any], bytes, list[tuple[str, bytes, str]]]:
        """The struct of a record, its values as they are stored, its array of open length, and
        what has to follow it: label of the pointer, bytes, path."""
        outer, self._behind = self._behind, []
        compiled = self.registry.compile(definition, struct, self.geometry)
        numbers = self.resolve(definition, compiled.leaves, values, path)
        known = set(numbers) | self._inline_labels(definition, compiled)
        tail = b""
        for field, element in compiled.tails:
            known.add(field.label)
            tail += self._tail(element, values.get(field.label), f"{path}/{field.label}")
        for label in values:
            if label not in known:
                why = f"{definition.id} has no such field"
                self.lose_value(f"{path}/{label}", values[label], why)
        behind, self._behind = self._behind, outer
        return compiled, numbers, tail, behind

    def _tail(self, element: CompiledStruct | None, rows: Any, path: str) -> bytes:
        """The array of open length at the end of a record: plain bytes, or a table."""
        if element is None:
            return bytes(rows or b"")
        if rows is None or not len(rows):
            return b""
        if not isinstance(rows, Rows):
            raise EncodeError(path, "expected a table")
        return self.table(element, rows, path)

    def _inline_labels(self, definition: Definition, compiled: CompiledStruct) -> set[str]:
        """Labels of values that are beside the pointers of a record that lead to them."""
        return {
            label
            for placed in compiled.fields
            if placed.field.points_to is not None
            for label in target_labels(self.registry, definition, placed.field.points_to)
        }

    def resolve(
        self, definition: Definition, fields: Sequence[Field], values: Mapping[str, Any], path: str
    ) -> dict[str, Any]:
        """Values of fields as they are stored: pointers built, counts counted, defaults set."""
        numbers: dict[str, Any] = {}
        for field in fields:
            here = f"{path}/{field.label}"
            if field.counts:
                numbers[field.label] = self._count(definition, fields, field, values)
                continue
            sized = self._sized_array(definition, fields, field, values)
            codec = codec_for(self.registry, definition, field)
            if sized is not None:
                numbers[field.label] = sized
            elif codec is not None:
                pointer = Pointer(definition, field, values, here)
                numbers[field.label] = codec.build(self, pointer)
            else:
                value = plain_value(field, values.get(field.label))
                numbers[field.label] = self._embedded(definition, field, value, here)
        return numbers

    def _embedded(self, definition: Definition, field: Field, value: Any, path: str) -> Any:
        """The value of an embedded struct, or of several, as they are stored; others as given."""
        if field.type is None or not field.type.struct:
            return value
        owner = self.registry.owner_of_struct(definition, field.type.struct)
        fields = list(leaf_fields(owner.structs[field.type.struct].fields))
        if isinstance(value, Mapping):
            return {**value, **self.resolve(owner, fields, value, path)}
        if isinstance(value, list):
            return [
                {**item, **self.resolve(owner, fields, item, f"{path}[{index}]")}
                for index, item in enumerate(value)
            ]
        return value

    def _sized_array(
        self,
        definition: Definition,
        fields: Sequence[Field],
        field: Field,
        values: Mapping[str, Any],
    ) -> int | None:
        """Pages of the array whose pages a field holds; None for any other field."""
        for other in fields:
            reference = other.points_to
            if reference is not None and reference.pgcnt == field.label and not reference.header:
                items = len(values.get(other.label) or ())
                return written_pages(self, definition, reference, items)
        return None

    def _count(
        self,
        definition: Definition,
        fields: Sequence[Field],
        field: Field,
        values: Mapping[str, Any],
    ) -> int:
        """The number of what a field counts: records of a list that are used, rows of a table."""
        items = values.get(field.counts)
        if items is None:
            return 0
        counted = next((f for f in fields if f.label == field.counts), None)
        reference = counted.points_to if counted is not None else None
        if reference is not None and reference.of and isinstance(items, list):
            owner = self.registry.owner_of_struct(definition, reference.of)
            unused = owner.structs[reference.of].unused
            return sum(1 for item in items if not unused or item.get(unused))
        return len(items)

    def lose(self, path: str, why: str) -> None:
        """Note what this ABI set cannot express."""
        self.lost.append(f"{path}: {why}")

    def lose_value(self, path: str, value: Any, why: str) -> None:
        """Note a value that has no place; zeros, empty lists and literals of a version may go."""
        if value in (0, "", None) or path.endswith("compatible"):
            return
        if isinstance(value, Rows) and not len(value):
            return
        if isinstance(value, list) and not any(value):
            return
        self.lose(path, why)

    # -- what pointers lead to -----------------------------------------------------------

    def place_tree(self, definition: Definition, values: Mapping[str, Any], path: str) -> int:
        """A device tree, finished as its writer does, in a buffer as long as that one's."""
        node = FdtBuilder(self).tree(definition, values, path)
        data = written(path, finish, node, definition, values, self.geometry)
        return self.place(data, path, buffer_size(definition, values, self.geometry))

    def elements(
        self,
        definition: Definition,
        struct: str,
        items: Sequence[Mapping[str, Any]],
        path: str,
        addresses: Sequence[int],
    ) -> list[bytes]:
        """Bytes of each record of a list, and note that they are at physical addresses."""
        key = self.registry.owner_of_struct(definition, struct).structs[struct].key
        records = []
        for index, item in enumerate(items):
            name = item.get(key, index) if key else index
            label = hex(name) if isinstance(name, int) and key else quote_key(str(name))
            here = f"{path}[{label}]"
            records.append(self.record(definition, struct, item, here))
            self.places.records[here] = addresses[index]
        return records

    def table(self, compiled: CompiledStruct, rows: Rows, path: str) -> bytes:
        """The records of a table; what their pointers lead to is built first."""
        columns, count = dict(rows.columns), len(rows)
        fields = {field.label: field for field in compiled.leaves}
        for field in fields.values():
            if field.points_to is not None:
                codec_of(field.points_to.shape).build_column(self, field, rows, columns, path)
        for label, field in fields.items():
            if field.expect is not None and label not in columns:
                columns[label] = np.full(count, field.expect, np.uint64)
        for label in [name for name in columns if name not in fields]:
            del columns[label]
            self.lose(f"{path}/{label}", f"{compiled.struct.name} has no such column")
        return pack_columns(compiled, columns, count, path).tobytes()


def plain_value(field: Field, value: Any) -> Any:
    """The value of a field that leads nowhere: its only right one, as given, or zeros."""
    if field.value:
        return field.value
    if value is not None:
        return value
    if field.expect is not None:
        return field.expect
    kind = field.type
    if kind is None:
        return 0
    if kind.count:
        return []
    if kind.kind in ("char", "string"):
        return ""
    return {"struct": {}, "bytes": b""}.get(kind.kind, 0)
