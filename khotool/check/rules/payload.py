"""What handlers carry: folios of files, regions, the kernel's own test."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.abi.definition import Field, Shape
from khotool.absent import Absent
from khotool.check.context import Context
from khotool.image.model import Node, Table

U64 = np.ndarray[Any, Any]
MAX_REGION_NAME = 15


def check_tables(context: Context) -> None:
    """Folio tables: flags, places in the file, coverage."""
    for node in context.image.tree.walk():
        if node.table is not None and len(node.table):
            fields = _fields(node.table)
            _flags(context, node, fields)
            index = next((f for f in fields if f.role == "page-index"), None)
            if index is not None:
                _places(context, node, fields, index)


def _fields(table: Table) -> list[Field]:
    return [f for placed in table.compiled.fields for f in placed.field.parts or (placed.field,)]


def _flags(context: Context, node: Node, fields: list[Field]) -> None:
    assert node.table is not None
    for field in fields:
        if not field.flags:
            continue
        known = sum(field.flags.values())
        values = node.table.column(field.label)
        strange = np.flatnonzero(values & ~np.uint64(known))
        if len(strange):
            row = int(strange[0])
            text = f"{len(strange)} rows have unknown {field.name}, the first [{row}]"
            context.report("REC412", node, text)
        weak = np.flatnonzero((values & np.uint64(known)) != np.uint64(known))
        if len(weak):
            row = int(weak[0])
            text = f"{len(weak)} rows lack {field.name} that are always set, the first [{row}]"
            context.report("HND601", node, text, node.table.span(row).address, row=row)


def folio_extents(context: Context, node: Node) -> tuple[U64, U64, U64] | None:
    """Row numbers, page index and pages of the used folios of a table, ascending by index."""
    table = node.table
    assert table is not None
    fields = _fields(table)
    index = next((f for f in fields if f.role == "page-index"), None)
    folio = next((f for f in fields if f.points_to and f.points_to.shape is Shape.FOLIO), None)
    if index is None or folio is None or isinstance(context.image.map, Absent):
        return None
    frames = table.column(folio.label)
    rows = np.flatnonzero(frames)
    places = table.column(index.label)[rows]
    addresses = frames[rows] << np.uint64(context.image.geometry.page_shift)
    _, orders = context.image.map.blocks.blocks_of(addresses)
    pages = np.uint64(1) << np.maximum(orders, 0).astype(np.uint64)
    order = np.argsort(places, kind="stable")
    return rows[order], places[order], pages[order]


def _places(context: Context, node: Node, fields: list[Field], index: Field) -> None:
    found = folio_extents(context, node)
    if found is None:
        context.skip("HND602", node, "the orders of its folios are not known")
        return
    rows, places, pages = found
    if not len(rows):
        return
    ends = places + pages
    again = np.flatnonzero(places[1:] < ends[:-1])
    if len(again):
        first, second = int(rows[again[0]]), int(rows[again[0] + 1])
        text = f"rows [{first}] and [{second}] stand at the same page of the file"
        context.report("HND602", node, text, rows=len(again))
    skew = np.flatnonzero(places & (pages - np.uint64(1)))
    if len(skew):
        row = int(rows[skew[0]])
        text = f"{len(skew)} folios start at an index their order does not divide, as [{row}]"
        context.report("HND604", node, text)
    size = node.parent.value_of("size") if node.parent is not None else None
    if isinstance(size, int):
        _coverage(context, node, (rows, places, pages), size)


def _coverage(context: Context, node: Node, found: tuple[U64, U64, U64], size: int) -> None:
    rows, places, pages = found
    page = context.image.geometry.page_size
    wanted = -(-size // page)
    beyond = np.flatnonzero(places >= np.uint64(min(wanted, (1 << 64) - 1)))
    if len(beyond):
        row = int(rows[beyond[0]])
        text = f"{len(beyond)} folios lie behind the end of {size} bytes, the first [{row}]"
        context.report("HND603", node, text)
    covered = covered_pages(places, pages, wanted)
    if node.table is not None and covered < wanted and node.table.declared == len(node.table):
        text = f"{wanted - covered} of {wanted} pages of the file have no folio"
        context.report("HND605", node, text, pages=wanted - covered)


def covered_pages(places: U64, pages: U64, wanted: int) -> int:
    """Pages of a file that folios cover; both columns ascending by place."""
    limit = np.uint64(min(wanted, (1 << 62)))
    starts = np.minimum(places, limit)
    ends = np.minimum(places + pages, limit)
    reach = np.maximum.accumulate(ends)
    starts[1:] = np.maximum(starts[1:], reach[:-1])
    return int(np.maximum(ends.astype(np.int64) - starts.astype(np.int64), 0).sum())


def check_empty_files(context: Context) -> None:
    """Files with a size and no folio at all."""
    for node in context.image.tree.walk():
        if node.table is None or len(node.table) or node.table.declared or node.parent is None:
            continue
        size = node.parent.value_of("size")
        if isinstance(size, int) and size and node.parent.get("pos") is not None:
            context.report("HND605", node, f"a file of {size} bytes has no folio")


def check_regions(context: Context) -> None:
    """reserve_mem regions: shape, name, and what is preserved for them."""
    memblock = context.image.entry("memblock")
    regions = memblock.get("regions") if memblock is not None else None
    for region in regions.elements() if regions is not None else []:
        start, size, name = (region.value_of(key) for key in ("start", "size", "name"))
        if not isinstance(start, int) or not isinstance(size, int):
            continue
        page = context.image.geometry.page_size
        if not size or size % page or start % page:
            text = f"{start:#x}+{size:#x} is empty or not made of whole pages"
            context.report("HND608", region, text, start)
            continue
        if not name or len(name.encode("utf-8", "surrogateescape")) > MAX_REGION_NAME:
            text = f"the name {name!r} is not 1 to {MAX_REGION_NAME} bytes"
            context.report("HND608", region, text)
        preserved = preserved_size(context, start, size)
        if preserved is not None and preserved != size:
            text = f"size is {size:#x}, but {preserved:#x} bytes are preserved from {start:#x} on"
            context.report("HND610", region, text, start)


def preserved_size(context: Context, start: int, size: int) -> int | None:
    """Bytes of the blocks that hold a region, from its start; None if they say nothing else.

    The kernel preserves exactly the region, in blocks that do not reach over its ends.
    """
    if isinstance(context.image.map, Absent):
        return None
    block = context.image.map.blocks.block_of(start + size - 1)
    if block is None or context.image.map.blocks.block_of(start) is None:
        return None
    at, order = block
    return at + (context.image.geometry.page_size << order) - start


def check_kho_test(context: Context) -> None:
    """The checksum over the folios of the kernel's own test, where they were captured."""
    entry = context.image.entry("kho_test")
    folios = entry.get("folios") if entry is not None else None
    csum = entry.value_of("csum") if entry is not None else None
    if folios is None or folios.table is None or not isinstance(csum, int):
        return
    page = context.image.geometry.page_size
    total = 0
    rows = zip(
        folios.table.column("address").tolist(), folios.table.column("order").tolist(), strict=True
    )
    for address, order in rows:
        raw = context.read(address, page << order) if order < 16 else None
        if raw is None:
            context.skip("HND609", folios, "the folios' contents are not captured")
            return
        words = np.frombuffer(raw, f"{context.image.geometry.prefix}u4")
        total += int(words.sum(dtype=np.uint64))
    # Architectures fold the sum to 32 or to 16 bits; modulo 2^16 - 1 they agree.
    if len(folios.table) and total % 0xFFFF != csum % 0xFFFF:
        context.report("HND609", folios, f"csum is {csum:#x}, the folios sum to another")
