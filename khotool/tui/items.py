"""Items of the tree view: places, and buckets of long arrays, made on demand."""

from __future__ import annotations

from collections.abc import Container
from itertools import pairwise

from khotool.model.image import Node
from khotool.records import dataclass
from khotool.tui.place import Place, labels_of

BUCKET = 200
"""Children shown under one item; more are put into buckets of index ranges."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the tree.

    Args:
        place: the place; of a bucket, the place whose children it holds.
        first, count: index range of a bucket; ``count`` is 0 for a place.
    """

    place: Place
    first: int = 0
    count: int = 0

    @property
    def is_bucket(self) -> bool:
        """Whether the item is a range of indices."""
        return self.count > 0


Shown = Container[Node] | None
"""Nodes a filter lets through; None for all."""


def child_count(place: Place, shown: Shown = None) -> int:
    """Number of places directly below a place."""
    node = place.node
    if place.label:
        return 0
    if place.row >= 0:
        return len(labels_of(node.table)) if node.table is not None else 0
    rows = len(node.table) if node.table is not None else 0
    return len(_children(node, shown)) + rows


def has_children(place: Place, shown: Shown = None) -> bool:
    """Whether anything is below a place."""
    if place.row < 0 and shown is None:
        return bool(place.node.children) or bool(place.node.table)
    return child_count(place, shown) > 0


def child_at(place: Place, index: int, shown: Shown = None) -> Place:
    """The child of a place: nodes first, then rows of the table, or the fields of a row."""
    node = place.node
    if place.row >= 0:
        assert node.table is not None
        return Place(node, place.row, labels_of(node.table)[index])
    children = _children(node, shown)
    if index < len(children):
        return Place(children[index])
    return Place(node, index - len(children))


def index_of(place: Place, shown: Shown = None) -> int:
    """Index of a place among the children of its parent; -1 if a filter hides it."""
    node = place.node
    if place.label:
        assert node.table is not None
        return labels_of(node.table).index(place.label)
    if place.row >= 0:
        return len(_children(node, shown)) + place.row
    if node.parent is None:
        return 0
    try:
        return _children(node.parent, shown).index(node)
    except ValueError:
        return -1


def _children(node: Node, shown: Shown) -> list[Node]:
    if shown is None:
        return node.children
    return [child for child in node.children if child in shown]


def bucket_size(count: int) -> int:
    """Children of one bucket when ``count`` are to be split into at most ``BUCKET`` of them."""
    size = BUCKET
    while count > size * BUCKET:
        size *= BUCKET
    return size


def items_below(item: Item, shown: Shown = None) -> list[Item]:
    """What an item shows when it is opened: at most ``BUCKET`` items."""
    first, count = item.first, item.count
    if not item.is_bucket:
        first, count = 0, child_count(item.place, shown)
    if count <= BUCKET:
        return [Item(child_at(item.place, first + i, shown)) for i in range(count)]
    size = bucket_size(count)
    return [
        Item(item.place, start, min(size, first + count - start))
        for start in range(first, first + count, size)
    ]


def chain_to(place: Place, shown: Shown = None) -> list[Item]:
    """Items from the image down to a place, buckets included."""
    places = [place]
    while (above := places[-1].parent) is not None:
        places.append(above)
    places.reverse()
    chain = [Item(places[0])]
    for above, below in pairwise(places):
        index = index_of(below, shown)
        if index < 0:
            break
        first, count = 0, child_count(above, shown)
        while count > BUCKET:
            size = bucket_size(count)
            start = first + (index - first) // size * size
            count = min(size, first + count - start)
            first = start
            chain.append(Item(above, first, count))
        chain.append(Item(below))
    return chain
