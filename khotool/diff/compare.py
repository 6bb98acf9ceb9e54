"""Compare two handovers by what they hand over, wherever it lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from khotool.abi.definition import Kind
from khotool.absent import Absent
from khotool.diff.align import moved, numbered
from khotool.diff.changes import Change, ChangeKind, Comparison, DiffOptions, PathFilter
from khotool.diff.fields import (
    is_address,
    is_group,
    is_layout,
    is_unknown,
    is_version,
    json_of,
    scalar_text,
    text_of,
    unfollowed,
)
from khotool.diff.tables import compare_tables
from khotool.image.model import Image, Node, NodeKind, Phase
from khotool.render.value import json_scalar

KEY_FIELDS = ("name", "token")
MOST_RENAMES = 16
"""Elements of one list that are looked at for having got another name."""
MOST_NOTES = 1000

Key = tuple[str, str | None, int]
Progress = Callable[[str, int, int | None], None]


def compare(
    old: Image, new: Image, options: DiffOptions | None = None, progress: Progress | None = None
) -> Comparison:
    """Everything that differs between two images.

    Nodes are aligned by their names and keys. Addresses, the lists and areas that records are
    kept in, and sizes of blobs are not content. What one image does not have because it was not
    captured, or because the booted kernel reused it, is a note and no change.
    """
    from khotool.diff.contents import compare_contents
    from khotool.diff.pages import compare_pages, compare_scratch

    options = options or DiffOptions()
    walk = TreeComparison(old, new, options)
    walk.run(old.tree, new.tree)
    result = Comparison(addresses=options.addresses)
    result.changes = [*_image_changes(old, new), *walk.abi_change(), *walk.changes]
    result.changes += compare_scratch(old, new, options)
    if options.contents:
        compare_contents(old, new, walk.payload, result, progress)
    shown = PathFilter(options)
    result.changes = [change for change in result.changes if shown(change.path)]
    compare_pages(old, new, walk.renamed, shown, result, options)
    result.notes = [*_phase_notes(old, new), *walk.notes, *result.notes]
    return result


def _image_changes(old: Image, new: Image) -> list[Change]:
    changes = []
    pairs: list[tuple[str, Any, Any]] = [
        ("/page_size", old.geometry.page_size, new.geometry.page_size),
        ("/endian", old.geometry.byteorder, new.geometry.byteorder),
    ]
    for path, a, b in pairs:
        if a != b:
            changes.append(Change(ChangeKind.CHANGED, path, a, b, (str(a), str(b))))
    return changes


def _phase_notes(old: Image, new: Image) -> list[str]:
    if old.phase is new.phase:
        return []
    return [f"the first image is {old.phase}, the second {new.phase}"]


@dataclass(slots=True)
class TreeComparison:
    """The walk over two trees.

    Args:
        payload: pairs of nodes whose contents correspond.
        renamed: paths of elements that have another name in the second image: new to old.
    """

    old: Image
    new: Image
    options: DiffOptions
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    payload: list[tuple[Node, Node]] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    formats: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))
    probing: bool = False

    def run(self, a: Node, b: Node, skip: str = "") -> None:
        """Compare two nodes and all below them; ``skip`` names a child of ``a`` to leave out."""
        stack = [(a, b)]
        while stack:
            left, right = stack.pop()
            below = self._pair(left, right, skip if left is a else "")
            stack.extend(reversed(below))
            if self.probing and self.changes:
                return

    def abi_change(self) -> list[Change]:
        """The definitions that decoded matching parts, where they differ."""
        a, b = (sorted(side) for side in (self.formats[0], self.formats[1]))
        if a == b:
            return []
        return [Change(ChangeKind.CHANGED, "/abi", a, b, (" ".join(a), " ".join(b)))]

    def _pair(self, a: Node, b: Node, skip: str) -> list[tuple[Node, Node]]:
        self._note_formats(a, b)
        if a.parent is not None and not self._values(a, b):
            return []
        if a.table is not None and b.table is not None:
            self._tables(a, b)
            return []
        if is_group(a) and is_group(b):
            self._remember_payload(a, b)
            return self._children(a, b, skip)
        return []

    def _note_formats(self, a: Node, b: Node) -> None:
        if a.format and b.format and a.format != b.format:
            for side, node in enumerate((a, b)):
                if self._kind(side, node.format) not in (Kind.FILE, Kind.FLB):
                    self.formats[side].add(node.format)

    def _kind(self, side: int, identifier: str) -> Kind:
        return (self.old, self.new)[side].registry.get(identifier).kind

    def _values(self, a: Node, b: Node) -> bool:
        """Compare the values themselves; False if there is no point in going below."""
        if is_unknown(a.value) or is_unknown(b.value):
            if is_unknown(a.value) != is_unknown(b.value):
                gone = a.value if is_unknown(a.value) else b.value
                side = "first" if is_unknown(a.value) else "second"
                self._note(f"{a.path}: {gone.reason} in the {side} image")
            return False
        if isinstance(a.value, Absent) or isinstance(b.value, Absent):
            if type(a.value) is not type(b.value):
                self._changed(a, b)
            return False
        if is_group(a) != is_group(b):
            if unfollowed(a, self.old) or unfollowed(b, self.new):
                self._note(f"{a.path}: what it points to is not in both captures")
            else:
                self._changed(a, b)
            return False
        if is_address(a) or is_address(b):
            # Whether there is anything at all is no matter of addresses.
            appeared = bool(a.value) != bool(b.value) and not is_group(a)
            if appeared or (self.options.addresses and a.value != b.value):
                self._changed(a, b)
        elif is_version(a) and a.format and b.format and a.format != b.format:
            return True
        elif a.value != b.value and not is_group(a) and not self._counted(a, b):
            self._changed(a, b)
        return True

    def _counted(self, a: Node, b: Node) -> bool:
        """True for the length of a list whose elements tell what differs."""
        label = a.field.counts if a.field is not None else ""
        if not label or a.parent is None or b.parent is None:
            return False
        lists = (a.parent.get(label), b.parent.get(label))
        return _length(lists[0]) != _length(lists[1])

    def _tables(self, a: Node, b: Node) -> None:
        assert a.table is not None
        assert b.table is not None
        found, longer = compare_tables(a, b, addresses=self.options.addresses)
        if len(a.table) < a.table.declared or len(b.table) < b.table.declared:
            self._note(f"{a.path}: not all records are captured")
            found = [change for change in found if change.kind is ChangeKind.CHANGED]
        self._remember_payload(a, b)
        old, new = _count_of(a), _count_of(b)
        if longer and old is not None and new is not None and old.value != new.value:
            # The number of rows says it all.
            self._changed(old, new)
            return
        self.changes += found

    def _children(self, a: Node, b: Node, skip: str) -> list[tuple[Node, Node]]:
        left, right = self._content(a, self.old, skip), self._content(b, self.new, skip)
        common = [key for key in left if key in right]
        gone = [key for key in left if key not in right]
        more = [key for key in right if key not in left]
        if a.kind is NodeKind.LIST or a.parent is None:
            self._moves(left, right, common)
        if a.kind is NodeKind.LIST and len(gone) == len(more) <= MOST_RENAMES and gone:
            gone, more = self._renames(left, right, gone, more)
        other_format = bool(a.format and b.format and a.format != b.format)
        partial = is_unknown(a.value) or is_unknown(b.value)
        for key in gone:
            self._one_sided(ChangeKind.REMOVED, left[key], other_format, partial)
        for key in more:
            self._one_sided(ChangeKind.ADDED, right[key], other_format, partial)
        return [(left[key], right[key]) for key in common]

    def _content(self, node: Node, image: Image, skip: str) -> dict[Key, Node]:
        children = [
            child for child in node.children
            if not is_layout(child, image) and not (skip and child.name == skip)
        ]  # fmt: skip
        keys = numbered([(child.name, child.key) for child in children])
        return {
            (name, key, count): child
            for ((name, key), count), child in zip(keys, children, strict=True)
        }

    def _moves(self, left: dict[Key, Node], right: dict[Key, Node], common: list[Key]) -> None:
        keys = [key for key in common if key[1] is not None or left[key].kind is NodeKind.ENTRY]
        there = set(keys)
        for key, old, new in moved(keys, [key for key in right if key in there]):
            text = (f"position {old}", f"position {new}")
            self.changes.append(Change(ChangeKind.MOVED, left[key].path, old, new, text))

    def _renames(
        self, left: dict[Key, Node], right: dict[Key, Node], gone: list[Key], more: list[Key]
    ) -> tuple[list[Key], list[Key]]:
        """Elements at one place that differ in nothing but their key."""
        places = (
            {key: at for at, key in enumerate(left)},
            {key: at for at, key in enumerate(right)},
        )
        by_place = {places[1][key]: key for key in more}
        for key in list(gone):
            other = by_place.get(places[0][key])
            if other is None:
                continue
            a, b = left[key], right[other]
            label = next((name for name in KEY_FIELDS if a.get(name) and b.get(name)), "")
            if not label:
                continue
            probe = TreeComparison(self.old, self.new, self.options, probing=True)
            probe.run(a, b, label)
            if probe.changes:
                continue
            field_a, field_b = a.get(label), b.get(label)
            assert field_a is not None
            assert field_b is not None
            self._changed(field_a, field_b)
            self.payload += probe.payload
            self.renamed[b.path] = a.path
            gone.remove(key)
            more.remove(other)
        return gone, more

    def _one_sided(self, kind: ChangeKind, node: Node, other_format: bool, partial: bool) -> None:
        other = self.new if kind is ChangeKind.REMOVED else self.old
        side = "first" if kind is ChangeKind.ADDED else "second"
        if other.phase is Phase.CONSUMED and (partial or is_unknown(node.value)):
            self._note(f"{node.path}: consumed in the {side} image")
            return
        if is_unknown(node.value) or (partial and other.phase is Phase.CONSUMED):
            self._note(f"{node.path}: unknown")
            return
        # A format without this field says the same as a zero in it.
        if other_format and not is_group(node) and _says_nothing(node):
            return
        value, text = json_of(node), text_of(node)
        if kind is ChangeKind.REMOVED:
            self.changes.append(Change(kind, node.path, value, None, (text, "")))
        else:
            self.changes.append(Change(kind, node.path, None, value, ("", text)))

    def _changed(self, a: Node, b: Node) -> None:
        old, new = (json_scalar(node.value, node.field) for node in (a, b))
        text = (scalar_text(a), scalar_text(b))
        self.changes.append(Change(ChangeKind.CHANGED, a.path, old, new, text))

    def _remember_payload(self, a: Node, b: Node) -> None:
        element = a.key is not None and not a.name
        if self.options.contents and (element or a.table is not None):
            self.payload.append((a, b))

    def _note(self, text: str) -> None:
        if len(self.notes) < MOST_NOTES:
            self.notes.append(text)


def _length(node: Node | None) -> int:
    if node is None:
        return 0
    return len(node.table) if node.table is not None else len(node.elements())


def _says_nothing(node: Node) -> bool:
    counts = node.field is not None and bool(node.field.counts)
    return counts or is_version(node) or is_address(node) or not node.value


def _count_of(node: Node) -> Node | None:
    """The field that says how many rows a table has."""
    for child in node.parent.children if node.parent is not None else ():
        if child.field is not None and child.field.counts == node.name:
            return child
    return None
