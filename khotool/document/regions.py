"""Regions of metadata as JSON and back: the lossless half of a full dump."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from khotool.abi.compile import CompiledStruct, PlacedField
from khotool.abi.definition import HEX_ROLES, Field
from khotool.abi.geometry import Geometry
from khotool.abi.record import column as stored_column
from khotool.abi.registry import Registry
from khotool.codec.map_layout import CHUNK_ELEMENT, CHUNK_HEADER
from khotool.document.long import Columns, Long
from khotool.document.map import map_from_json, map_to_json
from khotool.document.numbers import LOWEST, U64, column, integers, rows
from khotool.document.tree import blob_from_json, blob_to_json
from khotool.errors import DefinitionError, UsageError
from khotool.handover.columns import pack_columns
from khotool.memory.mapped import row_releaser
from khotool.model.image import Image, Node
from khotool.model.region import FdtRegion, MapRegion, RawRegion, RecordRegion, Region, TableRegion
from khotool.structured import Table, Value

PIECE = 1 << 16
"""Rows of a table that are looked at together."""
U64_MAX = (1 << 64) - 1
MAX_ROWS = 1 << 32


def region_to_json(region: Region, image: Image, fields: Mapping[int, Node]) -> dict[str, Any]:
    """One region.

    Args:
        fields: value nodes by physical address, which give FDT properties their types.
    """
    start = next(region.extents(), (0, 0))[0]
    head: dict[str, Any] = {"path": region.path}
    if isinstance(region, RecordRegion):
        return head | {
            "record": type_name(region.format, region.compiled),
            "address": hex(start),
            "fields": values_to_json(region.compiled, region.values),
        }
    if isinstance(region, TableRegion):
        return head | {
            "table": type_name(region.format, region.compiled),
            "extents": [[hex(int(a)), int(n)] for a, n in region.pieces.tolist()],
            "columns": columns_to_json(region),
        }
    if isinstance(region, FdtRegion):
        return (
            head
            | {"fdt": blob_to_json(region.blob, region.address, fields)}
            | {"address": hex(start)}
        )
    if isinstance(region, MapRegion):
        return head | {"map": map_to_json(region.map), "format": region.format}
    assert isinstance(region, RawRegion)
    return head | {"raw": region.data.hex(), "address": hex(start)}


def region_from_json(given: Table, registry: Registry, geometry: Geometry) -> Region | None:
    """The inverse of ``region_to_json``; None where something is wrong, which is noted.

    Raises:
        EncodeError: a number does not fit the column of a table.
    """
    path = given.text("path")
    if "table" in given:
        return _table_from_json(given, path, registry, geometry)
    if "map" in given:
        return _map_from_json(given, path, registry, geometry)
    address = given.integer("address")
    region: Region
    if "record" in given:
        found = _struct(given["record"], registry, geometry)
        if found is None:
            return None
        identifier, compiled = found
        values = values_from_json(compiled, given["fields"].table())
        region = RecordRegion(path, identifier, compiled, address, values)
    elif "fdt" in given:
        region = FdtRegion(path, address, blob_from_json(given["fdt"].table(), geometry))
    else:
        region = RawRegion(path, address, given["raw"].hexadecimal())
    return None if given.is_wrong else region


def _table_from_json(
    given: Table, path: str, registry: Registry, geometry: Geometry
) -> Region | None:
    found = _struct(given["table"], registry, geometry)
    if found is None:
        return None
    identifier, compiled = found
    extents = rows(given["extents"], 2)
    records = columns_from_json(compiled, given["columns"].table(), path)
    if int(extents[:, 1].sum()) < records.nbytes and not given.is_wrong:
        given["extents"].mistake("smaller than the records")
    region = TableRegion(path, identifier, compiled, extents, records)
    return None if given.is_wrong else region


def _map_from_json(
    given: Table, path: str, registry: Registry, geometry: Geometry
) -> Region | None:
    found = map_from_json(given["map"].table(), geometry)
    header = element = None
    try:
        definition = registry.get(given.text("format"))
        if found.layout == "bitmap-chunks":
            header = registry.compile(definition, CHUNK_HEADER, geometry)
            element = registry.compile(definition, CHUNK_ELEMENT, geometry)
    except (UsageError, DefinitionError) as error:
        given["format"].mistake(str(error))
        return None
    region = MapRegion(path, definition.id, found, geometry, header, element)
    return None if given.is_wrong else region


def type_name(identifier: str, compiled: CompiledStruct) -> str:
    """``luo-v5/luo_ser``: definition and struct."""
    return f"{identifier}/{compiled.struct.name}"


def _struct(
    given: Value, registry: Registry, geometry: Geometry
) -> tuple[str, CompiledStruct] | None:
    """The id of a definition and the struct of it that a region names; None if there is none."""
    identifier, _, struct = given.text().rpartition("/")
    try:
        return identifier, registry.compile(registry.get(identifier), struct, geometry)
    except (UsageError, DefinitionError) as error:
        given.mistake(f"{given.raw!r:.60} is not a struct: {error}")
        return None


# -- values ----------------------------------------------------------------------------------


def placed_leaves(compiled: CompiledStruct) -> Iterator[tuple[PlacedField, Field]]:
    """Every field of a record that has a value of its own, and the place that it is at."""
    for placed in compiled.fields:
        for field in placed.field.parts or (placed.field,):
            yield placed, field


def values_to_json(compiled: CompiledStruct, values: Mapping[str, Any]) -> dict[str, Any]:
    """A record's values: numbers by role, nested structs as objects, arrays without zero tail."""
    result: dict[str, Any] = {}
    for placed, field in placed_leaves(compiled):
        label, role = field.label, field.role
        value = values[label]
        if placed.nested is not None and placed.many:
            result[label] = [values_to_json(placed.nested, item) for item in value]
        elif placed.nested is not None:
            result[label] = values_to_json(placed.nested, value)
        elif isinstance(value, bytes):
            result[label] = value.rstrip(b"\0").hex()
        elif isinstance(value, list):
            last = len(value)
            while last and not value[last - 1]:
                last -= 1
            result[label] = [hex(v) if role in HEX_ROLES else v for v in value[:last]]
        else:
            result[label] = hex(value) if role in HEX_ROLES else value
    return result


def values_from_json(compiled: CompiledStruct, given: Table) -> dict[str, Any]:
    """The inverse: hexadecimal strings in number fields become numbers."""
    result: dict[str, Any] = {}
    for placed, field in placed_leaves(compiled):
        value = given.get(field.label)
        kind = placed.field.type
        if value is None:
            continue
        if placed.nested is not None and placed.many:
            result[field.label] = [values_from_json(placed.nested, one) for one in value.tables()]
        elif placed.nested is not None:
            result[field.label] = values_from_json(placed.nested, value.table())
        elif kind is not None and kind.kind in ("char", "bytes"):
            result[field.label] = value.raw
        elif placed.many:
            result[field.label] = integers(value)
        else:
            result[field.label] = value.integer(least=LOWEST)
    given.close()
    return result


def columns_to_json(region: TableRegion) -> dict[str, Any]:
    """A table column by column; a column of one value is that value with its count.

    A column is ``Long`` where the table has many rows.
    """
    count = len(region.records)
    result: dict[str, Any] = {}
    for label in (field.label for field in region.compiled.leaves):
        pieces = partial(_column_pieces, region, label)
        first = int(next(pieces())[0][0]) if count else 0
        if count > 1 and all((part == part.dtype.type(first)).all() for (part,) in pieces()):
            result[label] = {"all": first, "count": count}
        elif count > 2 and _ascending(first, pieces()):
            result[label] = {"from": first, "count": count}
        else:
            result[label] = Long(count, pieces, (False,)).short()
    return result


def _column_pieces(region: TableRegion, label: str) -> Iterator[Columns]:
    """A column of a table, some rows at a time."""
    release = row_releaser(region.records)
    for low in range(0, len(region.records), PIECE):
        yield (stored_column(region.compiled, region.records[low : low + PIECE], label),)
        if release is not None:
            release(low, low + PIECE)


def _ascending(first: int, pieces: Iterator[Columns]) -> bool:
    """Whether each number is one more than the number before it, modulo 2**64."""
    for (part,) in pieces:
        bits = part.view(np.uint64)
        if not (bits - np.uint64(first & U64_MAX) == np.arange(bits.size, dtype=np.uint64)).all():
            return False
        first += bits.size
    return True


def columns_from_json(compiled: CompiledStruct, given: Table, path: str) -> np.ndarray[Any, Any]:
    """The inverse: a structured array of the struct; none where something is wrong.

    Raises:
        EncodeError: a value does not fit its column.
    """
    labels = [field.label for field in compiled.leaves if field.label in given]
    columns = {label: _column(given[label]) for label in labels}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1 and not given.is_wrong:
        given.mistake(f"columns have different lengths: {sorted(lengths)}")
    count = lengths.pop() if lengths and not given.is_wrong else 0
    return pack_columns(compiled, columns if count else {}, count, path)


def _column(given: Value) -> U64:
    if not isinstance(given.raw, dict):
        return column(given)
    same = given.table()
    count = same.integer("count", most=MAX_ROWS)
    if given.is_wrong:
        count = 0
    if "all" in same:
        return np.full(count, same.integer("all"), np.uint64)
    return np.arange(count, dtype=np.uint64) + np.uint64(same.integer("from"))
