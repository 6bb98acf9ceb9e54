"""Probe conditions on a device tree, which distinguish formats of one string."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from khotool.abi.definition import Condition, Definition, Field
from khotool.abi.record import decode_records, decode_text
from khotool.codec.base import Pointer, codec_for
from khotool.codec.lists import ListCodec
from khotool.codec.scene import Scene
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property

MAX_NODES = 100_000
"""Nodes of a tree that are searched for a property."""
MAX_ROWS = 1024
"""Structs of one property whose fields are looked at."""

RowHolds = Callable[[Mapping[str, Any]], bool]
"""True if the field of a condition has the right value in a record."""


def tree_holds(
    scene: Scene, definition: Definition, condition: Condition, tree: FdtNode | None, row: RowHolds
) -> bool:
    """True if what a condition says of a tree is so, or if it says nothing of one.

    Args:
        row: judges one struct of the property that the condition names.
    """
    if not (condition.has or condition.lacks or condition.anywhere):
        return True
    if tree is None:
        return False
    if condition.lacks and at_path(tree, condition.lacks) is not None:
        return False
    if condition.anywhere and not _anywhere(tree, condition.anywhere):
        return False
    if not condition.has:
        return True
    found = at_path(tree, condition.has)
    if found is None:
        return False
    if not isinstance(found, Property):
        return not _says_more(condition)
    return _property_holds(scene, definition, condition, found, row)


def _property_holds(
    scene: Scene, definition: Definition, condition: Condition, found: Property, row: RowHolds
) -> bool:
    """True if the bytes of a property are as a condition says."""
    size = len(found.value)
    if condition.length is not None and size != condition.length:
        return False
    if condition.above is not None and size <= condition.above:
        return False
    if condition.multiple and size % condition.multiple:
        return False
    if condition.field:
        if not _structs_hold(scene, definition, condition, found, row):
            return False
    elif condition.equals is not None and decode_text(found.value) != condition.equals:
        return False
    return not condition.ends or _array_ends(scene, definition, condition, found)


def _says_more(condition: Condition) -> bool:
    """True if a condition is about the bytes of a property."""
    more = (condition.length, condition.above, condition.equals)
    return any(v is not None for v in more) or bool(
        condition.multiple or condition.field or condition.ends
    )


def at_path(tree: FdtNode, path: str) -> Property | FdtNode | None:
    """The property, else the node, at a path below the tree's root."""
    *steps, last = path.split("/")
    node: FdtNode | None = tree
    for step in steps:
        node = node.child(step) if node is not None else None
    if node is None:
        return None
    return node.get(last) or node.child(last)


def _anywhere(tree: FdtNode, name: str) -> bool:
    for number, (_, node) in enumerate(tree.walk()):
        if number > MAX_NODES:
            return False
        if node.get(name) is not None:
            return True
    return False


def _structs_hold(
    scene: Scene, definition: Definition, condition: Condition, found: Property, row: RowHolds
) -> bool:
    """True if all structs of a property have the field of a condition as it says."""
    field = property_at(definition, condition.has)
    kind = field.type if field is not None else None
    if kind is None or not kind.struct:
        return False
    compiled = scene.struct(definition, kind.struct)
    number, rest = divmod(len(found.value), compiled.size)
    if rest or not number:
        return False
    return all(map(row, decode_records(compiled, found.value, min(number, MAX_ROWS))))


def _array_ends(
    scene: Scene, definition: Definition, condition: Condition, found: Property
) -> bool:
    """True if the array that a property leads to ends where zeros begin."""
    field = property_at(definition, condition.has)
    if field is None or field.type is None:
        return False
    order = "big" if field.type.big else scene.geometry.byteorder
    value = {field.label: int.from_bytes(found.value, order)}
    return list_ends(scene, Pointer(definition, field, value))


def list_ends(scene: Scene, pointer: Pointer) -> bool:
    """True if the list that a pointer leads to ends where zeros begin, as ``ListCodec.ends``."""
    codec = codec_for(scene.registry, pointer.definition, pointer.field)
    return isinstance(codec, ListCodec) and codec.ends(scene, pointer)


def property_at(definition: Definition, path: str) -> Field | None:
    """The property at a path, as a definition has it."""
    *steps, last = path.split("/")
    node = definition.fdt
    for step in steps:
        node = node.nodes.get(step) if node is not None else None
    fields = node.properties if node is not None else ()
    return next((field for field in fields if field.name == last), None)
