"""What codecs are given in each direction: a walk to write nodes with, and the encode side's own.

Every direction's context is defined here or below, so that codecs import nothing above them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import AbiSet, Definition, Field, Reference
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.codec.walk import Walk
from khotool.handover.placement import Places
from khotool.handover.values import Array, Buffer, Contents, Link, Payload, Rows
from khotool.structured import Table, Value

if TYPE_CHECKING:
    from khotool.model.image import Node
    from khotool.pages.blocks import Blocks

__all__ = ["Builder", "Lifter", "Reader", "Walk"]

# -- bytes to nodes: khotool.codec.walk ---------------------------------------------------


class Lifter(Protocol):
    """Lifts the values of one decoded image off their addresses."""

    geometry: Geometry
    registry: Registry

    def fields(self, node: Node) -> dict[str, Any]:
        """Values of the children of a node, by label."""

    def rows(self, node: Node) -> Rows:
        """The rows of a node that has a table."""

    def payload(self, addresses: Array, sizes: Array) -> Payload:
        """Memory that is handed over as it is.

        Args:
            addresses: uint64 (n,) physical address of each block; sizes: uint64 (n,) its bytes.
        """

    def orders(self, addresses: Array) -> Array:
        """Page order, uint64 (n,), of the preserved block that starts at each address, else 0."""

    def radix(self, address: int) -> Blocks:
        """What a radix tree at a physical address holds."""

    def link(self, struct: str, address: int) -> Link | int:
        """The record of a list that an address names; the address itself where it names none."""

    def lose(self, path: str, why: str) -> None:
        """Note what cannot be taken over."""


class Reader(Protocol):
    """Reads the values of one manifest; a mistake is noted, and reading goes on with a default."""

    registry: Registry
    geometry: Geometry
    """Page size and byte order that the manifest asks for."""

    def record(self, definition: Definition, struct: str, table: Table) -> dict[str, Any]:
        """Values of a record by label."""

    def content(self, definition: Definition, table: Table) -> dict[str, Any]:
        """Values of what the content of a definition is, a record or a tree, by label."""

    def handle(self, reference: Reference, beside: Table, given: Value) -> Any:
        """What the handle of a file or an FLB leads to; ``beside`` has its name."""

    def table_rows(self, definition: Definition, struct: str, given: Value) -> Rows:
        """An array of records: a list of tables, with the memory that its rows point to."""

    def number(self, field: Field | None, given: Value) -> int:
        """A number from 0 to 2^64 - 1, in any notation that dump prints for the field."""

    def memory(self, table: Table, size: int) -> Contents | None:
        """What ``contents`` of a table puts into a block of ``size`` bytes; None for nothing."""


class Builder(Protocol):
    """Lays one handover out."""

    registry: Registry
    abi: AbiSet
    """The set of strings that is written."""
    geometry: Geometry
    places: Places
    """Where things are put, and were put in the layout before."""

    def alloc_preserve(self, size: int, path: str) -> int:
        """Physical address of one preserved block that holds ``size`` bytes."""

    def take_pages(self, count: int, path: str) -> Array:
        """Physical addresses, uint64 (count,), of pages that are not preserved."""

    def preserve(self, addresses: Array, order: int) -> None:
        """Preserve blocks of a page order at physical addresses, uint64 (n,)."""

    def preserved(self) -> Blocks:
        """Everything preserved so far."""

    def write(self, address: int, data: Buffer) -> None:
        """Put bytes at a physical address."""

    def place(self, data: bytes, path: str) -> int:
        """Put bytes into a preserved block of their own; its physical address."""

    def place_payload(self, payload: Payload, path: str) -> Array:
        """Allocate and preserve the blocks of a payload; their addresses, uint64 (n,)."""

    def record(
        self, definition: Definition, struct: str, values: Mapping[str, Any], path: str
    ) -> bytes:
        """Bytes of one record, its pointers built."""

    def place_record(
        self, definition: Definition, struct: str, values: Mapping[str, Any], path: str
    ) -> int:
        """Put one record, and those behind it, into a preserved block; its physical address."""

    def put_behind(self, label: str, data: bytes, path: str) -> None:
        """Let bytes follow the record that is being built; its field ``label`` leads to them."""

    def elements(
        self,
        definition: Definition,
        struct: str,
        items: Sequence[Mapping[str, Any]],
        path: str,
        addresses: Sequence[int],
    ) -> list[bytes]:
        """Bytes of each record of a list, and note that they are at physical addresses."""

    def place_tree(self, definition: Definition, values: Mapping[str, Any], path: str) -> int:
        """Put a device tree into the buffer that its writer allocates; its physical address."""

    def table(self, compiled: CompiledStruct, rows: Rows, path: str) -> bytes:
        """Bytes of the records of a table, their pointers built."""

    def resolve(
        self, definition: Definition, fields: Sequence[Field], values: Mapping[str, Any], path: str
    ) -> dict[str, Any]:
        """Values of fields as they are stored: pointers built, counts counted, defaults set."""

    def lose(self, path: str, why: str) -> None:
        """Note what this ABI set cannot express."""

    def lose_value(self, path: str, value: Any, why: str) -> None:
        """Note a value that has no place; zeros and empty lists are not a loss."""
