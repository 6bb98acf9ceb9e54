"""Sparse arrays of words as tables: the position of a word is one of its values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from khotool.abi.definition import Definition, Field, FieldType, Holds, Shape
from khotool.abi.registry import Registry
from khotool.codec.kho_array import extents_of, walk_array
from khotool.decode.tables import chunk_region, claim_rows
from khotool.model.image import Node, NodeKind, Span, Table

if TYPE_CHECKING:
    from khotool.decode.follow import Follower

PAGE = "kho_array_page"
"""Struct of a page of words."""
POSITION = Field(
    "index",
    FieldType("int", "u64", 8),
    role="page-index",
    unique=True,
    doc="position in the array",
)


def is_words(registry: Registry, definition: Definition, struct: str) -> bool:
    """True if a struct is the descriptor of a sparse array of words."""
    fields = registry.owner_of_struct(definition, struct).structs[struct].fields
    return any(f.points_to and f.points_to.shape is Shape.KHO_ARRAY for f in fields)


def words_table(follower: Follower, node: Node, holds: Holds, definition: Definition) -> None:
    """The array whose descriptor ``node`` is: pages as regions, its words as rows."""
    walker = follower.walker
    compiled = walker.registry.compile(definition, holds.of, walker.geometry)
    descriptor = walker.registry.owner_of_struct(definition, node.struct)
    walker.use(descriptor)
    page = walker.registry.compile(descriptor, PAGE, walker.geometry)
    node.kind = NodeKind.TABLE
    empty = np.empty(0, np.uint64)
    node.table = Table(
        compiled, np.empty(0, compiled.dtype), np.empty((0, 2), np.uint64), 0, POSITION, empty
    )
    first = next((child for child in node.children if child.field and child.field.points_to), None)
    if first is None or not first.value or not isinstance(first.value, int):
        return
    left = (walker.limits.bytes - walker.budget.bytes) // page.size
    limit = min(walker.limits.chain, max(1, left))
    found = walk_array(walker.space.read, first.value, page, max_pages=limit)
    if not walker.spend(node, len(found.pages) + 1, len(found.pages) * page.size):
        return
    for number, address in enumerate(found.pages):
        top = node.add(
            Node("pages", NodeKind.RECORD, key=str(number), span=Span(address, page.size))
        )
        chunk_region(follower, top, page, address, descriptor)
        follower.claim(node, address, page.size)
    follower.problems(node, found.problems)
    records = np.zeros(len(found.word), compiled.dtype)
    records[compiled.fields[0].field.name] = found.word
    extents = extents_of(found.address, compiled.size)
    node.table = Table(compiled, records, extents, len(records), POSITION, found.position)
    claim_rows(follower, node, node.table)
