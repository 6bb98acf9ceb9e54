"""Compare what says only where and how content is laid out."""

from __future__ import annotations

from khotool.absent import Absent
from khotool.diff.align import numbered
from khotool.diff.changes import Change, ChangeKind
from khotool.diff.fields import changed, is_address, is_layout, json_of, length_of, text_of
from khotool.diff.gaps import is_marker
from khotool.model.image import Image, Node, NodeKind

COUNTS = frozenset({"count", "pages"})
"""Roles of numbers that follow from how many elements there are."""


def compare_layout(
    a: Node,
    b: Node,
    images: tuple[Image, Image],
    lost: tuple[bool, bool],
    *,
    addresses: bool,
    faulty: bool,
) -> list[Change]:
    """Differences of the lists, areas and blob sizes that two nodes are kept in.

    Another writer lays out the same content in another way, so that these count only with
    ``addresses``, or where both images have them at the same physical address: then it is the
    same list, and a difference is a change of it. Of an address there, whether there is one.

    Args:
        lost: which of the images has not all of the layout.
        faulty: one image's lists are wrong in another way than the other's, so that nothing about
            them goes without saying.
    """
    if a.kind not in (NodeKind.ENTRY, NodeKind.LIST) and a.table is None:
        return []
    old, new = images
    same_length = length_of(a) == length_of(b)
    changes: list[Change] = []
    stack = [(a, b)]
    while stack:
        one, two = stack.pop()
        left, right = (
            _parts(node, image, node is top) for node, image, top in ((one, old, a), (two, new, b))
        )
        pairs = []
        for key, node in left.items():
            other = right.get(key)
            if other is None and lost[1]:
                continue
            if other is None:
                changes += _one_sided(ChangeKind.REMOVED, node, old, new, addresses=addresses)
            elif node.children or other.children:
                pairs.append((node, other))
            elif _differ(node, other, addresses=addresses, faulty=faulty) and (
                same_length or _role(node) not in COUNTS
            ):
                changes.append(changed(node, other))
        stack.extend(reversed(pairs))
        for key, node in right.items():
            if key not in left and not lost[0]:
                changes += _one_sided(ChangeKind.ADDED, node, old, new, addresses=addresses)
    return changes


def _parts(node: Node, image: Image, top: bool) -> dict[tuple[tuple[str, str | None], int], Node]:
    """Layout below a node; below layout everything is."""
    parts = [
        child
        for child in node.children
        if not is_marker(child) and (not top or is_layout(child, image))
    ]
    keys = numbered([(child.name, child.key) for child in parts])
    return dict(zip(keys, parts, strict=True))


def _differ(a: Node, b: Node, *, addresses: bool, faulty: bool) -> bool:
    if isinstance(a.value, Absent) or isinstance(b.value, Absent) or a.value == b.value:
        return False
    if addresses:
        return True
    if not faulty and not _same_place(a, b):
        return False
    return not is_address(a) or bool(a.value) != bool(b.value)


def _same_place(a: Node, b: Node) -> bool:
    """True if two values stand, and the blob they belong to stands, at the same address."""
    if a.span is None or a.span != b.span:
        return False
    if a.parent is None or b.parent is None or a.parent.kind is not NodeKind.ENTRY:
        return True
    if is_address(a):
        return True
    return bool(a.parent.value_of("address") == b.parent.value_of("address"))


def _one_sided(
    kind: ChangeKind, node: Node, old: Image, new: Image, *, addresses: bool
) -> list[Change]:
    entry = node.parent is not None and node.parent.kind is NodeKind.ENTRY
    # A property of an entry is part of the root's format; a further block or chunk is layout.
    if not addresses and not (entry and old.tree.format == new.tree.format):
        return []
    value, text = json_of(node, addresses=True), text_of(node)
    if kind is ChangeKind.REMOVED:
        return [Change(kind, node.path, value, None, (text, ""))]
    return [Change(kind, node.path, None, value, ("", text))]


def _role(node: Node) -> str:
    return node.field.role if node.field is not None else ""
