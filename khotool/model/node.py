"""Nodes of the model: values, each with its path, its type and the bytes it came from."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from khotool import records
from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Field, Shape
from khotool.absent import Absent
from khotool.model.path import quote_key, quote_name
from khotool.records import dataclass

if TYPE_CHECKING:
    import numpy as np


class NodeKind(StrEnum):
    """What a node of the model is."""

    IMAGE = "image"
    ENTRY = "entry"
    FDT_NODE = "fdt-node"
    RECORD = "record"
    VALUE = "value"
    LIST = "list"
    TABLE = "table"
    RAW = "raw"


class NodeState(StrEnum):
    """What is special about how a node was read; most nodes have none."""

    UNKNOWN_FORMAT = "unknown-format"
    """Nothing describes the bytes."""
    UNKNOWN_HANDLER = "unknown-handler"
    """Nothing describes what a handle of this handler is."""
    PARTLY_CAPTURED = "partly-captured"
    """Some of its records are not in the capture."""
    RECOVERED_NAME = "recovered-name"
    """A property whose name is lost, named by its place in the tree."""
    BY_FIRST_PART = "by-first-part"
    """Read by the first part of a string whose other parts nothing describes."""
    SALVAGED = "salvaged"
    """Its own record is gone; what it led to was found by its shape."""
    OUTSIDE_ROOT = "outside-root"
    """Known by its name alone: the part of the root that names it is not captured."""

    @property
    def is_unknown(self) -> bool:
        """True where memory may be held that is not known."""
        return self in (NodeState.UNKNOWN_FORMAT, NodeState.UNKNOWN_HANDLER)


REMARKS = {
    NodeState.UNKNOWN_FORMAT: "unknown format",
    NodeState.UNKNOWN_HANDLER: "unknown handler",
    NodeState.RECOVERED_NAME: "name recovered from its place in the tree",
    NodeState.SALVAGED: "its record was reused; these lists were found by their shape",
    NodeState.OUTSIDE_ROOT: "not in the part of the root that is here",
}
"""What is said of a state that needs no numbers."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of the image.

    Args:
        address: physical address in bytes; see ``UNPLACED`` for a blob whose place is unknown.
        size: bytes.
    """

    address: int
    size: int

    @property
    def end(self) -> int:
        """Physical address after the last byte."""
        return self.address + self.size


UNPLACED = 1 << 63
"""From here up addresses are invented for blobs whose physical address is not captured."""


@dataclass(slots=True, eq=False)
class Table:
    """An array of records that stays one numpy array.

    Args:
        compiled: struct of one record.
        records: structured ndarray (n,) of ``compiled.dtype``, in the image's byte order.
        extents: ndarray (m, 2) uint64, physical address and bytes of the pieces of memory that
            hold the array, in order.
        declared: records the image says there are; more than ``len(records)`` if some are not
            captured.
        position: what the place of a record in a sparse array says; None for records that say
            all themselves.
        positions: uint64 (n,), its values.
    """

    compiled: CompiledStruct
    records: np.ndarray[Any, Any]
    extents: np.ndarray[Any, Any]
    declared: int
    position: Field | None = None
    positions: np.ndarray[Any, Any] | None = None

    def __len__(self) -> int:
        return len(self.records)

    def fields(self) -> list[Field]:
        """Fields of a row: those of the struct, parts of words among them, and the position."""
        return [*self.compiled.leaves, *([] if self.position is None else [self.position])]

    def pointers(self, *shapes: Shape) -> list[Field]:
        """Fields of a row that lead to one of some shapes."""
        return [field for field in self.fields() if leads_to(field, *shapes)]

    def pointers_first(self) -> list[Field]:
        """The fields of a row, pointers first."""
        return sorted(self.fields(), key=lambda field: field.points_to is None)

    def column(self, label: str, rows: slice = slice(None)) -> np.ndarray[Any, Any]:
        """One column, (n,) uint64 in host byte order, or the part of it that ``rows`` are."""
        from khotool.abi.record import column

        position = self.position
        if position is not None and self.positions is not None and label == position.label:
            return self.positions[rows]
        values: np.ndarray[Any, Any] = column(self.compiled, self.records[rows], label)
        return values

    def row(self, index: int) -> dict[str, Any]:
        """Values of one record by label."""
        from khotool.abi.record import decode_record

        values = decode_record(self.compiled, self.records[index].tobytes())
        if self.position is not None and self.positions is not None:
            values[self.position.label] = int(self.positions[index])
        return values

    def span(self, index: int) -> Span:
        """Where a record starts, and its size; a record that straddles pieces starts here."""
        offset = index * self.compiled.size
        for address, size in self.extents.tolist():
            if offset < size:
                return Span(address + offset, self.compiled.size)
            offset -= size
        raise IndexError(index)


@dataclass(slots=True, eq=False)
class Node:
    """One value or group of values.

    Args:
        name: component of the path; empty for an element of a list.
        kind: what it is.
        key: key of a list element, shown in brackets.
        field: definition of the value.
        value: number, text, bytes, Absent, or None for a group.
        span: bytes that hold the value (of a pointer: the pointer), or the whole group.
        target: where a pointer leads; None for a literal, an empty list, or an unknown handle.
        format: id of the definition that the node and its children follow.
        struct: C struct of the children, where they are fields of one.
        table: rows of a TABLE node.
        free: records of a LIST node that are not used, and no elements of it.
        reference: path of the node that the value names: a file by its token, a record by its
            address; empty where it names none.
        state: what is special about how it was read.
        remark: the same as words, with numbers; empty for the usual words of its state.
        annotation: what a handler of its format says of it; untrusted text.
    """

    name: str
    kind: NodeKind
    parent: Node | None = None
    key: str | None = None
    field: Field | None = None
    value: Any = None
    span: Span | None = None
    target: Span | None = None
    format: str = ""
    struct: str = ""
    layout: str = ""
    table: Table | None = None
    free: int = 0
    reference: str = ""
    state: NodeState | None = None
    remark: str = ""
    annotation: str = ""
    children: list[Node] = records.field(default_factory=list)
    _known_path: str = records.field(default="", init=False, repr=False)

    def add(self, child: Node) -> Node:
        """Append a child and return it."""
        child.parent = self
        self.children.append(child)
        return child

    @property
    def note(self) -> str:
        """All that is said of the node beside its value; for people, never to be compared."""
        said = self.remark or (REMARKS.get(self.state, "") if self.state is not None else "")
        return f"{said}; {self.annotation}" if said and self.annotation else said or self.annotation

    @property
    def path(self) -> str:
        """Absolute path, ``/`` for the image."""
        return self._known_path or self._joined_path() or "/"

    def _joined_path(self) -> str:
        above = self.parent
        if above is None:
            return ""
        key = f"[{quote_key(self.key)}]" if self.key is not None else ""
        own = f"/{quote_name(self.name)}{key}" if self.name else key
        path = (above._known_path or above._joined_path()) + own
        # A node has its name and key before it is added, so that its path stays; that of a node
        # in a tree of its own does not.
        if self.children and (above._known_path or above.kind is NodeKind.IMAGE):
            self._known_path = path
        return path

    def get(self, name: str) -> Node | None:
        """First child of this name."""
        for child in self.children:
            if child.key is None and child.name == name:
                return child
        return None

    def value_of(self, name: str) -> Any:
        """Value of the child of this name; None without such a child or if it is absent."""
        child = self.get(name)
        return None if child is None or isinstance(child.value, Absent) else child.value

    def elements(self) -> list[Node]:
        """Children that are elements of a list, in stored order."""
        return [child for child in self.children if child.key is not None and not child.name]

    def elements_of(self, name: str) -> list[Node]:
        """Elements of the child list of this name, in stored order; none without such a list."""
        child = self.get(name)
        return child.elements() if child is not None else []

    @property
    def is_leaf(self) -> bool:
        """True for a single value without children."""
        return self.kind in (NodeKind.VALUE, NodeKind.RAW) and not self.children

    def walk(self) -> Iterator[Node]:
        """This node and all below it, parents first."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))


def leads_to(field: Field | None, *shapes: Shape) -> bool:
    """True for a pointer to one of some shapes."""
    return field is not None and field.points_to is not None and field.points_to.shape in shapes


def entries_of(tree: Node) -> list[Node]:
    """Entries of a KHO root, in stored order.

    Args:
        tree: root node of the model.
    """
    return [node for node in tree.children if node.kind is NodeKind.ENTRY]
