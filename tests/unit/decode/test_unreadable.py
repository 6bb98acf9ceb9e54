"""Pages that are there and cannot be read: what stands in front of them is read all the same."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from khotool.absent import Absent, Reason
from khotool.codec.contexts import Walk
from khotool.codec.entry import entry_blob
from khotool.codec.scene import read_tree
from khotool.codec.tree import read_fdt
from khotool.decode.open import open_memory
from khotool.discovery.scan import scan
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property
from khotool.fdt.write import build_sequential
from khotool.limits import Limits
from khotool.memory.overlay import OverlaySpace
from khotool.memory.space import AddressSpace, MemoryFault
from khotool.model.image import Node, NodeKind
from tests.builders import REGISTRY
from tests.unit.codec.walks import walk_over, walk_place
from tests.unit.decode.fixture_images import NOWHERE, good, options, told

PAGE = 4096
PLACE = 0x7000_0000
EVERYTHING = "7.2-everything"


class Failing(OverlaySpace):
    """Memory with pages that are there and that fail, as those of a host or a damaged dump do.

    Args:
        bad: address of a page to the reads that start at it before it fails; one that fails at
            once may be the last of a longer read, which names it.
    """

    def __init__(
        self, base: AddressSpace | None, writes: Mapping[int, bytes], bad: Mapping[int, int]
    ) -> None:
        super().__init__(base, writes)
        self.bad = dict(bad)

    def read(self, address: int, length: int) -> memoryview:
        data = super().read(address, length)
        for page, left in sorted(self.bad.items()):
            if page < address + length and address < page + PAGE:
                if not left:
                    raise MemoryFault(max(page, address), PAGE, Reason.UNREADABLE, "it fails")
                self.bad[page] -= page == address
        return data


def long_tree() -> bytes:
    """A KHO root of more than two pages."""
    root = FdtNode("", items=[Property("compatible", b"kho-v4\0"), Property("x", bytes(9000))])
    return build_sequential(root)


def walker(space: AddressSpace) -> Walk:
    return walk_over(space, REGISTRY, PAGE)


def test_tree_with_a_page_that_fails() -> None:
    """A tree is read up to the page that fails, where its first page can be read."""
    space = Failing(None, {PLACE: long_tree().ljust(3 * PAGE, b"\0")}, {PLACE + PAGE: 0})
    blob = read_tree(space, PLACE)
    assert blob is not None
    assert blob.root is not None
    assert not blob.complete
    assert len(blob.data) == PAGE
    # Names stand behind the values, and so in a page that is not read.
    assert [(prop.name, prop.value) for prop in blob.root.properties] == [("", b"kho-v4\0")]
    assert scan(space, REGISTRY, "little", Limits()).trees == 1


def test_tree_whose_only_page_fails_later() -> None:
    """A header without its page is all that there is of a tree."""
    space = Failing(None, {PLACE: long_tree()[:PAGE]}, {PLACE: 1})
    blob = read_tree(space, PLACE)
    assert blob is not None
    assert blob.root is None
    assert read_tree(space, PLACE) is None


def test_tree_at_the_end_of_memory() -> None:
    """Of a tree in less than a page at the end of memory, the header is what is read."""
    blob = read_tree(OverlaySpace(None, [(PLACE, long_tree()[:100])]), PLACE)
    assert blob is not None
    assert (len(blob.data), blob.root) == (40, None)


def test_page_that_fails_in_front_of_a_gap() -> None:
    """Of several pages that are missing, the first ends what is read."""
    space = Failing(None, {PLACE: bytes(3 * PAGE)}, {PLACE + PAGE: 0})
    found = walker(space).scene.read(PLACE, 5 * PAGE, short=True)
    assert not isinstance(found, Absent)
    assert len(found) == PAGE
    none = walker(space).scene.read(PLACE + PAGE, 5 * PAGE, short=True)
    assert isinstance(none, Absent)
    assert (none.reason, none.detail) == (Reason.UNREADABLE, "it fails")
    assert isinstance(walker(space).scene.read(PLACE, 5 * PAGE), Absent)


def test_tree_in_front_of_pages_that_fail() -> None:
    """A tree behind a pointer is read up to the first page that is missing."""
    space = Failing(None, {PLACE: long_tree()[: 2 * PAGE]}, {PLACE + PAGE: 0})
    made = walker(space)
    blob = read_fdt(made, made.recorder.tree, PLACE)
    assert blob is not None
    assert len(blob.data) == PAGE
    assert made.recorder.findings[0].rule == "FDT102"


@pytest.mark.parametrize(
    ("data", "reads", "expected"),
    [
        (None, 0, ("MEM301", f"{PLACE:#x}: it fails")),
        (None, 1, ("MEM301", f"{PLACE:#x}: it fails")),
        (b"nothing!" * 8, 9, ("FDT101", f"no device tree at {PLACE:#x}")),
    ],
    ids=["at once", "behind its header", "no tree"],
)
def test_tree_that_is_none(data: bytes | None, reads: int, expected: tuple[str, str]) -> None:
    """A tree that cannot be read, that is gone when it is, and one that never was."""
    made = walker(Failing(None, {PLACE: data or long_tree()}, {PLACE: reads}))
    walk_place(made, PLACE)
    assert [(f.rule, f.message) for f in made.recorder.findings] == [expected]
    assert made.recorder.tree.children == []


def test_blob_that_is_gone_when_it_is_read() -> None:
    """A record whose first bytes could be read, and then no more."""
    made = walker(Failing(None, {PLACE: bytes(PAGE)}, {PLACE: 1}))
    node = made.recorder.tree.add(Node("LUO", NodeKind.ENTRY))
    entry_blob(made, node, PLACE, 32)
    assert [(f.rule, f.path) for f in made.recorder.findings] == [("MEM301", "/LUO")]
    assert node.children == []


def test_other_trees_that_are_gone() -> None:
    """A device tree that could be peeked at, and not read, names no root."""
    first = good(EVERYTHING)
    chosen = FdtNode("chosen")
    for name in ("linux,kho-fdt", "linux,kho-scratch"):
        pair = NOWHERE.to_bytes(8, "big") + PAGE.to_bytes(8, "big")
        chosen.items.append(Property(name, pair))
    tree = build_sequential(FdtNode("", items=[chosen])).ljust(PAGE, b"\0")
    numbers = []
    for left in range(1, 8):
        space = Failing(first.space, {PLACE: tree}, {PLACE: left})
        numbers.append(len(scan(space, REGISTRY, "little", Limits()).pointers))
        assert told(open_memory(space, REGISTRY, options(first))) == []
    # The first word, header and tree to look at it, and both again to read it.
    assert numbers == [0, 0, 0, 0, 1, 1, 1]
