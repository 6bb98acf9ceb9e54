"""A preserved-page map as JSON and back, the place of every page included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np

from khotool.abi.geometry import Geometry
from khotool.abi.record import fit_int
from khotool.document.json_input import address_of, number, take, word
from khotool.document.long import Long
from khotool.errors import EncodeError
from khotool.maps.preserved import Chunk, MapLayout, MapPages, PageKind, PreservedMap
from khotool.pages.blocks import Blocks

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
    return {
        "layout": found.layout,
        "blocks": Long(len(blocks), blocks.pieces, (True, False, False)).short(),
        "pages": [
            [hex(address), KINDS[PageKind(kind)], level, prefix, parent, size]
            for address, kind, level, prefix, parent, size in _zipped(
                pages.address, pages.kind, pages.level, pages.prefix, pages.parent, pages.size
            )
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


def _zipped(*columns: np.ndarray[Any, Any]) -> Iterator[tuple[Any, ...]]:
    """Rows of columns of one length, as plain numbers."""
    return zip(*(column.tolist() for column in columns), strict=True)


def map_from_json(data: dict[str, Any], where: str, geometry: Geometry) -> PreservedMap:
    """The inverse of ``map_to_json``.

    Raises:
        EncodeError: names the key that is wrong.
    """
    name = take(data, "layout", str, where)
    layout = next((known for known in LAYOUTS if known == name), None)
    if layout is None:
        raise EncodeError(
            f"{where}.layout", f"unknown layout {name!r}; expected one of {', '.join(LAYOUTS)}"
        )
    blocks = _rows(data, "blocks", 3, where)
    rows = take(data, "pages", list, where)
    try:
        made = Blocks.from_runs(
            np.array([row[0] for row in blocks], np.uint64),
            np.array([row[1] for row in blocks], np.uint64),
            np.array([row[2] for row in blocks], np.uint8),
            geometry.page_shift,
        )
        pages = _pages(rows, where, geometry)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise EncodeError(where, f"blocks or pages are not as dump writes them: {error}") from None
    chunks = [
        _chunk(item, f"{where}.chunks[{index}]", geometry)
        for index, item in enumerate(take(data, "chunks", list, where))
    ]
    return PreservedMap(
        layout=layout, blocks=made, pages=pages, problems=[], complete=True, chunks=chunks
    )


def _pages(rows: list[Any], where: str, geometry: Geometry) -> MapPages:
    """Pages of a map: address, kind, level, prefix, parent and size of each.

    Raises:
        KeyError, IndexError, TypeError, ValueError, OverflowError: rows have a wrong form.
    """
    kinds = {name: kind for kind, name in KINDS.items()}
    size = np.array([row[5] for row in rows], np.uint32)
    parent = np.array([row[4] for row in rows], np.int64)
    if len(size) and int(size.max()) > geometry.page_size:
        raise ValueError("a page is larger than the page size")
    if len(parent) and not -1 <= int(parent.min()) <= int(parent.max()) < len(parent):
        raise ValueError("a parent is not a row of pages")
    return MapPages(
        np.array([word(row[0], where) for row in rows], np.uint64),
        np.array([kinds[row[1]] for row in rows], np.uint8),
        np.array([row[2] for row in rows], np.uint8),
        np.array([row[3] for row in rows], np.uint64),
        parent,
        size,
    )


def _chunk(data: Any, where: str, geometry: Geometry) -> Chunk:
    elements = _rows(data, "elements", 2, where)
    native = f"{geometry.prefix}u8"
    array = np.zeros(len(elements), np.dtype([(ELEMENT[0], native), (ELEMENT[1], native)]))
    for index, (start, bitmap) in enumerate(elements):
        array[index] = (start, bitmap)
    order, used = (
        fit_int(number(data.get(key), f"{where}.{key}"), 4, False, f"{where}.{key}")
        for key in ("order", "num_elms")
    )
    return Chunk(
        address_of(data, where), word(data.get("next"), f"{where}.next"), order, used, array
    )


def _rows(data: Any, key: str, width: int, where: str) -> list[list[int]]:
    rows = []
    for index, row in enumerate(take(data, key, list, where)):
        here = f"{where}.{key}[{index}]"
        if not isinstance(row, list) or len(row) != width:
            raise EncodeError(here, f"expected {width} numbers")
        rows.append([word(value, here) for value in row])
    return rows
