"""What shapes of lists have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from khotool import records
from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, Reference, Struct
from khotool.abi.record import decode_records
from khotool.codec.base import Codec, Pointer, reference_of
from khotool.codec.contexts import Lifter, Reader, Walk
from khotool.codec.fields import record
from khotool.codec.scene import Scene
from khotool.model.node import Node, NodeKind, Span
from khotool.records import dataclass
from khotool.structured import Table as Written


@dataclass(frozen=True, slots=True)
class Glance:
    """The start of a list, looked at without decoding it.

    Args:
        rows: values of its first records, by label.
        pages: physical address of each page that holds them.
    """

    rows: list[dict[str, Any]] = records.field(default_factory=list)
    pages: list[int] = records.field(default_factory=list)


class ListCodec(Codec):
    """A shape that leads to a list of records."""

    linked: ClassVar[bool] = False
    """The list goes on in further blocks, each of which names the next."""

    @abstractmethod
    def header(
        self, scene: Scene, definition: Definition, reference: Reference
    ) -> CompiledStruct | None:
        """The header before the records; None where there is none."""

    def glance(self, scene: Scene, pointer: Pointer) -> Glance:
        """The first records of the list that a pointer leads to; none for a pointer of 0."""
        return Glance()

    def ends(self, scene: Scene, pointer: Pointer) -> bool:
        """True if there is room for the records of a list, and zeros after them; or no capture."""
        return False

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The fields of each record."""
        return [lifter.fields(element) for element in node.elements()]

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """A list of records."""
        struct = reference_of(field).of
        return [reader.record(definition, struct, item) for item in table[field.label].tables()]


def elements(
    walk: Walk,
    node: Node,
    compiled: CompiledStruct,
    body: memoryview,
    start: int,
    count: int,
    definition: Definition,
    first: int = 0,
) -> None:
    """Records as keyed children of a list, after the ``first`` ones."""
    rows = decode_records(compiled, body, count)
    for number, values in enumerate(rows):
        if not walk.recorder.spend(node):
            return
        if is_free(compiled.struct, values):
            node.free += 1
            continue
        address = start + number * compiled.size
        child = Node("", NodeKind.RECORD, span=Span(address, compiled.size))
        key = element_key(compiled.struct, values, first + number)
        child.key = walk.recorder.unique_key(node, key)
        node.add(child)
        record(walk, child, compiled, b"", address, definition, values)


def is_free(struct: Struct, values: Mapping[str, Any]) -> bool:
    """True for a slot without a name in a list that may have such."""
    return struct.unused != "" and values[struct.unused] == ""


def element_key(struct: Struct, values: Mapping[str, Any], number: int) -> str:
    """The key of a record in its list: its key field, else its position."""
    if not struct.key:
        return str(number)
    value = values[struct.key]
    return value if isinstance(value, str) else f"{value:#x}"
