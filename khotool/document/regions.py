"""Regions of metadata as JSON and back: the lossless half of a full dump."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from khotool.abi.compile import CompiledStruct, PlacedField
from khotool.abi.definition import HEX_ROLES, Field
from khotool.abi.geometry import Geometry
from khotool.abi.record import column
from khotool.abi.registry import Registry
from khotool.codec.map_layout import CHUNK_ELEMENT, CHUNK_HEADER
from khotool.document.json_input import address_of, number, take, word
from khotool.document.long import Columns, Long
from khotool.document.map import map_from_json, map_to_json
from khotool.document.tree import blob_from_json, blob_to_json
from khotool.errors import EncodeError, UsageError
from khotool.handover.columns import pack_columns
from khotool.memory.mapped import row_releaser
from khotool.model.image import Image, Node
from khotool.model.region import FdtRegion, MapRegion, RawRegion, RecordRegion, Region, TableRegion

PIECE = 1 << 16
"""Rows of a table that are looked at together."""
U64_MAX = (1 << 64) - 1


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


def region_from_json(data: Any, where: str, registry: Registry, geometry: Geometry) -> Region:
    """The inverse of ``region_to_json``.

    Raises:
        EncodeError: a key is missing or has a wrong value; names its path.
    """
    path = take(data, "path", str, where)
    if "record" in data:
        compiled, identifier = compiled_type(data, "record", where, registry, geometry)
        values = values_from_json(compiled, take(data, "fields", dict, where), path)
        return RecordRegion(path, identifier, compiled, address_of(data, where), values)
    if "table" in data:
        compiled, identifier = compiled_type(data, "table", where, registry, geometry)
        records = columns_from_json(compiled, take(data, "columns", dict, where), path)
        pieces = [
            (word(piece[0], f"{where}.extents"), word(piece[1], f"{where}.extents"))
            for piece in take(data, "extents", list, where)
            if isinstance(piece, list) and len(piece) == 2
        ]
        extents = np.array(pieces, np.uint64).reshape(-1, 2)
        if int(extents[:, 1].sum()) < records.nbytes:
            raise EncodeError(path, "the extents are smaller than the records")
        return TableRegion(path, identifier, compiled, extents, records)
    if "fdt" in data:
        blob = blob_from_json(take(data, "fdt", dict, where), f"{where}.fdt", geometry)
        return FdtRegion(path, address_of(data, where), blob)
    if "map" in data:
        identifier = take(data, "format", str, where)
        definition = definition_of(identifier, where, registry)
        found = map_from_json(take(data, "map", dict, where), f"{where}.map", geometry)
        header = element = None
        if found.layout == "bitmap-chunks":
            header = registry.compile(definition, CHUNK_HEADER, geometry)
            element = registry.compile(definition, CHUNK_ELEMENT, geometry)
        return MapRegion(path, identifier, found, geometry, header, element)
    try:
        raw = bytes.fromhex(take(data, "raw", str, where))
    except ValueError:
        raise EncodeError(f"{where}.raw", "expected hexadecimal bytes") from None
    return RawRegion(path, address_of(data, where), raw)


def type_name(identifier: str, compiled: CompiledStruct) -> str:
    """``luo-v5/luo_ser``: definition and struct."""
    return f"{identifier}/{compiled.struct.name}"


def compiled_type(
    data: Any, key: str, where: str, registry: Registry, geometry: Geometry
) -> tuple[CompiledStruct, str]:
    """The struct that a region names."""
    name = take(data, key, str, where)
    identifier, _, struct = name.rpartition("/")
    definition = definition_of(identifier, f"{where}.{key}", registry)
    try:
        return registry.compile(definition, struct, geometry), identifier
    except Exception as error:
        raise EncodeError(f"{where}.{key}", f"{name!r} is not a struct: {error}") from None


def definition_of(identifier: str, where: str, registry: Registry) -> Any:
    """The definition of an id, or an error at ``where``."""
    try:
        return registry.get(identifier)
    except UsageError as error:
        raise EncodeError(where, str(error)) from None


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


def values_from_json(
    compiled: CompiledStruct, data: Mapping[str, Any], path: str
) -> dict[str, Any]:
    """The inverse: hexadecimal strings in number fields become numbers."""
    result: dict[str, Any] = {}
    for placed, field in placed_leaves(compiled):
        label = field.label
        if label not in data:
            continue
        value = data[label]
        where = f"{path}/{label}"
        if placed.nested is not None and placed.many:
            if not isinstance(value, list):
                raise EncodeError(where, "expected a list of objects")
            result[label] = [
                _nested_from_json(placed.nested, item, f"{where}[{index}]")
                for index, item in enumerate(value)
            ]
        elif placed.nested is not None:
            result[label] = _nested_from_json(placed.nested, value, where)
        elif placed.field.type is not None and placed.field.type.kind in ("char", "bytes"):
            result[label] = value
        elif isinstance(value, list):
            result[label] = [number(item, where) for item in value]
        else:
            result[label] = number(value, where)
    for label in data:
        if label not in result:
            raise EncodeError(f"{path}/{label}", f"{compiled.struct.name} has no such field")
    return result


def _nested_from_json(compiled: CompiledStruct, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EncodeError(where, "expected an object")
    return values_from_json(compiled, value, where)


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
        yield (column(region.compiled, region.records[low : low + PIECE], label),)
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


def columns_from_json(
    compiled: CompiledStruct, data: Mapping[str, Any], path: str
) -> np.ndarray[Any, Any]:
    """The inverse: a structured array of the struct.

    Raises:
        EncodeError: columns of different lengths, or a value out of range.
    """
    labels = [field.label for field in compiled.leaves if field.label in data]
    columns = {label: _column(data[label], f"{path}/{label}") for label in labels}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise EncodeError(path, f"columns have different lengths: {sorted(lengths)}")
    return pack_columns(compiled, columns, lengths.pop() if lengths else 0, path)


def _column(data: Any, where: str) -> np.ndarray[Any, Any]:
    if isinstance(data, dict):
        count = take(data, "count", int, where)
        if not 0 <= count <= 1 << 32:
            raise EncodeError(where, f"count is {count}")
        if "all" in data:
            return np.full(count, word(data["all"], where), np.uint64)
        start = word(data.get("from"), where)
        return np.arange(count, dtype=np.uint64) + np.uint64(start)
    if not isinstance(data, list):
        raise EncodeError(where, "expected a list of numbers")
    try:
        if all(type(value) is int for value in data):
            return np.array(data, np.uint64)
    except OverflowError:
        pass
    return np.array([word(value, where) for value in data], np.uint64)
