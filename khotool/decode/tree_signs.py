"""Signs in a device tree by which formats of one string are told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from khotool.abi.definition import Condition, Definition, Field
from khotool.abi.record import decode_records, decode_text
from khotool.decode.list_signs import array_ends
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property

if TYPE_CHECKING:
    from khotool.decode.walk import Walker

MAX_NODES = 100_000
"""Nodes of a tree that are searched for a property."""
MAX_ROWS = 1024
"""Structs of one property whose fields are looked at."""

RowHolds = Callable[[Mapping[str, Any]], bool]
"""True if the field of a sign has the right value in a record."""


def tree_holds(
    walker: Walker, definition: Definition, sign: Condition, tree: FdtNode | None, row: RowHolds
) -> bool:
    """True if what a sign says of a tree is so, or if it says nothing of one.

    Args:
        row: judges one struct of the property that the sign names.
    """
    if not (sign.has or sign.lacks or sign.anywhere):
        return True
    if tree is None:
        return False
    if sign.lacks and at_path(tree, sign.lacks) is not None:
        return False
    if sign.anywhere and not _anywhere(tree, sign.anywhere):
        return False
    if not sign.has:
        return True
    found = at_path(tree, sign.has)
    if found is None:
        return False
    if not isinstance(found, Property):
        return not _says_more(sign)
    size = len(found.value)
    return (
        (sign.length is None or size == sign.length)
        and (sign.above is None or size > sign.above)
        and (not sign.multiple or size % sign.multiple == 0)
        and (sign.equals is None or bool(sign.field) or decode_text(found.value) == sign.equals)
        and (not sign.field or _structs_hold(walker, definition, sign, found, row))
        and (not sign.ends or _array_ends(walker, definition, sign, found))
    )


def _says_more(sign: Condition) -> bool:
    """True if a sign is about the bytes of a property."""
    more = (sign.length, sign.above, sign.equals)
    return any(v is not None for v in more) or bool(sign.multiple or sign.field or sign.ends)


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
    walker: Walker, definition: Definition, sign: Condition, found: Property, row: RowHolds
) -> bool:
    """True if all structs of a property have the field of a sign as it says."""
    field = property_at(definition, sign.has)
    kind = field.type if field is not None else None
    if kind is None or not kind.struct:
        return False
    compiled = walker.registry.compile(definition, kind.struct, walker.geometry)
    number, rest = divmod(len(found.value), compiled.size)
    if rest or not number:
        return False
    return all(map(row, decode_records(compiled, found.value, min(number, MAX_ROWS))))


def _array_ends(walker: Walker, definition: Definition, sign: Condition, found: Property) -> bool:
    """True if the array that a property leads to ends where zeros begin."""
    field = property_at(definition, sign.has)
    if field is None or field.points_to is None or field.type is None:
        return False
    order = "big" if field.type.big else walker.geometry.byteorder
    address = int.from_bytes(found.value, order)
    return array_ends(walker, definition, field.points_to, address, {})


def property_at(definition: Definition, path: str) -> Field | None:
    """The property at a path, as a definition has it."""
    *steps, last = path.split("/")
    node = definition.fdt
    for step in steps:
        node = node.nodes.get(step) if node is not None else None
    fields = node.properties if node is not None else ()
    return next((field for field in fields if field.name == last), None)
