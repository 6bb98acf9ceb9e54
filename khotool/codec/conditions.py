"""Probe conditions: what has to hold for bytes to be of one format among several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Condition, Definition
from khotool.abi.record import decode_record, decode_records
from khotool.codec.base import Pointer, codec_for
from khotool.codec.lists import Glance, ListCodec
from khotool.codec.preserved_map import map_has_root
from khotool.codec.scene import Scene
from khotool.codec.tree_conditions import list_ends, tree_holds
from khotool.fdt.blob import Node as FdtNode
from khotool.records import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a blob before its definition is.

    Args:
        tree: root node of a device tree.
        data: first bytes of a record.
        size: bytes of the whole blob, where its place says them.
        handle: physical address of the blob, or the literal in its place.
    """

    tree: FdtNode | None = None
    data: memoryview | bytes = b""
    size: int | None = None
    handle: int | None = None


def describe(condition: Condition) -> str:
    """A condition as half a sentence."""
    parts = [*_of_tree(condition), *_of_blob(condition), *_of_field(condition)]
    if condition.root:
        parts.append(f"the root is {condition.root}")
    if condition.page_size is not None:
        parts.append(f"pages have {condition.page_size} bytes")
    if condition.map:
        parts.append("the map read this way preserves the root")
    return ", ".join(parts)


def _of_tree(condition: Condition) -> Iterator[str]:
    if condition.has:
        size = ""
        if condition.length is not None:
            size = f" of {condition.length} bytes"
        elif condition.above is not None:
            size = f" of more than {condition.above} bytes"
        elif condition.multiple:
            size = f" of a multiple of {condition.multiple} bytes"
        by_text = isinstance(condition.equals, str) and not condition.field
        value = f", {condition.equals!r}" if by_text else ""
        value += ", and only zeros follow its array" if condition.ends else ""
        yield f"the tree has {condition.has}{size}{value}"
    if condition.asked:
        yield "only chosen with --abi"
    if condition.lacks:
        yield f"the tree has no {condition.lacks}"
    if condition.anywhere:
        yield f"a node of the tree has {condition.anywhere}"


def _of_blob(condition: Condition) -> Iterator[str]:
    if condition.blob is not None:
        yield f"the blob has {condition.blob} bytes"
    if condition.handle:
        yield "the handle is 0" if condition.handle == "zero" else "the handle is not 0"
    if condition.order is not None:
        yield f"its block has order {condition.order}"


def _of_field(condition: Condition) -> Iterator[str]:
    if not condition.field:
        return
    name = condition.field
    name += f" of all {condition.rows}" if condition.rows else ""
    if condition.equals is not None:
        yield f"{name} is {condition.equals}"
    if condition.at_most is not None:
        yield f"{name} is at most {condition.at_most}"
    if condition.at_least is not None:
        yield f"{name} is at least {condition.at_least}"
    if condition.aligned:
        yield f"{name} is the address of a page"
    if condition.preserved:
        yield f"{name} is an address in preserved memory"
    if condition.inside:
        yield f"{name} is inside {condition.inside}"
    if condition.ends:
        yield f"only zeros follow the end of {name}"


def holds(scene: Scene, definition: Definition, condition: Condition, evidence: Evidence) -> bool:
    """True if a condition is met."""

    def row_holds(row: Mapping[str, Any]) -> bool:
        return _row(scene, condition, row)

    return (
        not condition.asked
        and _blob_holds(scene, condition, evidence)
        and tree_holds(scene, definition, condition, evidence.tree, row_holds)
        and (
            not condition.field
            or bool(condition.has)
            or _field_holds(scene, definition, condition, evidence.data)
        )
        and (not condition.map or map_has_root(scene, definition, evidence.tree, evidence.handle))
    )


def _blob_holds(scene: Scene, condition: Condition, evidence: Evidence) -> bool:
    """True if what surrounds the blob is as a condition says."""
    return (
        (condition.blob is None or evidence.size == condition.blob)
        and (not condition.handle or (evidence.handle == 0) == (condition.handle == "zero"))
        and (condition.order is None or _order(scene, evidence.handle) == condition.order)
        and (not condition.root or scene.root_format == condition.root)
        and condition.page_size in (None, scene.geometry.page_size)
    )


def _order(scene: Scene, address: int | None) -> int | None:
    block = None if address is None else scene.block_of(address)
    return block[1] if block is not None and block[0] == address else None


def _field_holds(
    scene: Scene, definition: Definition, condition: Condition, data: memoryview | bytes
) -> bool:
    compiled = scene.content(definition)
    if len(data) < compiled.size:
        return False
    record = _with_first(compiled, decode_record(compiled, data), data)
    inside: frozenset[int] = frozenset()
    if condition.inside:
        inside = frozenset(_glance(scene, definition, compiled, record, condition.inside).pages)
    rows = [record]
    if condition.rows:
        rows = _glance(scene, definition, compiled, record, condition.rows).rows
    if condition.ends and not _arrays_end(scene, definition, compiled, condition, rows):
        return False
    if not rows and (condition.equals is not None or condition.aligned or condition.inside):
        # Where a list is empty, none of its records has the value that would tell.
        return False
    return all(_row(scene, condition, row, inside) for row in rows)


def _with_first(
    compiled: CompiledStruct, record: dict[str, Any], data: memoryview | bytes
) -> dict[str, Any]:
    """The record with the first row of the array of open length after its fields."""
    for field, element in compiled.tails[:1]:
        if element is not None and len(data) >= compiled.size + element.size:
            record[field.label] = decode_records(element, data[compiled.size :], 1)
    return record


def _arrays_end(
    scene: Scene,
    definition: Definition,
    compiled: CompiledStruct,
    condition: Condition,
    rows: Sequence[Mapping[str, Any]],
) -> bool:
    """True if the arrays that a field of all records leads to end where zeros begin."""
    if condition.rows:
        holder = compiled.by_label(condition.rows).field.points_to
        assert holder is not None
        compiled = scene.struct(definition, holder.of)
    fields = (placed.field for placed in compiled.fields)
    field = next((field for field in fields if field.label == condition.field), None)
    return field is not None and all(
        list_ends(scene, Pointer(definition, field, row)) for row in rows
    )


def _row(
    scene: Scene, condition: Condition, row: Mapping[str, Any], inside: frozenset[int] = frozenset()
) -> bool:
    """True if the field of a condition has the right value in a record."""
    value = _value(row, condition.field)
    if value is None or (condition.equals is not None and value != condition.equals):
        return False
    # Of text, what is compared is its length.
    size = len(value) if isinstance(value, str) else value
    if condition.at_most is not None and size > condition.at_most:
        return False
    if condition.at_least is not None and size < condition.at_least:
        return False
    return isinstance(value, str) or _address_holds(scene, condition, value, inside)


def _address_holds(
    scene: Scene, condition: Condition, address: int, inside: frozenset[int]
) -> bool:
    """True if a number is such an address as a condition says."""
    page = scene.geometry.page_size
    return (
        (not condition.aligned or (address > 0 and address % page == 0))
        and (not condition.inside or address - address % page in inside)
        and (not condition.preserved or scene.is_preserved(address))
    )


def _value(row: Mapping[str, Any], field: str) -> int | str | None:
    """A field of a record, or of a struct or of an element of an array inside it."""
    found: Any = row
    for label in field.split("/"):
        if isinstance(found, list) and label.isdecimal():
            found = found[int(label)] if int(label) < len(found) else None
        else:
            found = found.get(label) if isinstance(found, Mapping) else None
    return found if isinstance(found, int | str) else None


def _glance(
    scene: Scene,
    definition: Definition,
    compiled: CompiledStruct,
    record: Mapping[str, Any],
    label: str,
) -> Glance:
    """The start of the list that a field of a record leads to.

    Args:
        compiled: struct of the record; record: its values.
        label: of the field.
    """
    pointer = Pointer(definition, compiled.by_label(label).field, record)
    codec = codec_for(scene.registry, definition, pointer.field)
    if not isinstance(pointer.value, int) or not isinstance(codec, ListCodec):
        return Glance()
    return codec.glance(scene, pointer)
