"""Places of the model: a node, a row of its table, or a field of that row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.errors import UsageError
from khotool.model.image import Node, NodeKind, Span, Table
from khotool.model.path import parse_path
from khotool.records import dataclass

if TYPE_CHECKING:
    from khotool.abi.compile import PlacedField
    from khotool.abi.definition import Field


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the model.

    Args:
        node: the node; that of the table for a row.
        row: index of a row of the node's table, -1 for the node itself.
        label: label of a field of that row, empty for the whole row.
    """

    node: Node
    row: int = -1
    label: str = ""

    def __repr__(self) -> str:
        return f"Place({self.path!r})"

    @property
    def path(self) -> str:
        """Path as ``dump`` prints it."""
        path = self.node.path
        if self.row >= 0:
            path = f"{path}[{self.row}]"
        return f"{path}/{self.label}" if self.label else path

    @property
    def table(self) -> Table | None:
        """The table, where the place is a row or a field of one."""
        return self.node.table if self.row >= 0 else None

    @property
    def parent(self) -> Place | None:
        """The place that holds this one; None for the image."""
        if self.label:
            return Place(self.node, self.row)
        if self.row >= 0:
            return Place(self.node)
        return None if self.node.parent is None else Place(self.node.parent)

    @property
    def field(self) -> Field | None:
        """Definition of the value."""
        if not self.label:
            return None if self.row >= 0 else self.node.field
        placed = self.placed
        if placed is None:
            table = self.table
            return table.position if table is not None else None
        for part in placed.field.parts:
            if part.label == self.label:
                return part
        return placed.field

    @property
    def placed(self) -> PlacedField | None:
        """Place of a row's field in its record; None for its place in the array."""
        table = self.table
        if table is None or not self.label or is_position(table, self.label):
            return None
        return table.compiled.by_label(self.label)

    @property
    def value(self) -> Any:
        """The value as the model holds it: number, text, bytes, list, Absent or None."""
        if not self.label:
            return None if self.row >= 0 else self.node.value
        table = self.table
        assert table is not None
        return table.row(self.row)[self.label]

    @property
    def struct(self) -> str:
        """C struct of what is below the place, empty where there is none."""
        if self.row >= 0:
            assert self.node.table is not None
            return "" if self.label else self.node.table.compiled.struct.name
        return self.node.struct


class TableSpans:
    """Where the rows of a table are; the lookup does not grow with the pieces of the array."""

    def __init__(self, table: Table) -> None:
        """Index the pieces of an array."""
        self.table = table
        self.step = max(table.compiled.size, 1)
        extents = table.extents.astype(np.uint64).reshape(-1, 2)
        self._ends = np.cumsum(extents[:, 1], dtype=np.uint64)
        self._begins = self._ends - extents[:, 1]
        self._starts = extents[:, 0]
        self._sizes = extents[:, 1]
        self._order = np.argsort(self._starts, kind="stable")

    def span(self, row: int, label: str = "") -> Span:
        """Where a row, or a field of it, starts, and its size in bytes.

        Raises:
            IndexError: no such row.
        """
        offset, size = row * self.step, self.table.compiled.size
        if label and not is_position(self.table, label):
            placed = self.table.compiled.by_label(label)
            offset, size = offset + placed.offset, placed.size
        piece = int(np.searchsorted(self._ends, np.uint64(offset), side="right"))
        if row < 0 or piece >= len(self._ends):
            raise IndexError(row)
        return Span(int(self._starts[piece]) + offset - int(self._begins[piece]), size)

    def find(self, address: int) -> tuple[int, int] | None:
        """Row at a physical address and the offset in it, both from 0; None outside the array."""
        if not len(self._order) or address < 0:
            return None
        starts = self._starts[self._order]
        at = int(np.searchsorted(starts, np.uint64(address), side="right")) - 1
        if at < 0:
            return None
        piece = int(self._order[at])
        inside = address - int(self._starts[piece])
        if inside >= int(self._sizes[piece]):
            return None
        row, offset = divmod(int(self._begins[piece]) + inside, self.step)
        return (row, offset) if row < len(self.table) else None


def labels_of(table: Table) -> list[str]:
    """Labels of the values of one row, in stored order."""
    return [field.label for field in table.fields()]


def is_position(table: Table, label: str) -> bool:
    """True for the value of a row that is its position in a sparse array."""
    return table.position is not None and table.position.label == label


def label_at(table: Table, offset: int) -> str:
    """Label of the first field that covers a byte of a record; empty in a gap."""
    for placed in table.compiled.fields:
        if placed.offset <= offset < placed.offset + placed.size:
            return (placed.field.parts or (placed.field,))[0].label
    return ""


def _follow(tree: Node, path: str) -> tuple[Place, bool]:
    """The deepest place on the way to a path, and whether the path ends there.

    A key that no element has is read as the number of a row or of an element.
    """
    place = best = Place(tree)
    try:
        steps = parse_path(path)
    except UsageError:
        return best, False
    for step in steps:
        found = _child(place, step.text, step.is_key)
        if found is None:
            return best, False
        place = found
        if not isinstance(place.node, _Named):
            best = place
    return best, best is place


def resolve(tree: Node, path: str) -> Place | None:
    """The place that a path names; None for no such place, or a path that is not well formed."""
    place, whole = _follow(tree, path)
    return place if whole else None


def nearest(tree: Node, path: str) -> Place:
    """The deepest place on the way to a path."""
    return _follow(tree, path)[0]


def _child(place: Place, text: str, is_key: bool) -> Place | None:
    node = place.node
    if place.row >= 0:
        labels = labels_of(node.table) if node.table is not None and not is_key else []
        return Place(node, place.row, text) if text in labels and not place.label else None
    if is_key:
        return _element(node, text)
    plain = next((c for c in node.children if c.key is None and c.name == text), None)
    if plain is not None:
        return Place(plain)
    # ``blocks[0]``: the name is the list's, the key comes with the next step.
    if any(c.key is not None and c.name == text for c in node.children):
        return Place(_Named(text, node))
    return None


def _element(node: Node, key: str) -> Place | None:
    name = ""
    if isinstance(node, _Named):
        name, node = node.name, node.holder
    elements = [c for c in node.children if c.key is not None and c.name == name]
    for child in elements:
        if child.key == key:
            return Place(child)
    try:
        number = int(key, 0)
    except ValueError:
        return None
    if not name and node.table is not None and 0 <= number < len(node.table):
        return Place(node, number)
    if 0 <= number < len(elements):
        return Place(elements[number])
    return None


class _Named(Node):
    """Stands for the elements of one name between two steps of a path."""

    __slots__ = ("holder",)

    def __init__(self, name: str, holder: Node) -> None:
        super().__init__(name, NodeKind.LIST, parent=holder)
        self.holder = holder


def span_of(place: Place, spans: TableSpans | None = None) -> Span | None:
    """Bytes that hold a place; of a group without bytes of its own, those of its first child.

    Args:
        spans: index of the node's table, where the place is a row.
    """
    if place.row >= 0 and place.node.table is not None:
        return (spans or TableSpans(place.node.table)).span(place.row, place.label)
    node: Node | None = place.node
    for _ in range(64):
        if node is None or node.span is not None:
            break
        node = node.children[0] if node.children else None
    return None if node is None else node.span


def group_span(place: Place, spans: TableSpans | None = None) -> Span | None:
    """Bytes of the record that a place is part of."""
    if place.row >= 0:
        return span_of(Place(place.node, place.row), spans)
    node = place.node
    if node.kind is NodeKind.RECORD:
        return node.span
    above, own = node.parent, node.span
    if own is None:
        return None
    while above is not None:
        for around in (above.target, above.span):
            if around is not None and around.size > own.size:
                inside = around.address <= own.address and own.end <= around.end
                if inside:
                    return around
        above = above.parent if above.span is None else None
    return None
