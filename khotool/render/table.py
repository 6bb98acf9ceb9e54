"""An array of records in a few words: how many, which orders, which span, which flags."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from khotool.abi.definition import Field, Shape
from khotool.maps.preserved import PreservedMap
from khotool.model.image import Image, Node, Table
from khotool.render.lines import Segment
from khotool.render.text import plural
from khotool.view.notation import flag_names

MAX_ORDERS = 6
FEW = 64
"""Orders that are counted one by one."""


def table_segments(image: Image, node: Node) -> list[Segment]:
    """Summary of the table of ``node``."""
    table = node.table
    if table is None:
        return []
    count = plural(len(table), "record")
    if table.declared != len(table):
        count = f"{len(table)} of {plural(table.declared, 'record')} captured"
    parts: list[Segment] = [(count, "number")]
    if len(table):
        fields = table.pointers_first()
        by_order = {f.points_to.order for f in fields if f.points_to is not None}
        for field in fields:
            text = column_text(image, table, field)
            if text and field.label not in by_order:
                parts.append((f"  {text}", ""))
    return parts


def column_text(image: Image, table: Table, field: Field) -> str:
    """What one column holds, by its role; empty for a role that has no summary."""
    if field.points_to is not None and field.points_to.shape is Shape.FOLIO:
        return folios_text(image, table, field)
    if field.role == "page-index":
        column = table.column(field.label)
        low, high = int(column.min()), int(column.max())
        return f"{field.label} {low}" if low == high else f"{field.label} {low}-{high}"
    if field.flags:
        return flags_summary(table.column(field.label), field)
    return ""


def folios_text(image: Image, table: Table, field: Field) -> str:
    """Orders of the folios that a column names: as the records say, else as the map says."""
    reference = field.points_to
    assert reference is not None
    column = table.column(field.label)
    used = column != 0
    null = column.size - np.count_nonzero(used)
    orders: Any
    if reference.order:
        orders = table.column(reference.order)[used].astype(np.int64)
    elif isinstance(image.map, PreservedMap):
        addresses = column[used]
        if field.role == "pfn":
            addresses = addresses << np.uint64(image.geometry.page_shift)
        _, orders = image.map.blocks.blocks_of(addresses)
    else:
        return f"{null} empty" if null else ""
    words = [
        "not preserved" + f" x {count}" if order < 0 else f"order {order} x {count}"
        for order, count in _counted(orders)
    ]
    if len(words) > MAX_ORDERS:
        words[MAX_ORDERS:] = [f"{len(words) - MAX_ORDERS} more orders"]
    if null:
        words.append(f"{null} empty")
    return ", ".join(words)


def _counted(orders: Any) -> list[tuple[int, int]]:
    """Every order and how often it is there, ascending."""
    if orders.size <= FEW:
        return sorted(Counter(orders.tolist()).items())
    values, counts = np.unique(orders, return_counts=True)
    return list(zip(values.tolist(), counts.tolist(), strict=True))


def flags_summary(column: Any, field: Field) -> str:
    """Flags that all rows have, and of the others how many rows have them."""
    every = int(np.bitwise_and.reduce(column))
    some = int(np.bitwise_or.reduce(column)) & ~every
    parts = [flag_names(every, field.flags)] if every or not some else []
    for bit in range(some.bit_length()):
        if some >> bit & 1:
            count = int(np.count_nonzero(column & np.uint64(1 << bit)))
            parts.append(f"{flag_names(1 << bit, field.flags)} on {count}")
    return f"{field.label} {', '.join(parts)}"
