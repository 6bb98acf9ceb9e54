"""Memory that the rows of a table point to: folios, ranges, blocks that nothing describes."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.abi.definition import Field, Shape
from khotool.absent import Absent
from khotool.errors import InputError
from khotool.extract.plan import U64, Plan, merge, sum_of
from khotool.model.image import Image, Node, Table

MAX_ORDER = 36
"""Orders above this are larger than any physical memory."""
TOP = (1 << 64) - 1
MOST = 1 << 63
"""Bytes that one payload has at most."""
KINDS = {Shape.FOLIO: "folio", Shape.RANGE: "region", Shape.OPAQUE: "region"}


def table_plan(image: Image, node: Node, row: int | None = None) -> Plan | None:
    """The memory that a table's rows point to, one after the other; None if they do not.

    A pointer of 0 is no memory.

    Args:
        row: of this one row only.

    Raises:
        InputError: an order, or the sum of all lengths, is larger than any memory.
    """
    table = node.table
    columns = [] if table is None else table.pointers(*KINDS)
    if table is None or not columns:
        return None
    rows = slice(None) if row is None else slice(row, row + 1)
    path = node.path if row is None else f"{node.path}[{row}]"
    notes: list[str] = []
    addresses, lengths = [], []
    for field in columns:
        address = table.column(field.label, rows)
        if field.role == "pfn":
            address = address << np.uint64(image.geometry.page_shift)
        length = np.minimum(
            _lengths(image, table, field, address, rows, path, notes), np.uint64(TOP) - address
        )
        addresses.append(address)
        lengths.append(np.where(address == 0, np.uint64(0), length))
    address = np.stack(addresses, axis=1).ravel()
    length = np.stack(lengths, axis=1).ravel()
    size = sum_of(length)
    if size >= MOST:
        raise InputError(f"{image.info.path}: {path}: its rows name {size} bytes")
    offset = np.cumsum(length, dtype=np.uint64) - length
    assert columns[0].points_to is not None
    kind = KINDS[columns[0].points_to.shape]
    lost = table.declared - len(table) if row is None else 0
    return Plan(path, kind, size, *merge(offset, address, length), notes, max(lost, 0))


def _lengths(
    image: Image, table: Table, field: Field, address: U64, rows: slice, path: str, notes: list[str]
) -> U64:
    """Bytes that each pointer leads to: from a column of the table, else from the map."""
    reference = field.points_to
    assert reference is not None
    labels = {other.label for other in table.fields()}
    if reference.shape is Shape.RANGE:
        if reference.size in labels:
            return table.column(reference.size, rows)
        return np.zeros(len(address), np.uint64)
    page = np.uint64(image.geometry.page_size)
    if reference.order in labels:
        order = table.column(reference.order, rows)
        too_large = np.flatnonzero(order > np.uint64(MAX_ORDER))
        if len(too_large):
            wrong = int(order[too_large[0]])
            raise InputError(f"{image.info.path}: {path}: no folio has order {wrong}")
        sized: U64 = page << order
        return sized
    if isinstance(image.map, Absent):
        known: Any = np.zeros(len(address), bool)
        shift = np.zeros(len(address), np.uint64)
    else:
        start, found = image.map.blocks.blocks_of(address)
        known = (found >= 0) & (start == address)
        shift = np.where(known, found, 0).astype(np.uint64)
    unknown = int((~known & (address != 0)).sum())
    if unknown:
        notes.append(f"the map does not have the size of {unknown} folios; one page is taken")
    return page << shift
