"""The image model: a tree of values, each with its path, its type and the bytes it came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field
from khotool.abi.geometry import Geometry
from khotool.absent import Absent
from khotool.findings import Finding
from khotool.model.path import quote_key, quote_name

if TYPE_CHECKING:
    import numpy as np

    from khotool.abi.registry import Registry
    from khotool.maps.preserved import PreservedMap
    from khotool.memory.space import AddressSpace, SourceInfo
    from khotool.model.region import Region
    from khotool.pages.claims import ClaimsBuilder
    from khotool.pages.owners import Ownership


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


class Phase(StrEnum):
    """When the image was taken, as far as it shows."""

    LIVE = "live"
    FINALIZED = "finalized"
    FROZEN = "frozen"
    INCOMING = "incoming"
    CONSUMED = "consumed"
    UNKNOWN = "unknown"


class Role(StrEnum):
    """What a KHO root found in memory is to the kernel that the memory belongs to."""

    OUTGOING = "outgoing"
    INCOMING = "incoming"
    COPY = "copy"
    STALE = "stale"


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
        """Physical address behind the last byte."""
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
        placed = [f for p in self.compiled.fields for f in p.field.parts or (p.field,)]
        return placed if self.position is None else [*placed, self.position]

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
    note: str = ""
    free: int = 0
    reference: str = ""
    children: list[Node] = dataclasses.field(default_factory=list)

    def add(self, child: Node) -> Node:
        """Append a child and return it."""
        child.parent = self
        self.children.append(child)
        return child

    @property
    def path(self) -> str:
        """Absolute path, ``/`` for the image."""
        parts: list[str] = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            key = f"[{quote_key(node.key)}]" if node.key is not None else ""
            parts.append(f"/{quote_name(node.name)}{key}" if node.name else key)
            node = node.parent
        return "".join(reversed(parts)) or "/"

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

    def walk(self) -> Iterator[Node]:
        """This node and all below it, parents first."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))


@dataclass(slots=True)
class Root:
    """A KHO root found in the image.

    Args:
        address: physical address; None for a blob whose place is not captured.
        compatible: as stored.
        role: see Role.
        why: one sentence: how it was found, and why it has this role.
        selected: the model is built from this one.
        name: where in a debugfs copy it stands.
    """

    address: int | None
    compatible: str
    role: Role
    why: str
    selected: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen among several under one string.

    Args:
        definition: id of the definition, or the string that several definitions have.
        layout: what was chosen: a layout of the definition, or the id of one of the definitions.
        certain: nothing else fits as well.
        among: ``layout`` or ``format``.
    """

    definition: str
    layout: str
    why: str
    certain: bool
    among: str = "layout"


@dataclass(slots=True)
class Scratch:
    """Scratch areas: physical address and bytes of each, and how they were found."""

    areas: list[Span]
    why: str
    address: int | None = None


@dataclass(slots=True, eq=False)
class Image:
    """A decoded handover.

    Args:
        space: the captured memory.
        tree: root node of the model; its children are the fields and entries of the KHO root.
        map: preserved pages, or why they are absent.
        regions: every piece of metadata with its bytes' meaning; see ``region``.
        claims: which memory each owner holds.
        used: definitions that decoded something, in order of first use.
        anchors: bytes outside the handover that told where it is: boot data, scratch arrays,
            other roots.
    """

    info: SourceInfo
    space: AddressSpace
    registry: Registry
    geometry: Geometry
    tree: Node
    roots: list[Root]
    map: PreservedMap | Absent
    scratch: Scratch | Absent
    phase: Phase
    claims: ClaimsBuilder
    regions: list[Region] = dataclasses.field(default_factory=list)
    used: list[Definition] = dataclasses.field(default_factory=list)
    choices: list[Choice] = dataclasses.field(default_factory=list)
    findings: list[Finding] = dataclasses.field(default_factory=list)
    phase_why: str = ""
    anchors: list[Span] = dataclasses.field(default_factory=list)
    _ownership: Ownership | None = None

    @property
    def root(self) -> Root | None:
        """The root the model is built from."""
        return next((root for root in self.roots if root.selected), None)

    @property
    def entries(self) -> list[Node]:
        """Entries of the KHO root, in stored order."""
        return [node for node in self.tree.children if node.kind is NodeKind.ENTRY]

    def entry(self, name: str) -> Node | None:
        """The entry of this name."""
        return next((node for node in self.entries if node.name == name), None)

    def ownership(self) -> Ownership | None:
        """Who owns every preserved page; None where the map is absent. Computed once."""
        if self._ownership is None and not isinstance(self.map, Absent):
            from khotool.pages.owners import find_owners

            self._ownership = find_owners(self.map.blocks, self.claims.build())
        return self._ownership

    def owners_of(self, address: int) -> list[str]:
        """Paths of the owners of the page at a physical address; none where the map is absent.

        Looks at the one page: it costs one pass over the claims, unless all owners are known.
        """
        if isinstance(self.map, Absent) or not 0 <= address < 1 << 64:
            return []
        if self._ownership is not None:
            owners = self._ownership.owners
            return [owners[index] for index in self._ownership.owners_of(address)]
        shift = self.map.blocks.page_shift
        start, order = self.map.blocks.block_of(address) or (address, 0)
        claims = self.claims.build()
        first = start >> shift
        return [
            claims.owners[index] for index in claims.owners_of(first, first + (1 << order), shift)
        ]
