"""Values of a manifest for any format: what a definition has a place for, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from khotool.abi.definition import AbiSet, Definition, Field, Kind, NodeType, Reference, leaf_fields
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.codec.base import codec_for, codec_of
from khotool.handover.labels import content_labels, inner_nodes
from khotool.handover.values import Array, Block, Buffer, Contents, Handle, Link, Payload, Rows
from khotool.manifest.contents import contents_from, file_contents
from khotool.manifest.making import Making
from khotool.manifest.memory_file import MEMORY, read_memory_file
from khotool.manifest.notation import read_number
from khotool.records import dataclass, replace
from khotool.structured import Table, Value
from khotool.structured.mistake import suggestion

FORMAT = "format"
"""Key beside a handle that names its definition, where several have one string."""
MAX_ROWS = 1 << 20
MAX_TEXT = 4096
"""Bytes of a string whose field does not limit it."""


@dataclass(slots=True)
class FieldReader:
    """Values by definitions; what codecs read with, see ``khotool.codec.contexts.Reader``.

    Args:
        making: what the manifest may read and have made.
    """

    registry: Registry
    abi: AbiSet
    geometry: Geometry
    making: Making

    # -- records and trees ---------------------------------------------------------------

    def content(self, definition: Definition, table: Table) -> dict[str, Any]:
        """Values of what a definition's content is: a record or a tree."""
        if definition.content == "fdt" and definition.fdt is not None:
            return self._node(definition, definition.fdt, table)
        if definition.content in definition.structs:
            return self.record(definition, definition.content, table)
        table.mistake(f"{definition.id} has no fields")
        return {}

    def record(self, definition: Definition, struct: str, table: Table) -> dict[str, Any]:
        """Values of a record by label."""
        owner = self.registry.owner_of_struct(definition, struct)
        return self._values(owner, leaf_fields(owner.structs[struct].fields), table)

    def _node(self, definition: Definition, kind: NodeType, table: Table) -> dict[str, Any]:
        """Values of a node of a tree by label; those of inline nodes are beside its own."""
        if kind.format:
            definition = self.registry.get(kind.format)
            assert definition.fdt is not None
            kind = definition.fdt
        named = [kind.name] if kind.name is not None else []
        values = self._values(definition, [*kind.properties, *named], table)
        inline, groups = inner_nodes(self.registry, kind)
        for owner, inner in inline:
            values |= self._node(owner or definition, inner, table)
        for name, inner in groups:
            if name in table:
                values[name] = self._node(definition, inner, table.table(name))
        if kind.any_node is not None and kind.any_node.alias in table:
            rows = table.tables(kind.any_node.alias)
            values[kind.any_node.alias] = [
                self._child(definition, kind.any_node, row) for row in rows
            ]
        if kind.any_property is not None and kind.any_property.alias in table:
            rows = table.tables(kind.any_property.alias)
            values[kind.any_property.alias] = [
                self._property(definition, kind.any_property, row) for row in rows
            ]
        return values

    def _child(self, definition: Definition, kind: NodeType, table: Table) -> dict[str, Any]:
        """One of many children of a node, with its name."""
        label = kind.name.label if kind.name is not None else "name"
        type_of = kind.name.type if kind.name is not None else None
        number = type_of is not None and type_of.kind == "int"
        name: Any = self.number(kind.name, table[label]) if number else table.text(label)
        owner = self.registry.get(kind.format) if kind.format else definition
        node = owner.fdt if kind.format and owner.fdt is not None else kind
        return self._node(owner, replace(node, name=None), table) | {label: name}

    def _property(self, definition: Definition, kind: Field, table: Table) -> dict[str, Any]:
        """One of many properties of a node, with its name."""
        name = table.text("name")
        return self._values(definition, [replace(kind, alias="")], table) | {"name": name}

    def _values(
        self, definition: Definition, fields: Iterable[Field], table: Table
    ) -> dict[str, Any]:
        """Values of fields that a table names, and lengths of ranges that it describes."""
        values: dict[str, Any] = {}
        lengths: dict[str, int] = {}
        for field in fields:
            reference = field.points_to
            if reference is not None:
                table.know(*codec_of(reference.shape).beside)
            if reference is not None and reference.inline:
                values |= codec_of(reference.shape).read(self, definition, field, table)
            if field.label not in table:
                continue
            value = values[field.label] = self._value(definition, field, table)
            if isinstance(value, Payload) and reference is not None and reference.size:
                lengths[reference.size] = int(value.sizes[0])
        for label, length in lengths.items():
            given = values.setdefault(label, length)
            if given != length:
                table[label].mistake(f"{given}, but the memory has {length} bytes; leave it out")
        return values

    def _value(self, definition: Definition, field: Field, table: Table) -> Any:
        """The value of one field, as the encoder takes it."""
        given, kind = table[field.label], field.type
        codec = codec_for(self.registry, definition, field)
        if codec is not None and (field.holds is not None or not is_number(given.raw)):
            return codec.read(self, definition, field, table)
        if kind is None or codec is not None:
            return self.number(field, given)
        if kind.kind in ("struct", "array"):
            return self._structs(definition, field, given)
        if kind.kind in ("char", "string"):
            return given.text(limit=kind.size or MAX_TEXT, nul=False)
        if kind.kind == "bytes":
            return given.hexadecimal()
        if kind.count:
            return [self.number(field, item) for item in given.items()]
        return self.number(field, given)

    def _structs(self, definition: Definition, field: Field, given: Value) -> Any:
        """A struct, several, or the rows of an array."""
        kind = field.type
        assert kind is not None
        if kind.kind == "array":
            if not kind.struct:
                return given.hexadecimal()
            return self.table_rows(definition, kind.struct, given)
        if kind.count:
            return [self.record(definition, kind.struct, item) for item in given.tables()]
        return self.record(definition, kind.struct, given.table())

    def number(self, field: Field | None, given: Value) -> int:
        """A number, in any notation that dump prints for the field."""
        return read_number(field, given)

    # -- handles -------------------------------------------------------------------------

    def handle(self, reference: Reference, beside: Table, given: Value) -> Any:
        """What the handle of a file or an FLB leads to; ``beside`` has its name."""
        name = beside.raw.get(reference.by, "") if reference.by else reference.of
        definition = self.handler(reference.kind, name, beside)
        if definition is None:
            given.mistake(f"no definition of {name!r:.60}")
            return 0
        table = given.table()
        values = self.content(definition, table)
        holds_folios = "folios" in self.content_labels(definition) and "folios" not in values
        # Keys of a file with folios may be beside the fields of its record.
        if holds_folios and any(key in table for key in MEMORY):
            values |= self.memory_file(definition, table)
        return Handle(values, format=definition.id)

    def handler(self, kind: str, name: Any, beside: Table) -> Definition | None:
        """The definition of a handler: the one that ``format`` names, the set's, or the usual."""
        candidates = self.registry.handlers(kind, name if isinstance(name, str) else "")
        chosen = beside.get(FORMAT)
        if chosen is not None:
            found = [d for d in candidates if d.id == chosen.raw]
            if not found:
                known = suggestion(str(chosen.raw), [d.id for d in candidates])
                chosen.mistake(f"{chosen.raw!r:.60} is not a format of {name!r:.60}{known}")
            return found[0] if found else None
        of_set = self.abi.files if kind == Kind.FILE else self.abi.flbs
        usual = candidates[0] if candidates else None
        return next((d for d in candidates if d.id in of_set), usual)

    def content_labels(self, definition: Definition) -> list[str]:
        """Labels of the values that a definition's content has."""
        return content_labels(self.registry, definition)

    def memory_file(self, definition: Definition, table: Table) -> dict[str, Any]:
        """A file whose contents are folios."""
        return read_memory_file(self.registry, definition, self.geometry, self.making, table)

    # -- memory --------------------------------------------------------------------------

    def memory(self, table: Table, size: int) -> Contents | None:
        """What ``contents`` of a table puts into a block of ``size`` bytes; None for nothing."""
        page = self.geometry.page_size
        read, _ = contents_from(table, self.making, size, page)
        return file_contents(read, np.zeros(1, np.uint64), size, page) if read else None

    def table_rows(self, definition: Definition, struct: str, given: Value) -> Rows:
        """An array of records: a list of tables, with the memory that its rows point to."""
        owner = self.registry.owner_of_struct(definition, struct)
        fields = list(leaf_fields(owner.structs[struct].fields))
        cells: dict[str, list[Any]] = {field.label: [] for field in fields}
        for item in given.items(MAX_ROWS):
            row = item.table()
            for field in fields:
                cells[field.label].append(self._cell(field, row))
        rows = Rows({})
        for label, column in cells.items():
            add_column(rows, label, column)
        return rows

    def _cell(self, field: Field, row: Table) -> Any:
        """The value of one field of one row."""
        if field.points_to is not None:
            return codec_of(field.points_to.shape).read_cell(self, field, row)
        given = row.get(field.label)
        return 0 if given is None else max(0, self.number(field, given))


def add_column(rows: Rows, label: str, cells: list[Any]) -> None:
    """Add a column: numbers, links to records, or blocks of payload, None for a hole."""
    if any(cell is None or isinstance(cell, Block) for cell in cells):
        blocks = [cell for cell in cells if isinstance(cell, Block)]
        rows.used = np.array([isinstance(cell, Block) for cell in cells], bool)
        sizes = np.array([block.size for block in blocks], np.uint64)
        parts = [block.contents for block in blocks]
        rows.payload = Payload(sizes, joined(parts) if any(parts) else None)
    elif any(isinstance(cell, Link) for cell in cells):
        rows.links[label] = cells
        rows.columns[label] = np.zeros(len(cells), np.uint64)
    else:
        rows.columns[label] = np.array(cells, np.uint64)


def joined(parts: list[Contents | None]) -> Contents:
    """Contents of many blocks, each of its own."""

    def fill(new: Array, sizes: Array) -> Iterator[tuple[int, Buffer]]:
        for number, part in enumerate(parts):
            if part is not None:
                yield from part(new[number : number + 1], sizes[number : number + 1])

    return fill


def is_number(raw: Any) -> bool:
    """True for the number of the pointer itself: not a path, table or list."""
    if isinstance(raw, str):
        return not raw.startswith("/")
    return isinstance(raw, int) and not isinstance(raw, bool)
