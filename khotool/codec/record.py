"""One record at an address."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, Reference, Shape
from khotool.abi.record import fit_int
from khotool.absent import Absent
from khotool.codec.base import WORD, Codec, Pointer, reference_of, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.fields import record
from khotool.codec.problems import ShapeProblem
from khotool.codec.tables import tails
from khotool.handover.labels import target_labels
from khotool.handover.values import Link
from khotool.model.node import Node, Span
from khotool.structured import Table as Written
from khotool.structured import Value


class SingleCodec(Codec):
    """A shape that leads to one record or tree, in a preserved block of its own."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The fields of the target; its path if it is shared; the number if it is nowhere."""
        if node.reference:
            return Link(node.reference)
        return node.value if node.target is None else lifter.fields(node)

    def build(self, builder: Builder, pointer: Pointer) -> int:
        """The target in a preserved block of its own."""
        values, path = target_values(builder, pointer)
        if isinstance(values, Link):
            return builder.places.record(values, path)
        if not isinstance(values, Mapping):
            return fit_int(values or 0, WORD, False, path)
        if pointer.reference.behind:
            data = builder.record(pointer.definition, pointer.reference.of, values, path)
            builder.put_behind(pointer.field.label, data, path)
            return 0
        address = self.placed(builder, pointer, values, path)
        builder.places.keep(path, address)
        return address

    @abstractmethod
    def placed(
        self, builder: Builder, pointer: Pointer, values: Mapping[str, Any], path: str
    ) -> int:
        """Physical address of a target with these values; ``path`` is its own, for errors."""


@register(Shape.RECORD)
class RecordCodec(SingleCodec):
    """A struct at an address, with an array of open length after its fields where it has one."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """The fields of the record, below its pointer or among its siblings."""
        compiled = walk.scene.struct(pointer.definition, pointer.reference.of)
        if pointer.reference.shared:
            first = walk.recorder.first_of(pointer.reference.of, node)
            if first is not node:
                node.reference, node.target = first.path, first.target
                return
        if pointer.reference.behind:
            _check_place(walk, node)
        record_at(walk, node, compiled, pointer.definition, holder_of(node, pointer.reference))

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """The fields of the record; of a shared one also its path."""
        reference = reference_of(field)
        if reference.shared and isinstance(table[field.label].raw, str):
            return link_or_number(reader, field, table[field.label])
        return reader.record(definition, reference.of, written_target(field, table))

    def placed(
        self, builder: Builder, pointer: Pointer, values: Mapping[str, Any], path: str
    ) -> int:
        """The record."""
        return builder.place_record(pointer.definition, pointer.reference.of, values, path)


def _check_place(walk: Walk, node: Node) -> None:
    """Note a record that does not follow the one that has its pointer, or the one before it."""
    holder = node.parent
    if holder is None or holder.target is None:
        return
    end = holder.target.end
    for child in holder.children:
        if child is node:
            break
        reference = child.field.points_to if child.field is not None else None
        if reference is not None and reference.behind and child.target is not None:
            tables = [below.table.extents for below in child.children if below.table is not None]
            end = max([child.target.end, *(int(rows.sum(1).max(initial=0)) for rows in tables)])
    if int(node.value) != end:
        text = f"the record before it ends at {end:#x}; this one is"
        walk.problems(node, [ShapeProblem("not-behind", int(node.value), text, {"end": end})])


def holder_of(node: Node, reference: Reference) -> Node | None:
    """The node that gets a target's values: the pointer's parent, or None for the pointer."""
    return node.parent if reference.inline else None


def record_at(
    walk: Walk,
    node: Node,
    compiled: CompiledStruct,
    definition: Definition,
    holder: Node | None = None,
) -> None:
    """The record that the value of ``node`` leads to, its fields in ``holder`` or in ``node``."""
    address = int(node.value)
    data = walk.scene.read(address, compiled.size)
    if isinstance(data, Absent):
        walk.missing(node, address, data)
        walk.claim(node, address, compiled.size)
        return
    node.target = Span(address, compiled.size)
    walk.claim(node, address, compiled.size)
    node.format = definition.id
    use_structures(walk, compiled, definition)
    values = record(walk, holder or node, compiled, data, address, definition)
    tails(walk, node, compiled, definition, values)


def use_structures(walk: Walk, compiled: CompiledStruct, definition: Definition) -> None:
    """Note the definitions of the structs that a record consists of."""
    if not walk.recorder.is_first(compiled, definition):
        return
    structs = [compiled.struct.name]
    structs += [placed.nested.struct.name for placed in compiled.fields if placed.nested]
    structs += [element.struct.name for _, element in compiled.tails if element is not None]
    for name in structs:
        walk.recorder.use(walk.scene.owner_of_struct(definition, name))


def written_target(field: Field, table: Written) -> Written:
    """What somebody wrote for the target of a pointer; of an inline one, beside it."""
    return table if reference_of(field).inline else table[field.label].table()


def place_record(
    builder: Builder, definition: Definition, struct: str, values: Mapping[str, Any], path: str
) -> int:
    """A record in a preserved block of its own; its address, which links to it may ask for."""
    address = builder.place_record(definition, struct, values, path)
    builder.places.keep(path, address)
    return address


def link_or_number(reader: Reader, field: Field, given: Value) -> Link | int:
    """The path of a record, or its address."""
    if isinstance(given.raw, str) and given.raw.startswith("/"):
        return Link(given.raw)
    return reader.number(field, given)


def target_values(builder: Builder, pointer: Pointer) -> tuple[Any, str]:
    """Values of what a pointer leads to, and their path; of an inline one they are siblings.

    None where none of them says anything and the pointer may be 0.
    """
    if not pointer.reference.inline:
        return pointer.value, pointer.path
    labels = target_labels(builder.registry, pointer.definition, pointer.reference)
    found = {label: pointer.values[label] for label in labels if label in pointer.values}
    empty = pointer.field.null != "error" and not any(found.values())
    return None if empty else found, pointer.path.rpartition("/")[0]
