"""Limits that are reached in the middle of something: what there was stays, and one finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from khotool.codec.contexts import Walk
from khotool.codec.follow import follow
from khotool.codec.scene import Scene
from khotool.codec.tables import read_extents, tail_bytes
from khotool.decode.open import open_memory
from khotool.encode.lift import handover_of
from khotool.limits import Limits, OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Image, Node
from khotool.model.lookup import find_node
from tests.builders import REGISTRY, overlaid
from tests.unit.decode.fixture_images import good, options

LOGS, SPARSE = "7.4-frontier-log-and-poison", "kho-array-sparse"
FOLIOS = "/LUO/files[0x1]/data/folios"


def spent(image: Image, limits: Limits) -> Walk:
    """A walk with nothing left of its limits."""
    walk = Walk.over(Scene.of(image.space, image.registry, image.geometry, limits=limits))
    walk.recorder.budget.spend(walk.scene.limits.nodes, walk.scene.limits.bytes)
    return walk


def log(walk: Walk, image: Image) -> tuple[Node, object]:
    """The bytes behind a record."""
    old = find_node(image, "/pstore-kho/buf")
    assert old.span is not None
    assert old.field is not None
    node = walk.recorder.tree.add(Node("pstore-kho", old.kind))
    definition = image.registry.get(old.format)
    tail_bytes(walk, node, old.field, definition, old.span.address, old.span.size)
    (child,) = node.children
    return child, child.value


def array(walk: Walk, image: Image) -> tuple[Node, object]:
    """The pages of an array that two extents name."""
    top = int(image.space.extents()[0, 0])
    node = walk.recorder.tree.add(Node("array", find_node(image, "/").kind))
    extents = np.array([[top, 16], [top, 32]], np.uint64)
    data, kept = read_extents(walk, node, extents)
    assert kept.shape == (0, 2)
    return node, bytes(data)


def words(walk: Walk, image: Image) -> tuple[Node, object]:
    """The pages of a sparse array."""
    old = find_node(image, FOLIOS)
    assert old.field is not None
    assert old.field.holds is not None
    node = walk.recorder.tree.add(Node("folios", old.kind, struct=old.struct, field=old.field))
    first = find_node(image, f"{FOLIOS}/first")
    node.add(Node("first", first.kind, field=first.field, value=first.value))
    follow(walk, node, old.field, image.registry.get(old.format), {})
    assert node.table is not None
    assert node.get("pages") is None
    return node, len(node.table).to_bytes(4, "little").strip(b"\0")


@pytest.mark.parametrize(
    ("name", "read"), [(LOGS, log), (LOGS, array), (SPARSE, words)], ids=["log", "array", "words"]
)
def test_nothing_is_read_behind_the_limit(
    name: str, read: Callable[[Walk, Image], tuple[Node, object]]
) -> None:
    """What does not fit into the limits stays empty, and one finding names the place."""
    image = good(name)
    walk = spent(image, Limits(nodes=1000, bytes=1 << 20))
    node, value = read(walk, image)
    assert value == b""
    assert [(f.rule, f.path) for f in walk.recorder.findings] == [("LIM001", node.path)]
    assert "--limit nodes=N,bytes=N" in walk.recorder.findings[0].message


@pytest.mark.parametrize("name", [LOGS, SPARSE, "7.2-everything"])
def test_any_limit_gives_a_part_of_the_image(name: str) -> None:
    """With any number of nodes there is no more than in the whole, and a word of the limit."""
    whole = good(name)
    paths = {node.path for node in whole.tree.walk()}
    for nodes in range(1, len(paths) // 4, 2):
        asked = options(whole)
        part = overlaid(
            whole,
            [],
            OpenOptions(
                root=asked.root,
                page_size=asked.page_size,
                byteorder=asked.byteorder,
                limits=Limits(nodes=nodes),
            ),
        )
        assert {node.path for node in part.tree.walk()} <= paths
        # A tree that is longer than the limit says so by itself.
        messages = [f.message for f in part.findings if f.rule == "LIM001"]
        assert messages
        assert sum(message.startswith("stopped at ") for message in messages) <= 1


NEW = (
    "kstate-v3-states",
    "7.4-frontier-cpus-list",
    "7.4-frontier-kvm-x86",
    "7.4-frontier-mshv",
    "7.4-frontier-intel",
    "7.4-frontier-pci-array",
    "kho-array-sparse",
)


@pytest.mark.parametrize("name", NEW)
def test_a_limit_anywhere_is_an_image(name: str) -> None:
    """Wherever the walk stops, there is an image that can be lifted, and one finding says so."""
    image = good(name)
    whole = len(list(image.tree.walk()))
    for nodes in sorted({*range(1, 60, 3), whole // 2, whole}):
        found = overlaid(image, [], replace(options(image), limits=Limits(nodes=nodes)))
        assert nodes > 10 or "LIM001" in {one.rule for one in found.findings}
        handover_of(found)


@pytest.mark.parametrize("name", NEW)
def test_pages_that_are_missing_anywhere_are_findings(name: str) -> None:
    """Each page in turn; what leads to it stays a number."""
    image = good(name)
    assert image.tree.span is not None
    pages = [p for low, high in image.space.extents().tolist() for p in range(low, high, 4096)]
    held = [(page, bytes(image.space.read(page, 4096))) for page in pages[:64]]
    for missing, _ in held:
        space = OverlaySpace(None, [item for item in held if item[0] != missing])
        space.info = image.space.info
        if missing != image.tree.span.address:
            handover_of(open_memory(space, REGISTRY, options(image)))
