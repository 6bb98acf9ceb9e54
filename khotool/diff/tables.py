"""Compare tables of records as columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.diff.changes import Change, ChangeKind
from khotool.diff.fields import ADDRESS_ROLES
from khotool.model.image import Node, Table

LISTED = 64
"""Rows of one column, or runs of rows, that are listed one by one."""
SHORT = 1 << 12
"""Rows of tables whose bytes are compared first."""
Array = np.ndarray[Any, Any]


def compare_tables(old: Node, new: Node, *, addresses: bool) -> tuple[list[Change], bool]:
    """Differences of two tables, rows aligned by page index where they have one.

    Returns:
        The changes, and whether the only difference is that one table is longer.
    """
    a, b = old.table, new.table
    assert a is not None
    assert b is not None
    if _same_bytes(a, b):
        return [], False
    key_a, key_b = _keys(a, b)
    aligned = np.array_equal(key_a, key_b)
    rows_a, rows_b = _common(key_a, key_b)
    changes: list[Change] = []
    roles_a, roles_b = _labels(a), _labels(b)
    for label, role in roles_a.items():
        if label in roles_b:
            left, right = a.column(label)[rows_a], b.column(label)[rows_b]
            differ = left != right
            if role in ADDRESS_ROLES and not addresses:
                # Whether there is a page at all does not depend on addresses.
                differ &= (left == 0) | (right == 0)
            changes += _column(old.path, label, role, rows_a, left, right, differ)
    if aligned:
        return changes, False
    gone, more = _others(len(a), rows_a), _others(len(b), rows_b)
    if len(rows_b) > 1 and bool((rows_b[1:] < rows_b[:-1]).any()):
        count = int((rows_b[1:] < rows_b[:-1]).sum())
        changes.append(Change(ChangeKind.MOVED, old.path, None, {"rows": count}))
    tail = not changes and (not len(gone) or not len(more)) and (len(gone) or len(more))
    common = len(rows_a)
    tail = bool(tail) and bool((gone >= common).all()) and bool((more >= common).all())
    changes += _runs(ChangeKind.REMOVED, old, gone, key_a)
    changes += _runs(ChangeKind.ADDED, new, more, key_b)
    return changes, tail


def _same_bytes(a: Table, b: Table) -> bool:
    """True if two short tables of one struct are equal, which most of an unchanged image are."""
    short = len(a) == len(b) <= SHORT and a.compiled is b.compiled and a.position is b.position
    return short and a.position is None and a.records.tobytes() == b.records.tobytes()


def _labels(table: Table) -> dict[str, str]:
    return {field.label: field.role for field in table.fields()}


def _keys(a: Table, b: Table) -> tuple[Array, Array]:
    """The keys that align rows: page indexes if they are distinct, else positions."""
    label = next((name for name, role in _labels(a).items() if role == "page-index"), None)
    if label is not None and label in _labels(b):
        left, right = a.column(label), b.column(label)
        if _distinct(left) and _distinct(right):
            return left, right
    return np.arange(len(a), dtype=np.uint64), np.arange(len(b), dtype=np.uint64)


def _distinct(values: Array) -> bool:
    if len(values) < 2 or bool((values[1:] > values[:-1]).all()):
        return True
    ordered = np.sort(values)
    return bool((ordered[1:] > ordered[:-1]).all())


def _common(a: Array, b: Array) -> tuple[Array, Array]:
    """Rows of the keys that both have, in the order of ``a``."""
    if np.array_equal(a, b):
        rows = np.arange(len(a))
        return rows, rows
    _, rows_a, rows_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    order = np.argsort(rows_a, kind="stable")
    return rows_a[order], rows_b[order]


def _others(count: int, rows: Array) -> Array:
    missing = np.ones(count, np.bool_)
    missing[rows] = False
    return np.flatnonzero(missing)


def _column(
    path: str, label: str, role: str, rows: Array, left: Array, right: Array, differ: Array
) -> list[Change]:
    differ = np.flatnonzero(differ)
    as_text = hex if role in ADDRESS_ROLES else str
    changes = []
    for at in differ[:LISTED].tolist():
        old, new = int(left[at]), int(right[at])
        where = f"{path}[{int(rows[at])}]/{label}"
        text = (as_text(old), as_text(new))
        values: tuple[Any, Any] = text if role == "address" else (old, new)
        changes.append(Change(ChangeKind.CHANGED, where, *values, text))
    if len(differ) > LISTED:
        rest = {"rows": len(differ) - LISTED, "field": label}
        changes.append(Change(ChangeKind.CHANGED, path, None, rest, ("", _rows_text(rest))))
    return changes


def _runs(kind: ChangeKind, node: Node, rows: Array, keys: Array) -> list[Change]:
    """Neighbouring rows as one change."""
    if not len(rows):
        return []
    first = np.flatnonzero(np.append(True, rows[1:] != rows[:-1] + 1))
    last = np.append(first[1:], len(rows))
    changes = []
    for low, high in zip(first[:LISTED].tolist(), last[:LISTED].tolist(), strict=True):
        at = int(rows[low])
        value = {"rows": high - low, "index": int(keys[at])}
        changes.append(_row_change(kind, f"{node.path}[{at}]", value))
    if len(first) > LISTED:
        value = {"rows": len(rows) - int(last[LISTED - 1])}
        changes.append(_row_change(kind, node.path, value))
    return changes


def _row_change(kind: ChangeKind, path: str, value: dict[str, int]) -> Change:
    text = _rows_text(value)
    if kind is ChangeKind.ADDED:
        return Change(kind, path, None, value, ("", text))
    return Change(kind, path, value, None, (text, ""))


def _rows_text(value: dict[str, Any]) -> str:
    more = f" with a different {value['field']}" if "field" in value else ""
    at = f" from index {value['index']}" if "index" in value else ""
    return f"{value['rows']} {'row' if value['rows'] == 1 else 'rows'}{at}{more}"
