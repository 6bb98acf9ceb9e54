"""Files whose contents are folios: size, position, seals, and the folios themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.abi.definition import Definition, leaf_fields
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.handover.labels import content_labels
from khotool.handover.values import Payload, Rows
from khotool.manifest.contents import contents_from, file_contents
from khotool.manifest.making import Making
from khotool.manifest.notation import read_number
from khotool.structured import Table

MEMORY = ("size", "pos", "seals", "contents", "folio", "holes")
"""Keys of a file whose contents are folios."""
FOLIO_FLAGS = 3
"""The kernel marks every folio dirty and up to date."""
HUGE_ORDER = {4096: 9, 16384: 11, 65536: 13}
"""Page order of a huge page of the page middle directory."""
MAX_ORDER = 18
"""Page order of a folio at most."""


def read_memory_file(
    registry: Registry, definition: Definition, geometry: Geometry, making: Making, table: Table
) -> dict[str, Any]:
    """Values of a file whose format has a table of folios.

    Args:
        making: what the manifest may read and have made.
    """
    page = geometry.page_size
    read, size = contents_from(table, making, table.optional_integer("size", sizes=True), page)
    values: dict[str, Any] = {"pos": table.integer("pos", 0, sizes=True), "size": size}
    if "seals" in table:
        values["seals"] = _seals(registry, definition, table)
    pages, order = -(-size // page), _order(table, page)
    given = table.get("size") or table.get("contents")
    folios = (pages >> order) + pages % (1 << order)
    if given is not None and not making.spend(given, rows=folios):
        pages = 0
    orders, index = folio_layout(pages, order)
    if "holes" in table:
        orders, index = _without_holes(table, orders, index)
    columns = {"index": index}
    if "flags" in folio_labels(registry, definition):
        columns = {"flags": np.full(len(index), FOLIO_FLAGS, np.uint64), "index": index}
    contents = file_contents(read, index * np.uint64(page), size, page) if read else None
    values["folios"] = Rows(columns, Payload(np.uint64(page) << orders, contents))
    return values


def _order(table: Table, page: int) -> int:
    """Page order of the large folios of a file."""
    given = table.get("folio")
    if given is None or given.raw == "small":
        return 0
    if given.raw == "huge":
        return HUGE_ORDER[page]
    if type(given.raw) is int and 0 <= given.raw <= MAX_ORDER:
        return given.raw
    given.mistake(f"expected 'small', 'huge' or a page order up to {MAX_ORDER}")
    return 0


def _seals(registry: Registry, definition: Definition, table: Table) -> int:
    """Seals as a number or as a list of F_SEAL_ names."""
    if "seals" not in content_labels(registry, definition):
        table["seals"].mistake(f"{definition.id} does not carry seals")
        return 0
    fields = leaf_fields(definition.structs[definition.content].fields)
    field = next(field for field in fields if field.label == "seals")
    return read_number(field, table["seals"])


def _without_holes(table: Table, orders: Any, index: Any) -> tuple[Any, Any]:
    """Leave out folios whose page index is in a hole: a list of [first, pages]."""
    keep = np.ones(len(index), bool)
    for pair in table["holes"].items():
        if not isinstance(pair.raw, list) or len(pair.raw) != 2:
            pair.mistake("expected [first page, pages]")
            continue
        first, pages = (item.integer(sizes=True) for item in pair.items())
        if first + pages >= 1 << 64:
            pair.mistake(f"{first} and {pages} are not a range of pages")
            continue
        keep &= (index < np.uint64(first)) | (index >= np.uint64(first + pages))
    return orders[keep], index[keep]


def folio_labels(registry: Registry, definition: Definition) -> list[str]:
    """Labels of the values of a row of the table of folios that a definition's content has."""
    if definition.fdt is not None:
        fields = definition.fdt.properties
    else:
        fields = definition.structs[definition.content].fields
    for field in fields:
        name = field.type.struct if field.type is not None else ""
        name = field.holds.of if field.holds is not None else name
        if field.label == "folios" and name:
            owner = registry.owner_of_struct(definition, name)
            return [inner.label for inner in leaf_fields(owner.structs[name].fields)]
    return []


def folio_layout(pages: int, order: int) -> tuple[Any, Any]:
    """Orders and page indexes of the folios of a file: large ones first, then single pages."""
    large = pages >> order
    rest = pages - (large << order)
    index = np.concatenate(
        [
            np.arange(large, dtype=np.uint64) << np.uint64(order),
            np.uint64(large << order) + np.arange(rest, dtype=np.uint64),
        ]
    )
    orders = np.zeros(len(index), np.uint64)
    orders[:large] = order
    return orders, index
