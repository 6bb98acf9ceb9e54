"""Lay a handover out afresh: records, lists and tables of one ABI set at new addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import AbiSet, Definition, Field, Reference, Shape
from khotool.abi.geometry import Geometry
from khotool.abi.record import encode_record, fit_int
from khotool.abi.registry import Registry
from khotool.codec.blocks import capacity, list_header
from khotool.codec.kho_array import is_words
from khotool.document.regions import pack_columns
from khotool.encode.page_tables import place_tables
from khotool.errors import EncodeError
from khotool.handover.allocate import Allocator
from khotool.handover.labels import target_labels
from khotool.handover.placement import Places
from khotool.handover.values import Array, Buffer, Handle, Link, PageTables, Payload, Rows
from khotool.model.path import quote_key

MAX_ORDER = 10
_PAYLOADS = frozenset({Shape.RANGE, Shape.OPAQUE})


class Builder:
    """Writes of one handover.

    Args:
        writes: physical address and bytes of every record, list and table.
        payload: physical address and bytes of what is handed over as it is.
        preserved: start addresses uint64 (n,) and page order of each set of preserved blocks.
        lost: what this ABI set cannot express, one sentence each.
    """

    def __init__(
        self,
        registry: Registry,
        abi: AbiSet,
        geometry: Geometry,
        allocator: Allocator,
        places: Places | None = None,
    ) -> None:
        """Build for one set of strings, one geometry, out of one allocator.

        Args:
            places: with what an earlier layout of the same handover knows.
        """
        self.registry = registry
        self.abi = abi
        self.geometry = geometry
        self.allocator = allocator
        self.writes: list[tuple[int, Buffer]] = []
        self.payload: list[tuple[int, Buffer]] = []
        self.preserved: list[tuple[Array, int]] = []
        self.lost: list[str] = []
        self.places = places or Places()

    # -- memory --------------------------------------------------------------------------

    def alloc_preserve(self, size: int, path: str) -> int:
        """One preserved block that holds ``size`` bytes, as kho_alloc_preserve gives it."""
        order = max(0, (-(-size // self.geometry.page_size) - 1).bit_length())
        if order > MAX_ORDER:
            raise EncodeError(path, f"{size} bytes; one allocation takes at most order {MAX_ORDER}")
        address = self.allocator.take_one(self.geometry.page_size << order, path)
        self.preserved.append((np.array([address], np.uint64), order))
        return address

    def preserve_range(self, address: int, size: int) -> None:
        """Preserve pages as kho_preserve_pages does: greedily in aligned powers of two."""
        page = self.geometry.page_size
        frame, end = address // page, -(-(address + size) // page)
        while frame < end:
            align = (frame & -frame).bit_length() - 1 if frame else 63
            order = min(align, (end - frame).bit_length() - 1)
            self.preserved.append((np.array([frame * page], np.uint64), order))
            frame += 1 << order

    def place_payload(self, payload: Payload, path: str) -> Array:
        """Allocate the blocks of a payload, preserve them, and take their contents over."""
        sizes = payload.sizes.astype(np.uint64)
        addresses = np.zeros(len(sizes), np.uint64)
        page = self.geometry.page_size
        for size in np.unique(sizes).tolist():
            mine = np.flatnonzero(sizes == size)
            if size >= page and not size & (size - 1) and payload.at is None:
                addresses[mine] = self.allocator.take(len(mine), size, path, payload.align)
            elif payload.at is not None:
                # Reserved before anything else was laid out.
                addresses[mine] = payload.at
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
        if not one_block:
            for address in addresses.tolist():
                self.preserve_range(address, size)
            return
        self.preserved.append((addresses, pages.bit_length() - 1))

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
        compiled = self.registry.compile(definition, struct, self.geometry)
        numbers = self.resolve(
            definition,
            [f for placed in compiled.fields for f in placed.field.parts or (placed.field,)],
            values,
            path,
        )
        known = set(numbers) | self.inline_labels(definition, compiled)
        tail = b""
        if compiled.tail is not None:
            field, element = compiled.tail
            known.add(field.label)
            rows = values.get(field.label)
            if element is None:
                tail = bytes(rows or b"")
            elif rows is not None and len(rows):
                if not isinstance(rows, Rows):
                    raise EncodeError(f"{path}/{field.label}", "expected a table")
                tail = self.table(element, rows, f"{path}/{field.label}")
        for label in values:
            if label not in known:
                self.lose(f"{path}/{label}", values[label], f"{definition.id} has no such field")
        return encode_record(compiled, numbers, path) + tail

    def inline_labels(self, definition: Definition, compiled: CompiledStruct) -> set[str]:
        """Labels of values that stand beside pointers of a record."""
        return {
            label
            for placed in compiled.fields
            if placed.field.points_to is not None
            for label in target_labels(self.registry, definition, placed.field.points_to)
        }

    def resolve(
        self,
        definition: Definition,
        fields: Iterable[Field],
        values: Mapping[str, Any],
        path: str,
    ) -> dict[str, Any]:
        """Values of fields as they are stored: pointers built, counts counted, defaults set."""
        fields = list(fields)
        numbers: dict[str, Any] = {}
        sized = {
            f.points_to.pgcnt: f
            for f in fields
            if f.points_to is not None and f.points_to.pgcnt and not f.points_to.header
        }
        for field in fields:
            here = f"{path}/{field.label}"
            value = values.get(field.label)
            if field.counts:
                numbers[field.label] = self.count(definition, fields, field, values)
            elif field.label in sized:
                array = sized[field.label]
                assert array.points_to is not None
                items = len(values.get(array.label) or ())
                numbers[field.label] = self.array_pages(definition, array.points_to, items)
            elif field.holds is not None:
                numbers[field.label] = self.held(definition, field, value, here)
            elif field.points_to is not None and not _is_table(field):
                numbers[field.label] = self.pointer(definition, field, values, here)
            elif field.value:
                numbers[field.label] = field.value
            elif value is not None:
                numbers[field.label] = value
            elif field.expect is not None:
                numbers[field.label] = field.expect
            else:
                numbers[field.label] = default_value(field)
        return numbers

    def count(
        self,
        definition: Definition,
        fields: list[Field],
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

    def lose(self, path: str, value: Any, why: str) -> None:
        """Say that a value cannot be expressed; zeros and literals of a version are no loss."""
        if value in (0, "", None) or path.endswith("compatible"):
            return
        if isinstance(value, Rows) and not len(value):
            return
        if isinstance(value, list) and not any(value):
            return
        self.lost.append(f"{path}: {why}")

    # -- targets -------------------------------------------------------------------------

    def pointer(
        self, definition: Definition, field: Field, values: Mapping[str, Any], path: str
    ) -> int:
        """Build what a pointer leads to; its address."""
        reference = field.points_to
        assert reference is not None
        value = values.get(field.label)
        if reference.shape is Shape.BLOCKS:
            return self.blocks(definition, field, value or [], path)
        if reference.shape is Shape.ARRAY:
            return self.array(definition, reference, value or [], path)
        if reference.shape is Shape.HANDLER:
            return self.handler(reference, values, value, path)
        if reference.shape is Shape.PAGE_TABLE and isinstance(value, PageTables):
            level = values.get(reference.level, 0) if reference.level else reference.levels
            return place_tables(self, value, int(level), path)
        if reference.shape is Shape.ELEMENT and isinstance(value, Link):
            return self.places.record(value, path)
        if reference.shape in _PAYLOADS and isinstance(value, Payload):
            address: int = int(self.place_payload(value, path)[0])
            return address
        if reference.inline:
            labels = target_labels(self.registry, definition, reference)
            value = {label: values[label] for label in labels if label in values}
            path = path.rpartition("/")[0]
            if field.null != "error" and not any(value.values()):
                return 0
        if reference.shape is Shape.RECORD and isinstance(value, Mapping):
            return self.place(self.record(definition, reference.of, value, path), path)
        if reference.shape is Shape.TREE and isinstance(value, Mapping):
            return self.place(self.tree(self.registry.get(reference.format), value, path), path)
        return fit_int(value or 0, 8, False, path)

    def place(self, data: bytes, path: str) -> int:
        """A record in a preserved block of its own."""
        address = self.alloc_preserve(len(data), path)
        self.writes.append((address, data))
        return address

    def handler(
        self, reference: Reference, values: Mapping[str, Any], value: Any, path: str
    ) -> int:
        """The handle of a file or an FLB."""
        if isinstance(value, int):
            return fit_int(value, 8, False, path)
        name = values.get(reference.by, "")
        definition = self.handler_definition(reference.kind, name, value)
        if not isinstance(value, Handle):
            if definition is not None and name in definition.literals:
                return definition.literals[name]
            return 0
        if value.values is None:
            return fit_int(value.literal, 8, False, path)
        if definition is not None and definition.content == "fdt":
            return self.place(self.tree(definition, value.values, path), path)
        if definition is None or definition.content not in definition.structs:
            raise EncodeError(path, f"no definition says how {reference.kind} {name!r} is written")
        return self.place(self.record(definition, definition.content, value.values, path), path)

    def handler_definition(self, kind: str, name: str, value: Any) -> Definition | None:
        """The definition by which a handle is written: as the value or the set says."""
        candidates = self.registry.handlers(kind, name)
        wanted = [value.format] if isinstance(value, Handle) else []
        for identifier in [*wanted, *self.abi.files, *self.abi.flbs]:
            for definition in candidates:
                if definition.id == identifier:
                    return definition
        return candidates[0] if candidates else None

    def tree(self, definition: Definition, values: Mapping[str, Any], path: str) -> bytes:
        """Bytes of a device tree, finished as its writer does."""
        from khotool.encode.fdt_build import FdtBuilder, finish

        node = FdtBuilder(self).tree(definition, values, path)
        return finish(node, definition, values, self.geometry)

    def elements(
        self,
        definition: Definition,
        struct: str,
        items: list[Mapping[str, Any]],
        path: str,
        addresses: Sequence[int],
    ) -> list[bytes]:
        """Bytes of the records of a list, which stand at physical addresses."""
        key = self.registry.owner_of_struct(definition, struct).structs[struct].key
        records = []
        for index, item in enumerate(items):
            name = item.get(key, index) if key else index
            label = hex(name) if isinstance(name, int) and key else quote_key(str(name))
            here = f"{path}[{label}]"
            records.append(self.record(definition, struct, item, here))
            self.places.records[here] = addresses[index]
        return records

    def array(
        self, definition: Definition, reference: Reference, items: list[Any], path: str
    ) -> int:
        """Records one after another, with a header where the format has one."""
        if not items and not reference.header:
            return 0
        pages = self.array_pages(definition, reference, len(items))
        room = pages * self.geometry.page_size
        head = b""
        if reference.header:
            counts = {reference.count: len(items)}
            if reference.pgcnt:
                counts[reference.pgcnt] = pages
            head = self.record(definition, reference.header, counts, f"{path}/header")
        size = self.registry.compile(definition, reference.of, self.geometry).size
        fits = (room - len(head)) // size
        if len(items) > fits:
            raise EncodeError(path, f"{len(items)} records; {definition.id} takes at most {fits}")
        address = self.alloc_preserve(room, path)
        start = address + len(head)
        at = range(start, start + len(items) * size, size)
        body = b"".join(self.elements(definition, reference.of, items, path, at))
        self.writes.append((address, (head + body).ljust(room, b"\0")))
        return address

    def array_pages(self, definition: Definition, reference: Reference, count: int) -> int:
        """Pages of an array of ``count`` records; 0 for one that is not there."""
        if not count and not reference.header:
            return 0
        if reference.pages:
            return reference.pages
        size = count * self.registry.compile(definition, reference.of, self.geometry).size
        if reference.header:
            size += self.registry.compile(definition, reference.header, self.geometry).size
        return -(-size // self.geometry.page_size)

    def blocks(self, definition: Definition, field: Field, items: list[Any], path: str) -> int:
        """Records in a list of blocks, each full but the last."""
        reference = field.points_to
        assert reference is not None
        if not items and field.null == "empty":
            return 0
        lists, header = list_header(self.registry, definition, reference, self.geometry)
        record = self.registry.compile(definition, reference.of, self.geometry)
        fits = capacity(header, record, reference.pages)
        # A list that may not be missing has a block even if it is empty.
        number = -(-len(items) // fits) or 1
        limit = lists.limits.get("blocks", number)
        if number > limit:
            raise EncodeError(
                path, f"{len(items)} records; {limit} blocks take at most {fits * limit}"
            )
        size = reference.pages * self.geometry.page_size
        addresses = [self.alloc_preserve(size, path) for _ in range(number)]
        places = [
            addresses[index // fits] + header.size + index % fits * record.size
            for index in range(len(items))
        ]
        encoded = self.elements(definition, reference.of, items, path, places)
        for index, address in enumerate(addresses):
            part = encoded[index * fits : (index + 1) * fits]
            following = addresses[index + 1] if index + 1 < number else 0
            top = encode_record(header, {"next": following, "count": len(part)}, path)
            self.writes.append((address, (top + b"".join(part)).ljust(size, b"\0")))
        return addresses[0]

    # -- tables --------------------------------------------------------------------------

    def held(self, definition: Definition, field: Field, value: Any, path: str) -> dict[str, Any]:
        """Build the array that an embedded descriptor leads to; the descriptor's values."""
        assert field.holds is not None
        assert field.type is not None
        from khotool.encode.vmalloc_area import build_vmalloc
        from khotool.encode.words import build_words

        if is_words(self.registry, definition, field.type.struct):
            return build_words(self, definition, field, value, path)
        return build_vmalloc(self, definition, field.holds, value, path)

    def table(self, compiled: CompiledStruct, rows: Rows, path: str) -> bytes:
        """The records of a table, their payload placed."""
        columns = dict(rows.columns)
        count = len(rows)
        for label, links in rows.links.items():
            columns[label] = np.array(
                [
                    self.places.record(link, path) if isinstance(link, Link) else link
                    for link in links
                ],
                np.uint64,
            )
        for placed in compiled.fields:
            for field in placed.field.parts or (placed.field,):
                reference = field.points_to
                if reference is None or reference.shape not in (Shape.FOLIO, Shape.RANGE):
                    continue
                if reference.shape is Shape.RANGE and rows.payload is not None:
                    columns[reference.size] = rows.payload.sizes
                values = np.zeros(count, np.uint64)
                if rows.payload is not None:
                    addresses = self.place_payload(rows.payload, path)
                    if field.role == "pfn":
                        addresses = addresses >> np.uint64(self.geometry.page_shift)
                    values[slice(None) if rows.used is None else rows.used] = addresses
                columns[field.label] = values
        every = [f for placed in compiled.fields for f in placed.field.parts or (placed.field,)]
        known = {field.label for field in every}
        for field in every:
            if field.expect is not None and field.label not in columns:
                columns[field.label] = np.full(count, field.expect, np.uint64)
        for label in columns:
            if label not in known:
                self.lose(f"{path}/{label}", 1, f"{compiled.struct.name} has no such column")
        used = {label: values for label, values in columns.items() if label in known}
        return pack_columns(compiled, used, count, path).tobytes()


def _is_table(field: Field) -> bool:
    """True for rows that point somewhere, be they the field itself or in its records."""
    listed = field.type is not None and field.type.kind == "array"
    return listed or (field.points_to is not None and field.points_to.shape is Shape.FOLIO)


def default_value(field: Field) -> Any:
    """What a field that nothing is said of holds: zeros."""
    kind = field.type
    if kind is None:
        return 0
    if kind.count:
        return []
    if kind.kind in ("char", "string"):
        return ""
    return {"struct": {}, "bytes": b""}.get(kind.kind, 0)
