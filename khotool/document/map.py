"""A preserved-page map as JSON and back, the place of every page included."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from khotool.abi.geometry import Geometry
from khotool.document.long import Long
from khotool.document.numbers import rows
from khotool.maps.preserved import Chunk, MapLayout, MapPages, PageKind, PreservedMap
from khotool.pages.blocks import Blocks
from khotool.structured import Table

KINDS = {
    PageKind.INTERIOR: "interior",
    PageKind.LEAF: "leaf",
    PageKind.CHUNK: "chunk",
    PageKind.BITMAP: "bitmap",
    PageKind.TABLE: "table",
}
LAYOUTS: tuple[MapLayout, ...] = get_args(MapLayout)
ELEMENT = ("phys_start", "bitmap")


def map_to_json(found: PreservedMap) -> dict[str, Any]:
    """Blocks as (address, count, order), ``Long`` where there are many, pages, chunk records."""
    blocks, pages = found.blocks, found.pages
    columns = pages.address, pages.kind, pages.level, pages.prefix, pages.parent, pages.size
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {
        "layout": found.layout,
        "blocks": Long(len(blocks), blocks.pieces, (True, False, False)).short(),
        "pages": [
            [hex(address), KINDS[PageKind(kind)], level, prefix, parent, size]
            for address, kind, level, prefix, parent, size in rows
        ],
        "chunks": [
            {
                "address": hex(chunk.address),
                "next": hex(chunk.next),
                "order": chunk.order,
                "num_elms": chunk.num_elms,
                "elements": [
                    [hex(int(row[ELEMENT[0]])), hex(int(row[ELEMENT[1]]))] for row in chunk.elements
                ],
            }
            for chunk in found.chunks
        ],
    }


def map_from_json(given: Table, geometry: Geometry) -> PreservedMap:
    """The inverse of ``map_to_json``; what is wrong is noted."""
    layout = given.choice("layout", LAYOUTS)
    blocks = rows(given["blocks"], 3)
    try:
        made = Blocks.from_runs(blocks[:, 0], blocks[:, 1], blocks[:, 2], geometry.page_shift)
    except ValueError as error:
        given["blocks"].mistake(str(error))
        made = Blocks.empty(geometry.page_shift)
    pages = MapPages.empty()
    try:
        pages = _pages(given["pages"].raw, geometry)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        given["pages"].mistake(f"not as dump writes them: {error}")
    chunks = [_chunk(item, geometry) for item in given["chunks"].tables()]
    name = next(known for known in LAYOUTS if known == layout)
    return PreservedMap(name, made, pages, problems=[], complete=True, chunks=chunks)


def _pages(rows: list[Any], geometry: Geometry) -> MapPages:
    """Pages of a map: address, kind, level, prefix, parent and size of each.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: rows have a wrong form.
    """
    kinds = {name: kind for kind, name in KINDS.items()}
    columns = zip(*rows, strict=True) if rows else ((),) * 6
    address, kind, level, prefix, parent, size = columns
    pages = MapPages(
        np.array([int(text, 16) for text in address], np.uint64),
        np.array([kinds[name] for name in kind], np.uint8),
        np.array(level, np.uint8),
        np.array(prefix, np.uint64),
        np.array(parent, np.int64),
        np.array(size, np.uint32),
    )
    if len(pages) and int(pages.size.max()) > geometry.page_size:
        raise ValueError("a page is larger than the page size")
    if len(pages) and not -1 <= int(pages.parent.min()) <= int(pages.parent.max()) < len(pages):
        raise ValueError("a parent is not a row of pages")
    return pages


def _chunk(given: Table, geometry: Geometry) -> Chunk:
    elements = rows(given["elements"], 2)
    native = f"{geometry.prefix}u8"
    array = np.zeros(len(elements), np.dtype([(name, native) for name in ELEMENT]))
    for number, name in enumerate(ELEMENT):
        array[name] = elements[:, number]
    address, following = given.integer("address"), given.integer("next")
    order, used = (given.integer(key, most=(1 << 32) - 1) for key in ("order", "num_elms"))
    return Chunk(address, following, order, used, array)
