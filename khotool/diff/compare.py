"""Compare two handovers by what they hand over, wherever it is in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from khotool.abi.definition import Kind, Shape
from khotool.absent import Absent, Reason
from khotool.diff.align import moved, paired
from khotool.diff.changes import Change, ChangeKind, Comparison, DiffOptions, NotCompared, Side, Why
from khotool.diff.fields import (
    KEY_FIELDS,
    changed,
    content_of,
    count_of,
    handler_of,
    is_address,
    is_group,
    is_implied,
    is_unknown,
    is_version,
    length_of,
    one_sided,
    plain_key,
    pointer_of,
    unfollowed,
    unread_handle,
)
from khotool.diff.gaps import Gaps, Hidden, is_marker, not_compared
from khotool.diff.layout import Layouts
from khotool.diff.paths import PathFilter
from khotool.diff.tables import compare_tables
from khotool.diff.versions import known_on_one_side, unknown_nodes, version_change
from khotool.extract.select import points_to
from khotool.model.image import Image, Node, NodeKind, Phase
from khotool.records import dataclass, field

MOST_RENAMES = 16
"""Elements of one list that are searched for renames."""
MOST_GAPS = 100_000
"""Parts that are remembered as not compared."""
PAYLOAD = frozenset({Shape.RANGE, Shape.OPAQUE, Shape.FOLIO})

Key = tuple[tuple[str, str | None], int]
SIDES = (Side.FIRST, Side.SECOND)
Progress = Callable[[str, int, int | None], None]


def compare(
    old: Image, new: Image, options: DiffOptions | None = None, progress: Progress | None = None
) -> Comparison:
    """Everything that differs between two images.

    Nodes are aligned by their names and keys. Addresses, the lists and areas that records are
    kept in, and sizes of blobs are not content, unless they are at the same address. What one image
    does not have because it was not captured, or because the booted kernel reused it, is not
    compared, and not a change.

    Raises:
        UsageError: a path of the options is in neither image.
    """
    from khotool.diff.contents import compare_contents
    from khotool.diff.pages import compare_pages, compare_scratch

    options = options or DiffOptions()
    shown = PathFilter(options, (old, new))
    walk = TreeComparison(old, new, options, (Gaps(old), Gaps(new)))
    walk.run(old.tree, new.tree)
    result = Comparison(phases=(old.phase, new.phase), addresses=options.addresses)
    changes = [*_image_changes(old, new), *walk.abi_change(), *walk.changes]
    result.changes = [change for change in changes if shown(change.path)]
    result.not_compared = [
        gap
        for gap in walk.not_compared.values()
        if (shown.whole(gap.path) if gap.path == "/" else shown(gap.path))
    ]
    compare_scratch(old, new, shown, result, options)
    if options.contents:
        compare_contents(old, new, walk.payload, shown, result, progress)
    hidden = Hidden(walk.hidden)
    compare_pages(old, new, walk.renamed, lambda path: path not in hidden, shown, result, options)
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


@dataclass(slots=True)
class TreeComparison:
    """The walk over two trees.

    Args:
        gaps: what each image could not read.
        not_compared: what one of the images does not show, by its path.
        payload: pairs of nodes whose contents correspond.
        renamed: paths of elements that have a new name in the second image: new to old.
        hidden: paths below which one image was not read.
    """

    old: Image
    new: Image
    options: DiffOptions
    gaps: tuple[Gaps, Gaps]
    changes: list[Change] = field(default_factory=list)
    not_compared: dict[str, NotCompared] = field(default_factory=dict)
    payload: list[tuple[Node, Node]] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
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
        if known_on_one_side(a, b):
            self._unknown_format(a, b)
            return []
        lost = self._lost(a, b)
        if a.table is not None and b.table is not None:
            self._tables(a, b, lost)
            return []
        self._remember_payload(a, b)
        if not is_group(a) or not is_group(b):
            unread = unread_handle(a, self.old), unread_handle(b, self.new)
            if any(unread):
                side = Side.BOTH if all(unread) else SIDES[unread[1]]
                self._gap(NotCompared(a.path, Why.UNKNOWN_FORMAT, side))
            return []
        below = self._children(a, b, skip, lost)
        self._layout(a, b, lost)
        return below

    def _layout(self, a: Node, b: Node, lost: tuple[bool, bool]) -> None:
        addresses = self.options.addresses
        faulty = self.gaps[0].rules(a) != self.gaps[1].rules(b)
        self.changes += Layouts(self.old, self.new, lost, addresses, faulty).compare(a, b)

    def _unknown_format(self, a: Node, b: Node) -> None:
        before = len(self.changes)
        self._layout(a, b, (False, False))
        change = version_change(a, b)
        # A different size of the blob explains why its format is not known.
        if change is not None and (before == len(self.changes) or change.path != a.path):
            self.changes.append(change)
        side = Side.FIRST if b.format else Side.SECOND
        self._gap(NotCompared(a.path, Why.UNKNOWN_FORMAT, side))
        self.hidden.append(a.path)

    def _lost(self, a: Node, b: Node) -> tuple[bool, bool]:
        """The side or sides on which the target of a node is incomplete."""
        reasons = self.gaps[0].reason(a), self.gaps[1].reason(b)
        lost = bool(reasons[0]), bool(reasons[1])
        if lost == (False, False):
            return lost
        side = 0 if lost[0] else 1
        one, two = pointer_of(a), pointer_of(b)
        elsewhere = one is not None and two is not None and one.value != two.value
        if lost[0] != lost[1] and elsewhere and not self.gaps[side].partial:
            # The target may be nowhere; with addresses, the change was reported already.
            if not self.options.addresses and one is not None and two is not None:
                self._changed(one, two)
            return lost
        self._gap(not_compared(a.path, *reasons))
        self.hidden.append(a.path)
        return lost

    def _note_formats(self, a: Node, b: Node) -> None:
        if not a.format or not b.format or a.format == b.format:
            return
        nodes = (self.old, a), (self.new, b)
        if any(image.registry.get(n.format).kind in (Kind.FILE, Kind.FLB) for image, n in nodes):
            return
        self.formats[0].add(a.format)
        self.formats[1].add(b.format)

    def _values(self, a: Node, b: Node) -> bool:
        """Compare the values themselves; False if what is below them is not to be compared."""
        if isinstance(a.value, Absent) or isinstance(b.value, Absent):
            self._absent_values(a, b)
            return False
        if is_group(a) != is_group(b):
            self._one_group(a, b)
            return False
        if self._value_differs(a, b):
            self._changed(a, b)
        return True

    def _absent_values(self, a: Node, b: Node) -> None:
        reasons = [node.value.reason if is_unknown(node.value) else None for node in (a, b)]
        if any(reasons):
            self._gap(not_compared(a.path, *reasons))
        elif type(a.value) is not type(b.value):
            self._changed(a, b)

    def _value_differs(self, a: Node, b: Node) -> bool:
        if is_address(a) or is_address(b):
            # Whether there is a target at all does not depend on addresses.
            appeared = bool(a.value) != bool(b.value) and not is_group(a)
            return appeared or (self.options.addresses and a.value != b.value)
        if a.value == b.value or is_group(a):
            return False
        other_format = is_version(a) and a.format and b.format and a.format != b.format
        return not other_format and not self._counted(a, b)

    def _one_group(self, a: Node, b: Node) -> None:
        """Report that a node has a target in one of the images only."""
        same = bool(a.value) == bool(b.value)
        reasons = self.gaps[0].reason(a), self.gaps[1].reason(b)
        outside = unfollowed(a, self.old), unfollowed(b, self.new)
        if any(outside) or (same and any(reasons)):
            found = [
                reason or (Reason.NOT_CAPTURED if led_out else None)
                for reason, led_out in zip(reasons, outside, strict=True)
            ]
            self._gap(not_compared(a.path, *found))
        elif same and any(gap.limited for gap in self.gaps):
            self._limit()
        elif same and handler_of(a) != handler_of(b):
            self._gap(NotCompared(a.path, Why.OTHER_HANDLER, Side.BOTH))
        else:
            self._changed(a, b)
            return
        self.hidden.append(a.path)

    def _counted(self, a: Node, b: Node) -> bool:
        """True for the length of a list whose own elements show the difference."""
        label = a.field.counts if a.field is not None else ""
        if not label or a.parent is None or b.parent is None:
            return False
        lists = (a.parent.get(label), b.parent.get(label))
        return length_of(lists[0]) != length_of(lists[1])

    def _tables(self, a: Node, b: Node, lost: tuple[bool, bool]) -> None:
        assert a.table is not None
        assert b.table is not None
        before = len(self.changes)
        self._layout(a, b, lost)
        found, longer = compare_tables(a, b, addresses=self.options.addresses)
        cut = [
            Reason.NOT_CAPTURED if len(table) < table.declared else None
            for table in (a.table, b.table)
        ]
        if any(cut):
            self._gap(not_compared(a.path, *cut))
            found = [change for change in found if change.kind is ChangeKind.CHANGED]
            if before == len(self.changes):
                self.hidden.append(a.path)
        self._remember_payload(a, b)
        old, new = count_of(a), count_of(b)
        if longer and old is not None and new is not None and old.value != new.value:
            # The number of rows implies it.
            self._changed(old, new)
            return
        self.changes += found

    def _children(
        self, a: Node, b: Node, skip: str, lost: tuple[bool, bool]
    ) -> list[tuple[Node, Node]]:
        left, right = self._content(a, b, skip)
        common = [key for key in left if key in right]
        gone = [key for key in left if key not in right]
        more = [key for key in right if key not in left]
        if a.kind is NodeKind.LIST or a.parent is None:
            self._moves(left, right, common)
        if a.kind is NodeKind.LIST and len(gone) == len(more) <= MOST_RENAMES and gone:
            gone, more = self._renames(left, right, gone, more)
        only = [left[key] for key in gone], [right[key] for key in more]
        self._one_sided_children(a, b, *only, lost)
        return [(left[key], right[key]) for key in common]

    def _one_sided_children(
        self, a: Node, b: Node, gone: list[Node], more: list[Node], lost: tuple[bool, bool]
    ) -> None:
        """What only one of two nodes has, unless the other's image may have lost it."""
        if not gone and not more:
            return
        other_format = bool(a.format and b.format and a.format != b.format)
        partial = is_unknown(a.value) or is_unknown(b.value)
        explained = self._unknown_nodes(gone, more) if a.parent is not None else set()
        for lost_there, kind, nodes in (
            (lost[1], ChangeKind.REMOVED, gone),
            (lost[0], ChangeKind.ADDED, more),
        ):
            for node in nodes if not lost_there else ():
                if id(node) not in explained:
                    self._one_sided(kind, node, other_format, partial)

    def _unknown_nodes(self, gone: list[Node], more: list[Node]) -> set[int]:
        """Nodes that only one image knows the format of; the ids of what that explains."""
        explained: set[int] = set()
        for side, known, other in ((1, gone, more), (0, more, gone)):
            for version, text, nodes in unknown_nodes(known, other):
                pair = (str(version.value), text) if side else (text, str(version.value))
                self.changes.append(Change(ChangeKind.CHANGED, version.path, *pair, pair))
                self._gap(NotCompared(version.path, Why.UNKNOWN_FORMAT, SIDES[side]))
                explained |= {id(node) for node in nodes}
                self.hidden += [node.path for node in nodes]
        return explained

    def _content(self, a: Node, b: Node, skip: str) -> tuple[dict[Key, Node], dict[Key, Node]]:
        """Children that are content, by keys that correspond."""
        sides = []
        for node, image in ((a, self.old), (b, self.new)):
            found = [
                child
                for child in content_of(node, image)
                if child.name != "target" or not is_marker(child)
            ]
            sides.append([child for child in found if child.name != skip] if skip else found)
        names = [[(child.name, child.key and plain_key(child)) for child in side] for side in sides]
        keys = paired(names[0], names[1])
        return (
            dict(zip(keys[0], sides[0], strict=True)),
            dict(zip(keys[1], sides[1], strict=True)),
        )

    def _moves(self, left: dict[Key, Node], right: dict[Key, Node], common: list[Key]) -> None:
        keys = [key for key in common if key[0][1] is not None or left[key].kind is NodeKind.ENTRY]
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
            probe = TreeComparison(self.old, self.new, self.options, self.gaps, probing=True)
            probe.run(a, b, label)
            if probe.changes:
                continue
            field_a, field_b = a.get(label), b.get(label)
            assert field_a is not None
            assert field_b is not None
            self._changed(field_a, field_b)
            self.payload += probe.payload
            self.not_compared.update(probe.not_compared)
            self.hidden += probe.hidden
            self.renamed[b.path] = a.path
            gone.remove(key)
            more.remove(other)
        return gone, more

    def _one_sided(self, kind: ChangeKind, node: Node, other_format: bool, partial: bool) -> None:
        other = self.new if kind is ChangeKind.REMOVED else self.old
        at = 0 if kind is ChangeKind.ADDED else 1
        if other.phase is Phase.CONSUMED and (partial or is_unknown(node.value)):
            self._gap(NotCompared(node.path, Why.CONSUMED, SIDES[at]))
            return
        if is_unknown(node.value):
            self._gap(NotCompared(node.path, Why(node.value.reason), SIDES[1 - at]))
            return
        if self.gaps[at].limited:
            self._limit()
            return
        # A format without this field means the same as a 0 in it.
        if other_format and not is_group(node) and is_implied(node):
            return
        self.changes.append(one_sided(kind, node))

    def _changed(self, a: Node, b: Node) -> None:
        self.changes.append(changed(a, b))

    def _remember_payload(self, a: Node, b: Node) -> None:
        element = a.key is not None and not a.name
        if self.options.contents and (element or a.table is not None or points_to(a) in PAYLOAD):
            self.payload.append((a, b))

    def _limit(self) -> None:
        """Note where decoding stopped at a limit: the image may have what only the other shows."""
        limited = [Reason.LIMIT if gap.limited else None for gap in self.gaps]
        self._gap(not_compared("/", *limited))
        self.hidden.append("/")

    def _gap(self, gap: NotCompared) -> None:
        if len(self.not_compared) < MOST_GAPS:
            self.not_compared.setdefault(gap.path, gap)
