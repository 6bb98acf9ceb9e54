"""Values of a manifest for any format: what a definition has a place for, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.abi.definition import Definition, Field, Kind, NodeType, Reference, Shape
from khotool.handover.labels import content_labels, inner_nodes, node_labels, target_labels
from khotool.handover.values import (
    Array,
    Buffer,
    Contents,
    Handle,
    Link,
    Mapped,
    PageTables,
    Payload,
    Rows,
)
from khotool.manifest.contents import ReadAt, file_contents

if TYPE_CHECKING:
    from khotool.manifest.read import Manifest

FORMAT = "format"
"""Key beside a handle that names its definition, where several have one string."""
MEMORY = ("size", "pos", "seals", "contents", "folio", "holes")
"""Keys of a file whose contents are folios."""
PAYLOAD = ("order", "size", "contents", "hole")
"""Keys of a row that points to memory."""
MAX_ORDER = 18
MAX_ROWS = 1 << 20


class FieldReader:
    """Reads tables of a manifest by the definition of what they describe."""

    def __init__(self, manifest: Manifest) -> None:
        """Read for one manifest, whose errors name the file."""
        self.manifest = manifest
        self.registry = manifest.registry

    def content(self, definition: Definition, data: Any, where: str) -> dict[str, Any]:
        """Values of what a definition's content is: a record or a tree."""
        if definition.content == "fdt":
            assert definition.fdt is not None
            return self.tree(definition, definition.fdt, data, where)
        if definition.content in definition.structs:
            return self.record(definition, definition.content, data, where)
        raise self.manifest.error(where, f"{definition.id} has no fields")

    def record(self, definition: Definition, name: str, data: Any, where: str) -> dict[str, Any]:
        """Values of a record by label."""
        owner = self.registry.owner_of_struct(definition, name)
        fields = [f for field in owner.structs[name].fields for f in field.parts or (field,)]
        table = self.known(fields, self.inline_labels(owner, fields), data, where)
        beside = self.inline_values(owner, fields, table, where)
        return self.values(owner, fields, table, where) | beside

    def inline_labels(self, definition: Definition, fields: list[Field]) -> list[str]:
        """Labels of values that stand beside the pointers that lead to them."""
        pointers = [field.points_to for field in fields if field.points_to is not None]
        return [
            label
            for reference in pointers
            for label in target_labels(self.registry, definition, reference)
        ]

    def inline_values(
        self, definition: Definition, fields: list[Field], table: dict[str, Any], where: str
    ) -> dict[str, Any]:
        """Values of a table that belong to targets of pointers."""
        values: dict[str, Any] = {}
        for field in fields:
            reference = field.points_to
            if reference is None or not reference.inline:
                continue
            labels = target_labels(self.registry, definition, reference)
            mine = {key: table[key] for key in labels if key in table}
            values |= self.target(definition, reference, table, mine, where)
        return values

    def tree(self, definition: Definition, kind: NodeType, data: Any, where: str) -> dict[str, Any]:
        """Values of a node of a tree by label; those of inline nodes stand beside its own."""
        if kind.format:
            definition = self.registry.get(kind.format)
            assert definition.fdt is not None
            kind = definition.fdt
        fields = list(kind.properties) + ([kind.name] if kind.name is not None else [])
        lists = [item.alias for item in (kind.any_node, kind.any_property) if item and item.alias]
        inline, groups = inner_nodes(self.registry, kind)
        extra = [
            label
            for owner, inner in inline
            for label in node_labels(self.registry, owner or definition, inner)
        ]
        extra += self.inline_labels(definition, fields)
        named = [name for name, _ in groups]
        table = self.known(fields, [*lists, *extra, *named], data, where)
        own = {
            key: value
            for key, value in table.items()
            if key in {f.label for f in fields} or key == FORMAT
        }
        values = self.values(definition, fields, own, where)
        values |= self.inline_values(definition, fields, table, where)
        for owner, inner in inline:
            labels = node_labels(self.registry, owner or definition, inner)
            mine = {key: table[key] for key in labels if key in table}
            values |= self.tree(owner or definition, inner, mine, where)
        for name, inner in groups:
            if name in table:
                values[name] = self.tree(definition, inner, table[name], f"{where}.{name}")
        for item in (kind.any_node, kind.any_property):
            if item is not None and item.alias in table:
                rows = self.manifest.rows(table, item.alias, where)
                values[item.alias] = [
                    self.element(definition, item, row, here) for here, row in rows
                ]
        return values

    def element(
        self, definition: Definition, kind: NodeType | Field, data: Any, where: str
    ) -> dict[str, Any]:
        """One of many children or properties, its name among its values."""
        if isinstance(kind, NodeType):
            label = kind.name.label if kind.name is not None else "name"
            owner = self.registry.get(kind.format) if kind.format else definition
            node = owner.fdt if kind.format and owner.fdt is not None else kind
            table = dict(data) if isinstance(data, dict) else data
            name = table.pop(label, None) if isinstance(table, dict) else None
            values = self.tree(owner, node, table, where)
        else:
            label, inner = "name", replace(kind, alias="")
            table = self.manifest.table(data, where, (label, inner.label))
            name = table.get(label)
            own = {key: value for key, value in table.items() if key == inner.label}
            values = self.values(definition, [inner], own, where)
        number = (
            isinstance(kind, NodeType)
            and kind.name is not None
            and (kind.name.type is not None and kind.name.type.kind == "int")
        )
        if number and name is not None:
            name = self.manifest.integer({label: name}, label, where, None)
        if name is None:
            raise self.manifest.error(f"{where}.{label}", "this key is needed")
        return {label: name} | values

    def known(
        self, fields: list[Field], further: Iterable[str], data: Any, where: str
    ) -> dict[str, Any]:
        """A table whose keys are labels of fields."""
        labels = [field.label for field in fields if not field.counts]
        handles = any(f.points_to and f.points_to.shape is Shape.HANDLER for f in fields)
        allowed = (*labels, *further, *((FORMAT,) if handles else ()))
        counted = tuple(field.label for field in fields if field.counts)
        return self.manifest.table(data, where, (*allowed, *counted))

    def values(
        self, definition: Definition, fields: list[Field], table: dict[str, Any], where: str
    ) -> dict[str, Any]:
        """Values of fields that a table names, and lengths of ranges that it describes."""
        found = {
            field.label: self.value(definition, field, table, f"{where}.{field.label}")
            for field in fields
            if field.label in table
        }
        for field in fields:
            value, reference = found.get(field.label), field.points_to
            if isinstance(value, Payload) and reference is not None and reference.size:
                found.setdefault(reference.size, int(value.sizes[0]))
        return found

    def value(self, definition: Definition, field: Field, table: dict[str, Any], where: str) -> Any:
        """The value of one field, as the encoder takes it."""
        given = table[field.label]
        kind, reference = field.type, field.points_to
        if field.holds is not None:
            return self.table_rows(definition, field.holds.of, given, where)
        if kind is not None and kind.kind == "array" and not kind.struct:
            return self.hexadecimal(given, where)
        if kind is not None and kind.kind == "array":
            return self.table_rows(definition, kind.struct, given, where)
        if reference is not None and is_link(reference, given):
            return Link(given)
        if reference is not None and not isinstance(given, int | str):
            return self.target(definition, reference, table, given, where)
        if kind is not None and kind.kind == "struct":
            if not kind.count:
                return self.record(definition, kind.struct, given, where)
            items = self.manifest.rows({"x": given}, "x")
            return [
                self.record(definition, kind.struct, item, f"{where}[{number}]")
                for number, (_, item) in enumerate(items)
            ]
        if kind is not None and kind.kind in ("char", "string"):
            return self.manifest.text({"": given}, "", where, None, kind.size or 4096)
        if kind is not None and kind.kind == "bytes":
            return self.hexadecimal(given, where)
        if kind is not None and kind.count:
            if not isinstance(given, list):
                raise self.manifest.error(where, "expected a list of numbers")
            return [self.number(item, where) for item in given]
        if field.flags and isinstance(given, list):
            return self.flags(field, given, where)
        if isinstance(given, int) and not isinstance(given, bool) and given < 0:
            return given
        return self.number(given, where)

    def number(self, given: Any, where: str) -> int:
        """A number of at least 0."""
        head, _, key = where.rpartition(".")
        return self.manifest.integer({key: given}, key, head, None)

    def hexadecimal(self, given: Any, where: str) -> bytes:
        """Bytes written as hexadecimal digits."""
        try:
            return bytes.fromhex(given)
        except (TypeError, ValueError):
            raise self.manifest.error(where, "expected hexadecimal bytes") from None

    def flags(self, field: Field, given: list[Any], where: str) -> int:
        """A list of names of bits as a number."""
        result = 0
        for name in given:
            if not isinstance(name, str) or name not in field.flags:
                raise self.manifest.error(where, f"{name!r} is none of {', '.join(field.flags)}")
            result |= field.flags[name]
        return result

    # -- what pointers lead to -----------------------------------------------------------

    def target(
        self,
        definition: Definition,
        reference: Reference,
        table: dict[str, Any],
        given: Any,
        where: str,
    ) -> Any:
        """What a pointer leads to."""
        if reference.shape in (Shape.BLOCKS, Shape.ARRAY):
            items = self.manifest.rows({"x": given}, "x")
            return [
                self.record(definition, reference.of, item, f"{where}[{number}]")
                for number, (_, item) in enumerate(items)
            ]
        if reference.shape is Shape.RECORD:
            return self.record(definition, reference.of, given, where)
        if reference.shape is Shape.TREE:
            return self.content(self.registry.get(reference.format), given, where)
        if reference.shape is Shape.HANDLER:
            name = table.get(reference.by, "")
            return self.handle(reference.kind, name, table.get(FORMAT), given, where)
        if reference.shape in (Shape.RANGE, Shape.FOLIO, Shape.OPAQUE):
            return self.payload(given, where)
        if reference.shape is Shape.PAGE_TABLE:
            items = self.manifest.rows({"maps": given}, "maps")
            return PageTables(
                [self.mapping(item, f"{where}[{n}]") for n, (_, item) in enumerate(items)]
            )
        raise self.manifest.error(where, "expected a number")

    def handle(self, kind: str, name: Any, chosen: Any, given: Any, where: str) -> Handle:
        """What the handle of a file or an FLB leads to.

        Args:
            name: of the handler or FLB.
            chosen: id of the definition, or None.
        """
        definition = self.handler(kind, name, chosen, where)
        if definition is None:
            raise self.manifest.error(where, f"no definition of {name!r}")
        table = dict(given) if isinstance(given, dict) else given
        memory: dict[str, Any] = {}
        if isinstance(table, dict) and "folios" in self.content_labels(definition):
            own = {key: table.pop(key) for key in MEMORY if key in table and key != "folios"}
            if own and "folios" not in table:
                memory = self.manifest.memory_file(where, own, definition)
            else:
                table |= own
        return Handle(self.content(definition, table, where) | memory, format=definition.id)

    def handler(self, kind: str, name: Any, chosen: Any, where: str) -> Definition | None:
        """The definition of a handler: the one named, the set's own, or the usual one."""
        candidates = self.registry.handlers(kind, name if isinstance(name, str) else "")
        if chosen is not None:
            found = [d for d in candidates if d.id == chosen]
            if not found:
                known = ", ".join(d.id for d in candidates) or "none"
                raise self.manifest.error(f"{where}.{FORMAT}", f"{chosen!r:.60} is none of {known}")
            return found[0]
        of_set = self.manifest.abi.files if kind == Kind.FILE else self.manifest.abi.flbs
        usual = candidates[0] if candidates else None
        return next((d for d in candidates if d.id in of_set), usual)

    def row_labels(self, definition: Definition, label: str) -> list[str]:
        """Labels of the values of a row of a table that a definition's content has."""
        if definition.fdt is not None:
            fields = definition.fdt.properties
        else:
            fields = definition.structs[definition.content].fields
        for field in fields:
            name = field.type.struct if field.type is not None else ""
            name = field.holds.of if field.holds is not None else name
            if field.label == label and name:
                owner = self.registry.owner_of_struct(definition, name)
                return [f.label for own in owner.structs[name].fields for f in own.parts or (own,)]
        return []

    def content_labels(self, definition: Definition) -> list[str]:
        """Labels of the values that a definition's content has."""
        return content_labels(self.registry, definition)

    def payload(self, given: Any, where: str) -> Payload:
        """A range of memory: its size, and what it holds."""
        table = self.manifest.table(given, where, ("size", "start", "align", "contents"))
        size = self.manifest.integer(table, "size", where, None)
        start = self.manifest.integer(table, "start", where, 0) if "start" in table else None
        align = self.manifest.integer(table, "align", where, 0) or None
        read, _ = self.manifest.contents(table, where, size)
        zero = np.zeros(1, np.uint64)
        page = self.manifest.geometry.page_size
        contents = file_contents(read, zero, size, page) if read else None
        return Payload(np.array([size], np.uint64), contents, start, align)

    def mapping(self, given: Any, where: str) -> Mapped:
        """What a page table maps at one device address: memory, or that of a table's rows."""
        table = self.manifest.table(given, where, ("iova", "size", "address", "table"))
        iova = self.manifest.integer(table, "iova", where, None)
        if "table" in table:
            return Mapped(iova, table=self.manifest.text(table, "table", where, None, 4096))
        return Mapped(
            iova,
            self.manifest.integer(table, "size", where, None),
            self.manifest.integer(table, "address", where, None),
        )

    # -- arrays --------------------------------------------------------------------------

    def table_rows(self, definition: Definition, name: str, given: Any, where: str) -> Rows:
        """An array of records: a list of tables, with the memory that its rows point to."""
        owner = self.registry.owner_of_struct(definition, name)
        fields = [f for field in owner.structs[name].fields for f in field.parts or (field,)]
        pointing = next(
            (
                f
                for f in fields
                if f.points_to is not None and f.points_to.shape in (Shape.FOLIO, Shape.RANGE)
            ),
            None,
        )
        columns = [field for field in fields if field is not pointing]
        if not isinstance(given, list) or len(given) > MAX_ROWS:
            raise self.manifest.error(where, f"expected a list of at most {MAX_ROWS} tables")
        numbers: dict[str, list[int]] = {field.label: [] for field in columns}
        links: dict[str, list[Link | int]] = {}
        memory: list[tuple[int, ReadAt | None]] = []
        used: list[bool] = []
        for index, item in enumerate(given):
            here = f"{where}[{index}]"
            further = PAYLOAD if pointing is not None else ()
            row = self.manifest.table(item, here, (*numbers, *further))
            for field in columns:
                raw = row.get(field.label, 0)
                if field.points_to is not None and is_link(field.points_to, raw):
                    links.setdefault(field.label, [0] * index).append(Link(raw))
                    raw = 0
                elif field.label in links:
                    links[field.label].append(self.number(raw, f"{here}.{field.label}"))
                if field.flags and isinstance(raw, list):
                    raw = self.flags(field, raw, here)
                numbers[field.label].append(self.number(raw, f"{here}.{field.label}"))
            if pointing is not None:
                used.append(not row.get("hole", False))
                if used[-1]:
                    memory.append(self.row_memory(row, here))
        for label, column in links.items():
            # Rows above the first that names a record by its path.
            column[:] = [link or numbers[label][index] for index, link in enumerate(column)]
        rows = Rows(
            {label: np.array(column, np.uint64) for label, column in numbers.items()}, links=links
        )
        if pointing is None:
            return rows
        rows.used = np.array(used, bool)
        sizes = np.array([size for size, _ in memory], np.uint64)
        reads = [read for _, read in memory]
        contents = self.joined(reads) if any(reads) else None
        rows.payload = Payload(sizes, contents)
        return rows

    def row_memory(self, row: dict[str, Any], where: str) -> tuple[int, ReadAt | None]:
        """Bytes of the memory a row points to, and a reader of what it holds."""
        page = self.manifest.geometry.page_size
        order = self.manifest.integer(row, "order", where, 0)
        if order > MAX_ORDER:
            raise self.manifest.error(f"{where}.order", f"at most {MAX_ORDER}")
        size = self.manifest.integer(row, "size", where, page << order)
        read, _ = self.manifest.contents(row, where, size)
        return size, read

    def joined(self, reads: list[ReadAt | None]) -> Contents:
        """Contents of many blocks, each from its own reader."""
        page = self.manifest.geometry.page_size
        zero = np.zeros(1, np.uint64)

        def fill(new: Array, sizes: Array) -> Iterator[tuple[int, Buffer]]:
            for number, read in enumerate(reads):
                if read is not None:
                    size = int(sizes[number])
                    part = file_contents(read, zero, size, page)
                    yield from part(new[number : number + 1], sizes[number : number + 1])

        return fill


def is_link(reference: Reference, given: Any) -> bool:
    """True for the path of a record where its address belongs."""
    return reference.shape is Shape.ELEMENT and isinstance(given, str) and given.startswith("/")
