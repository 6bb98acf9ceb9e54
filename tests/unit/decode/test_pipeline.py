"""From a source to an image: each step makes a new value, and asks no more than it needs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from khotool.absent import Absent
from khotool.check.run import check_image
from khotool.codec.scene import Scene
from khotool.decode import open as opening
from khotool.decode.decoded import decode_root
from khotool.decode.open import open_image
from khotool.decode.phase import BOOTED, phased
from khotool.discovery.root_tree import RootTree, read_root
from khotool.fdt.parse import parse
from khotool.limits import OpenOptions
from khotool.model.image import Image, Phase
from khotool.model.lookup import find_node
from khotool.model.node import NodeState
from tests.builders import overlaid
from tests.unit.decode.fixture_images import good, options

EVERYTHING = "7.2-everything"


def root_of(image: Image) -> RootTree:
    """The root of an image, read once more."""
    assert image.tree.span is not None
    place = image.tree.span.address
    data = image.space.read(place, image.tree.span.size)
    scene = Scene.of(image.space, image.registry, image.geometry)
    return read_root(scene, parse(data), place)


def test_an_image_does_not_change() -> None:
    """Neither an image nor what it is made of can be set once it is made."""
    image = good(EVERYTHING)
    assert image.root is not None
    for value, name in ((image, "phase"), (image, "map"), (image.root, "why")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, None)


def test_ownership_is_computed_once() -> None:
    """The one thing that an image keeps of what it was asked."""
    image = good(EVERYTHING)
    assert image.ownership() is image.ownership()


def test_a_map_is_read_without_what_hangs_from_the_root() -> None:
    """A root's map and what it says of the root need no walk."""
    root = root_of(good(EVERYTHING))
    assert root.covers_itself
    assert not root.awaits_map
    assert not isinstance(root.scene.map, Absent)


def test_only_the_root_that_is_meant_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one outgoing root and its copies, copies are not decoded to be told apart."""
    first = good(EVERYTHING)
    assert first.tree.span is not None
    page = bytes(first.space.read(first.tree.span.address, first.geometry.page_size))
    copies = [(0x7000_0000 + number * 4096, page) for number in range(3)]
    decoded = []

    def counted(root: RootTree, **named: Any) -> object:
        decoded.append(root.address)
        return decode_root(root, **named)

    monkeypatch.setattr(opening, "decode_root", counted)
    asked = OpenOptions(page_size=4096, byteorder="little")
    image = overlaid(first, copies, asked)
    assert len(image.roots) == 4
    assert decoded == [first.tree.span.address]


def test_consuming_leaves_what_was_decoded() -> None:
    """A handover that a kernel has used up is another value; what was decoded stays whole."""
    decoded = decode_root(root_of(good(EVERYTHING)))
    before = [(node.path, node.kind, str(node.value)[:80]) for node in decoded.tree.walk()]
    handover = phased(decoded, BOOTED, search=False)
    after = [(node.path, node.kind, str(node.value)[:80]) for node in decoded.tree.walk()]
    assert before == after
    assert handover.decoded.tree is not decoded.tree
    regions = [region for region in handover.decoded.regions if region.path.startswith("/LUO")]
    assert regions
    tops = set()
    for region in regions:
        node = region.node
        assert node is not None
        while node.parent is not None:
            node = node.parent
        tops.add(node)
    assert tops == {handover.decoded.tree}


# -- what is known, and what is guessed ------------------------------------------------------


def raw(tmp_path: Path, image: Image) -> tuple[Path, int]:
    """Memory of an image as one file without addresses, and the address of its first byte."""
    extents = image.space.extents()
    start, end = int(extents[0, 0]), int(extents[-1, 1])
    data = bytearray(end - start)
    for low, high in extents.tolist():
        data[low - start : high - start] = image.space.read(low, high - low)
    path = tmp_path / "memory.bin"
    path.write_bytes(data)
    return path, start


@pytest.mark.parametrize("shift", [4096, 64 << 20], ids=["other bytes", "nothing there"])
def test_wrong_base_is_not_a_kernel_that_booted(tmp_path: Path, shift: int) -> None:
    """Where no address of the root leads anywhere, the phase is unknown, and --base is named."""
    path, start = raw(tmp_path, good("7.1-sessions"))
    right = open_image(path, OpenOptions(base=start))
    assert right.phase is Phase.FROZEN
    wrong = open_image(path, OpenOptions(base=start + shift))
    assert wrong.entries
    assert wrong.phase is Phase.UNKNOWN
    assert "--base may be wrong" in wrong.phase_why


# -- states ----------------------------------------------------------------------------------


def test_an_annotation_does_not_hide_that_a_handler_is_unknown() -> None:
    """Memory of an unknown handler may be its own, whatever a handler says of its node."""
    first = good(EVERYTHING)
    session = find_node(first, "/LUO/sessions").elements()[0].path
    file = next(
        f.path
        for f in find_node(first, f"{session}/files").elements()
        if f.value_of("handler") == "memfd-v2"
    )
    place = find_node(first, f"{file}/handler").span
    assert place is not None
    image = overlaid(first, [(place.address, b"mine-v1".ljust(place.size, b"\0"))], options(first))
    node = find_node(image, f"{file}/data")
    assert node.state is NodeState.UNKNOWN_HANDLER
    plain = {finding.rule for finding in check_image(image)}
    assert "MEM307" in plain
    assert "MEM305" not in plain
    node.annotation = "guest-ram"
    assert node.note == "unknown handler; guest-ram"
    assert {finding.rule for finding in check_image(image)} == plain
