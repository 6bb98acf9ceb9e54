"""Records and tables of any format: fields by name, columns as numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from khotool.absent import Absent
from khotool.model.image import Node, NodeKind, Table
from khotool.records import dataclass
from khotool.view.keyed import Keyed, OfNode, absent_of, keyed

Value: TypeAlias = (
    "int | str | bytes | list[int] | Record | Rows | Keyed[str, Record] | Absent | None"
)
"""What a field can hold; None for a value that only its place in a list implies."""


@dataclass(frozen=True, repr=False)
class Record(OfNode):
    """A record, a node of a device tree, or what a pointer leads to: fields by name."""

    @property
    def format(self) -> str:
        """Id of the definition that the fields follow, such as ``memfd-v2``; empty for none."""
        return self.node.format

    @property
    def address(self) -> int | None:
        """Physical address in bytes of the first byte; None without memory of its own."""
        node = self.node
        span = node.target if node.target is not None else node.span
        return None if span is None else span.address

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields, in stored order."""
        return tuple(child.name for child in self.node.children if _is_field(child))

    def __contains__(self, name: object) -> bool:
        return any(_is_field(child) and child.name == name for child in self.node.children)

    def __getitem__(self, name: str) -> Value:
        """The value of a field.

        Raises:
            KeyError: the format has no such field; names those it has.
        """
        child = self.node.get(name)
        if child is None:
            raise KeyError(f"{self.path} has no {name!r}; it has {', '.join(self.names) or 'none'}")
        return value_of(child)

    def get(self, name: str) -> Value:
        """The value of a field; None where the format has no such field."""
        child = self.node.get(name)
        return None if child is None else value_of(child)

    def items(self) -> Iterator[tuple[str, Value]]:
        """Names and values of all fields, in stored order."""
        for child in self.node.children:
            if _is_field(child):
                yield child.name, value_of(child)

    def number(self, name: str) -> int | Absent | None:
        """A number, or the address in a pointer; None where the format has no such field."""
        return number_in(self.node, name)

    def text(self, name: str) -> str | Absent | None:
        """A string; None where the format has no such field."""
        return text_in(self.node, name)


@dataclass(frozen=True, repr=False)
class Rows(OfNode):
    """A table of records, which stays numpy arrays however long it is."""

    @property
    def table(self) -> Table:
        """The table of the model."""
        assert self.node.table is not None
        return self.node.table

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(field.label for field in self.table.fields())

    @property
    def declared(self) -> int:
        """Rows by the count in the image; more than ``len`` where some are not captured."""
        return self.table.declared

    @property
    def absent(self) -> Absent | None:
        """Why the table could not be read; None if it could."""
        return absent_of(self.node)

    def __len__(self) -> int:
        """How many rows were read."""
        return len(self.table)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """The values of one row by column."""
        return self.table.row(row)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def column(self, name: str) -> NDArray[np.uint64]:
        """One column: uint64 (rows,), in the byte order of this machine.

        Raises:
            KeyError: there is no such column; names the columns.
        """
        if name not in self.names:
            raise KeyError(f"{self.path} has no column {name!r}; it has {', '.join(self.names)}")
        return self.table.column(name)

    def columns(self) -> dict[str, NDArray[np.uint64]]:
        """All columns by name, each uint64 (rows,)."""
        return {name: self.table.column(name) for name in self.names}


def value_of(node: Node) -> Value:
    """What a node of the model holds."""
    if (gone := absent_of(node)) is not None:
        return gone
    if node.table is not None:
        return Rows(node)
    if node.kind is NodeKind.LIST:
        return keyed("element", node, Record, lambda record: record.node.key or "")
    if node.children or node.kind in (NodeKind.RECORD, NodeKind.FDT_NODE, NodeKind.ENTRY):
        return Record(node)
    value: Value = node.value
    return value


def number_in(node: Node, name: str) -> int | Absent | None:
    """The number in a field of a node; None where the format has no such field."""
    child = node.get(name)
    if child is None or not isinstance(child.value, int | Absent):
        return None
    return child.value


def text_in(node: Node, name: str) -> str | Absent | None:
    """The string in a field of a node; None where the format has no such field."""
    child = node.get(name)
    if child is None or not isinstance(child.value, str | Absent):
        return None
    return child.value


def _is_field(child: Node) -> bool:
    """True for a value by its own name: no element of a list, no place where one is missing."""
    return child.key is None and bool(child.name) and not _is_marker(child)


def _is_marker(child: Node) -> bool:
    return child.name == "target" and child.field is None and isinstance(child.value, Absent)
