"""Entries of a manifest: reserved regions, the kernel's test, kexec metadata, and any other."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.abi.definition import Kind
from khotool.abi.geometry import Geometry
from khotool.encode.build import MAX_ORDER
from khotool.encode.fdt_build import MAX_NODE_NAME
from khotool.handover.values import EntryValue, Payload, Rows
from khotool.manifest.contents import PIECE, contents_from, file_contents
from khotool.manifest.fields import FieldReader
from khotool.structured import Table
from khotool.structured.mistake import suggestion

NAME = 15
"""Bytes of the name of a region of reserve_mem=."""


def identity(table: Table, limit: int) -> str:
    """The ``name`` of something, of at most ``limit`` bytes."""
    return table.text("name", limit=limit, empty=False, nul=False)


def read_entry(reader: FieldReader, table: Table) -> EntryValue:
    """One entry of the root, by the fields of its format."""
    name = identity(table, MAX_NODE_NAME)
    if "bytes" in table:
        return EntryValue(name, "", raw=table["bytes"].hexadecimal())
    formats = {d.id: d for d in reader.registry if d.kind is Kind.ENTRY}
    usual = reader.abi.entries.get(name)
    chosen = table.text("format", usual) if usual else table.text("format")
    definition = formats.get(chosen)
    inner = table.table("fields")
    if definition is None:
        if chosen:
            hint = suggestion(chosen, sorted(formats))
            table["format"].mistake(f"{chosen!r:.60} is not a format of an entry{hint}")
        inner.know(*inner)
        return EntryValue(name, "")
    return EntryValue(name, definition.id, reader.content(definition, inner))


def memblock(reader: FieldReader, root: Table) -> EntryValue:
    """Regions of reserve_mem=."""
    regions = [_region(reader, table) for table in root.tables("reserve_mem")]
    limit = reader.registry.get("memblock-v1").limits["regions"]
    if len(regions) > limit:
        root["reserve_mem"].mistake(f"{len(regions)} regions; a kernel has at most {limit}")
    return EntryValue("memblock", "memblock-v1", {"regions": regions})


def _region(reader: FieldReader, table: Table) -> dict[str, Any]:
    page = reader.geometry.page_size
    size = table.integer("size", sizes=True)
    if (not size or size % page) and "size" in table and not table["size"].is_wrong:
        table["size"].mistake("expected whole pages")
    align = table.integer("align", page, sizes=True)
    if not align or align & (align - 1) or align % page:
        table["align"].mistake("expected a power of two of at least a page")
    start = table.optional_integer("start", sizes=True)
    contents = reader.memory(table, size)
    payload = Payload(np.array([size], np.uint64), contents, start, align)
    return {"name": identity(table, NAME), "start": payload, "size": size}


def metadata(table: Table, release: str) -> EntryValue:
    """kexec-metadata; every kernel that knows it writes it."""
    return EntryValue(
        "kexec-metadata",
        "kexec-metadata",
        {
            "version": table.integer("version", 1, sizes=True),
            "previous_release": table.text("previous_release", release, limit=64, nul=False),
            "kexec_count": table.integer("kexec_count", 1, sizes=True),
        },
    )


def read_kho_test(reader: FieldReader, table: Table) -> EntryValue:
    """The kernel's own test: folios by order."""
    geometry = reader.geometry
    given = table.get("orders")
    orders = [0] if given is None else [item.integer(most=MAX_ORDER) for item in given.items()]
    column = np.array(orders, np.uint64)
    sizes = np.uint64(geometry.page_size) << column
    total = int(sizes.sum())
    read, _ = contents_from(table, reader.making, total, geometry.page_size)
    payload = Payload(sizes)
    csum = 0
    if read is not None:
        offsets = np.cumsum(sizes) - sizes
        payload.contents = file_contents(read, offsets, total, geometry.page_size)
        for at in range(0, total, PIECE):
            csum = folded_sum(read(at, min(PIECE, total - at)), geometry, csum)
    values: dict[str, Any] = {
        "csum": table.integer("csum", csum, sizes=True),
        "folios": Rows({"order": column}, payload),
    }
    if "magic" in table:
        values["magic"] = table.integer("magic", sizes=True)
    return EntryValue("kho_test", "kho-test-v1", values)


def folded_sum(data: bytes, geometry: Geometry, before: int = 0) -> int:
    """The kernel's csum_partial(): the sum of native 32-bit words, its carries added back."""
    total = before + int(np.frombuffer(data, f"{geometry.prefix}u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFF_FFFF) + (total >> 32)
    return total
