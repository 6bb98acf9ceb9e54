"""Compare where and how content is laid out."""

from __future__ import annotations

from khotool.absent import Absent
from khotool.diff.align import numbered
from khotool.diff.changes import Change, ChangeKind
from khotool.diff.fields import changed, content_of, is_address, length_of, one_sided
from khotool.diff.gaps import is_marker
from khotool.model.image import Image, Node, NodeKind
from khotool.records import dataclass

COUNTS = frozenset({"count", "pages"})
"""Roles of numbers that follow from how many elements there are."""
Parts = dict[tuple[tuple[str, str | None], int], Node]
"""Nodes by name and key, and by how often the same came before."""


@dataclass(frozen=True, slots=True)
class Layouts:
    """How to compare the lists, areas and blob sizes that content is kept in.

    Writers may lay out the same content differently, so these count only with
    ``addresses``, or where both images have them at the same physical address: then it is the
    same list, and a difference is a change of it. Of an address itself, only whether there is one.

    Args:
        addresses: compare them wherever they are.
        lost: which of the images does not have all of the layout.
        faulty: decoding found something else wrong with one image's lists than with the other's,
            so that everything in them counts.
    """

    old: Image
    new: Image
    lost: tuple[bool, bool]
    addresses: bool
    faulty: bool

    def compare(self, a: Node, b: Node) -> list[Change]:
        """Differences of the lists, areas and blob sizes that two nodes are kept in."""
        if a.kind not in (NodeKind.ENTRY, NodeKind.LIST) and a.table is None:
            return []
        same_length: bool | None = None
        changes: list[Change] = []
        stack = [(a, b)]
        while stack:
            one, two = stack.pop()
            left, right = _parts(one, self.old, one is a), _parts(two, self.new, two is b)
            groups = []
            for pair in ((node, right[key]) for key, node in left.items() if key in right):
                if pair[0].children or pair[1].children:
                    groups.append(pair)
                elif self._differ(*pair):
                    if same_length is None:
                        same_length = length_of(a) == length_of(b)
                    if same_length or _role(pair[0]) not in COUNTS:
                        changes.append(changed(*pair))
            stack += reversed(groups)
            if left.keys() != right.keys():
                changes += self._only(ChangeKind.REMOVED, left, right)
                changes += self._only(ChangeKind.ADDED, right, left)
        return changes

    def _differ(self, a: Node, b: Node) -> bool:
        if isinstance(a.value, Absent) or isinstance(b.value, Absent) or a.value == b.value:
            return False
        if self.addresses:
            return True
        if not self.faulty and not _same_place(a, b):
            return False
        return not is_address(a) or bool(a.value) != bool(b.value)

    def _only(self, kind: ChangeKind, here: Parts, there: Parts) -> list[Change]:
        """Parts of one image, unless the other one has lost its own."""
        if self.lost[kind is ChangeKind.REMOVED]:
            return []
        found = [node for key, node in here.items() if key not in there]
        return [one_sided(kind, node, addresses=True) for node in found if self._counts(node)]

    def _counts(self, node: Node) -> bool:
        # A property of an entry is part of the root's format; a further block or chunk is layout.
        entry = node.parent is not None and node.parent.kind is NodeKind.ENTRY
        return self.addresses or (entry and self.old.tree.format == self.new.tree.format)


def _parts(node: Node, image: Image, top: bool) -> Parts:
    """Layout below a node; below layout everything is."""
    content = set(map(id, content_of(node, image))) if top else ()
    parts = [
        child
        for child in node.children
        if id(child) not in content and (child.name != "target" or not is_marker(child))
    ]
    keys = numbered([(child.name, child.key) for child in parts])
    return dict(zip(keys, parts, strict=True))


def _same_place(a: Node, b: Node) -> bool:
    """True if two values, and the blobs they belong to, are at the same address."""
    if a.span is None or a.span != b.span:
        return False
    if a.parent is None or b.parent is None or a.parent.kind is not NodeKind.ENTRY:
        return True
    if is_address(a):
        return True
    return bool(a.parent.value_of("address") == b.parent.value_of("address"))


def _role(node: Node) -> str:
    return node.field.role if node.field is not None else ""
