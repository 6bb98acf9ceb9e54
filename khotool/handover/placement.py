"""Where things are put: what later parts of a handover refer to by place.

A reference can come before what it refers to, so that a handover with references is laid out
again with the places of the layout before, until nothing moves. That is the second time,
or the third where how much is mapped decides how many page tables there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.errors import EncodeError
from khotool.handover.values import Array, Handle, Handover, Link, Moved, PageTables, Rows
from khotool.records import dataclass, field


@dataclass(slots=True)
class Places:
    """Places of one layout.

    Args:
        kept: something refers to a place, so that places are kept.
        known: places of the layout before; None in the first.
        records: physical address of each record of a list, or of a pointer, by its path.
        tables: physical addresses and bytes, uint64 (n,), of what each table's rows point to.
    """

    kept: bool = False
    known: Places | None = None
    records: dict[str, int] = field(default_factory=dict)
    tables: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    _moves: list[tuple[Array, Array, Array]] = field(default_factory=list)
    _sorted: tuple[Array, Array, Array] | None = None

    def record(self, link: Link, path: str) -> int:
        """Physical address of a record, 0 while it is not known yet.

        Raises:
            EncodeError: there is no such record.
        """
        if self.known is None:
            return 0
        try:
            return self.known.records[link.path]
        except KeyError:
            raise EncodeError(path, f"{link.path!r} is not a record") from None

    def keep(self, path: str, address: int) -> None:
        """Note the physical address of the record of a pointer."""
        if self.kept:
            self.records[path] = address

    def table(self, name: str, path: str) -> tuple[Array, Array]:
        """Addresses and bytes, uint64 (n,), of the memory of a table's rows; empty at first.

        Raises:
            EncodeError: there is no such table.
        """
        if self.known is None:
            return np.empty(0, np.uint64), np.empty(0, np.uint64)
        try:
            return self.known.tables[name]
        except KeyError:
            raise EncodeError(path, f"{name!r} is not a table that points to memory") from None

    def move(self, old: Array, new: Array, sizes: Array) -> None:
        """Note that blocks, uint64 (n,) each, moved from old addresses to new ones."""
        if self.kept:
            self._moves.append((old, new, sizes))

    def fill(self, path: str, addresses: Array, sizes: Array) -> None:
        """Note where the memory of a table's rows is: physical addresses and bytes, uint64 (n,)."""
        if self.kept:
            self.tables[path] = addresses, sizes

    def moved(self, addresses: Array) -> Array:
        """New addresses, uint64 (n,), of bytes that moved; of all others the old ones."""
        if self.known is None or not self.known._moves:
            return addresses
        old, new, sizes = self.known._columns()
        row = np.searchsorted(old, addresses, side="right").astype(np.int64) - 1
        safe = np.maximum(row, 0)
        inside = (row >= 0) & (addresses - old[safe] < sizes[safe])
        result: Any = np.where(inside, addresses - old[safe] + new[safe], addresses)
        return np.asarray(result, np.uint64)

    def same_as(self, other: Places | None) -> bool:
        """True if everything that can be referred to is where it was."""
        return (
            other is not None
            and self.records == other.records
            and self.tables.keys() == other.tables.keys()
            and all(
                np.array_equal(starts, other.tables[name][0])
                for name, (starts, _) in self.tables.items()
            )
            and len(self._moves) == len(other._moves)
            and all(
                np.array_equal(mine[1], its[1])
                for mine, its in zip(self._moves, other._moves, strict=True)
            )
        )

    def _columns(self) -> tuple[Array, Array, Array]:
        if self._sorted is None:
            old, new, sizes = (np.concatenate(part) for part in zip(*self._moves, strict=True))
            order = np.argsort(old, kind="stable")
            self._sorted = old[order], new[order], sizes[order]
        return self._sorted


def has_references(handover: Handover) -> bool:
    """True if anything in a handover refers to the place of something else."""
    stack: list[object] = [entry.values for entry in handover.entries]
    while stack:
        value = stack.pop()
        if isinstance(value, Link | Moved | PageTables):
            return True
        if isinstance(value, Rows) and value.links:
            return True
        if isinstance(value, Handle):
            stack.append(value.values)
        elif isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
    return False
