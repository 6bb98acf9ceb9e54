"""Roots and boot data in memory without symbols: what is found, and what is not mistaken for it."""

from __future__ import annotations

from typing import Any

import pytest

from khotool.absent import Absent
from khotool.discovery import scan as scanning
from khotool.discovery.bootdata import BootPointer
from khotool.discovery.scan import scan
from khotool.errors import InputError, UsageError
from khotool.fdt.blob import Node, Property
from khotool.fdt.write import build_sequential
from khotool.limits import Limits, OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Image, Phase, Role, Scratch, Span
from tests.builders import REGISTRY, decode, overlaid
from tests.unit.decode.test_open import AREAS, areas_bytes, booted, root_of, setup_data

MODEL: dict[str, Any] = {"abi": "7.2", "reserve_mem": [{"name": "trace", "size": 4096}]}
FREE = 0x7000_0000
"""Memory that nothing of the image is in."""


def pointers(image: Image, *writes: tuple[int, bytes]) -> list[BootPointer]:
    """Boot data that a scan of the image with bytes over it finds."""
    return scan(OverlaySpace(image.space, writes), REGISTRY, "little", Limits()).pointers


def found(image: Image, limits: Limits | None = None) -> list[int]:
    """Addresses of the roots that a scan finds."""
    result = scan(image.space, REGISTRY, "little", limits or Limits())
    return [candidate.address for candidate in result.roots]


# -- boot data -------------------------------------------------------------------------------


def test_boot_data_of_a_large_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory is too much to search, boot data is found beside the scratch array."""
    monkeypatch.setattr(scanning, "SMALL_IMAGE", 0)
    image = booted(decode(MODEL))
    assert image.phase is Phase.INCOMING
    assert isinstance(image.scratch, Scratch)
    assert image.scratch.areas == AREAS


def test_arrays_that_were_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """An array in no area of its own, or not where kexec puts segments, is no place to search."""
    monkeypatch.setattr(scanning, "SMALL_IMAGE", 0)
    image = decode(MODEL)
    place = AREAS[0].address + 0x2_0000
    boot = setup_data(root_of(image), AREAS[0].address + 0x1_0000).ljust(4096, b"\0")
    for array in (FREE, AREAS[0].address + 0x1000):
        assert pointers(image, (array, areas_bytes(AREAS)), (place, boot)) == []
    array = AREAS[0].address + 0x1_0000
    (pointer,) = pointers(image, (array, areas_bytes(AREAS)), (place, boot))
    assert (pointer.fdt, pointer.where.address) == (root_of(image), place)


def test_searches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside an array, no more is searched than the limit says."""
    monkeypatch.setattr(scanning, "SMALL_IMAGE", 0)
    image = decode(MODEL)
    array, place = AREAS[0].address + 0x1_0000, AREAS[0].address + 0x2_0000
    writes = [(array, areas_bytes(AREAS)), (place, setup_data(root_of(image), array) + bytes(4096))]
    space = OverlaySpace(image.space, writes)
    assert len(scan(space, REGISTRY, "little", Limits(scan=1 << 21)).pointers) == 1
    assert scan(space, REGISTRY, "little", Limits(scan=1 << 16)).pointers == []


def test_boot_data_that_is_none() -> None:
    """Words that look like boot data: cut off, not aligned, of no root or of no scratch."""
    image = decode(MODEL)
    array, place = AREAS[0].address + 0x1_0000, AREAS[0].address + 0x2_0000
    areas = (array, areas_bytes(AREAS))
    good = setup_data(root_of(image), array)
    assert len(pointers(image, areas, (place, good.ljust(4096, b"\0")))) == 1
    for data in (
        b"1234" + good,
        setup_data(root_of(image) + 4096, array),
        setup_data(0, array),
        setup_data(root_of(image), array, 0),
    ):
        assert pointers(image, areas, (place, data.ljust(4096, b"\0"))) == []
    assert pointers(image, areas, (FREE, good[:-1])) == []


def test_two_places_of_the_same_boot_data() -> None:
    """A value that looks like the start of boot data inside of boot data is seen once."""
    image = decode(MODEL)
    array, place = AREAS[0].address + 0x1_0000, AREAS[0].address + 0x2_0000
    good = setup_data(root_of(image), array)
    twice = pointers(image, (array, areas_bytes(AREAS)), (place, (good + good).ljust(4096, b"\0")))
    assert [pointer.where for pointer in twice] == [Span(place, 48), Span(place + 48, 48)]


def test_boot_data_whose_array_is_not_captured() -> None:
    """Boot data that names memory outside of the capture is believed."""
    image = decode(MODEL)
    (pointer,) = pointers(image, (FREE, setup_data(root_of(image), 0xDEAD_0000).ljust(4096, b"\0")))
    assert pointer.scratch == Span(0xDEAD_0000, 48)
    booted = overlaid(image, [(FREE, setup_data(root_of(image), 0xDEAD_0000).ljust(4096, b"\0"))])
    assert booted.phase is Phase.INCOMING
    assert isinstance(booted.scratch, Scratch)
    assert booted.scratch.areas == AREAS
    assert booted.scratch.why.startswith("an array of scratch areas at")


def node(name: str, *items: Property | Node) -> Node:
    made = Node(name)
    made.items.extend(items)
    return made


CELLS = [Property(name, (2).to_bytes(4, "big")) for name in ("#address-cells", "#size-cells")]


def chosen(*properties: Property) -> bytes:
    return build_sequential(node("", *CELLS, node("chosen", *properties)))


@pytest.mark.parametrize(
    "tree",
    [
        build_sequential(node("", *CELLS)),
        chosen(),
        chosen(Property("linux,kho-fdt", bytes(16))),
        chosen(Property("linux,kho-fdt", bytes(16)), Property("linux,kho-scratch", bytes(8))),
    ],
    ids=["no chosen", "empty", "no scratch", "other cells"],
)
def test_trees_that_are_no_boot_data(tree: bytes) -> None:
    """A device tree whose /chosen names no root, or not in its own cells, says nothing."""
    image = decode(MODEL)
    assert pointers(image, (FREE, tree.ljust(4096, b"\0"))) == []
    assert overlaid(image, [(FREE, tree.ljust(4096, b"\0"))]).findings == []


def test_cells_that_are_unusual() -> None:
    """Cells of another size than 1 or 2, or none at all, are read as 2."""
    image = decode(MODEL)
    value = root_of(image).to_bytes(8, "big") + (4096).to_bytes(8, "big")
    scratch = (0xDEAD_0000).to_bytes(8, "big") + (48).to_bytes(8, "big")
    names = [Property("linux,kho-fdt", value), Property("linux,kho-scratch", scratch)]
    for cells in ([], [Property("#address-cells", bytes(4)), Property("#size-cells", b"\3")]):
        tree = build_sequential(node("", *cells, node("chosen", *names)))
        (pointer,) = pointers(image, (FREE, tree.ljust(4096, b"\0")))
        assert (pointer.fdt, pointer.scratch) == (root_of(image), Span(0xDEAD_0000, 48))


# -- roots -----------------------------------------------------------------------------------


def test_damaged_root_is_found_by_its_words() -> None:
    """A root without magic, or with another compatible string, is found where no whole one is."""
    image = decode(MODEL)
    damaged = overlaid(image, [(root_of(image), b"\0\0\0\0")])
    assert damaged.root is not None
    assert damaged.root.address == root_of(image)
    assert any("bad-magic" in finding.message for finding in damaged.findings)


def test_words_of_a_root_elsewhere() -> None:
    """Text with the words of a root, in no tree, or in a tree without it, is no root."""
    image = decode(MODEL)
    word = b"preserved-memory-map\0"
    other = build_sequential(node("", Property("named", word)))
    writes = [
        (root_of(image), bytes(4096)),
        (FREE, (b"x" * 100 + word).ljust(4096, b"x")),
        (FREE + 0x1_0000, other.ljust(4096, b"\0")),
        (FREE + 0x2_0000, word * 3),
    ]
    with pytest.raises(InputError, match="no KHO root: "):
        overlaid(image, writes)


def test_few_damaged_roots_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory full of damaged roots costs no more than the first of them."""
    monkeypatch.setattr(scanning, "MAX_DAMAGED", 2)
    image = decode(MODEL)
    page = b"\0\0\0\0" + bytes(image.space.read(root_of(image), 4096))[4:]
    writes = [(root_of(image), page), *((FREE + 4096 * i, page) for i in range(5))]
    assert found(overlaid(image, writes)) == [root_of(image), FREE]


def test_roots_beyond_the_budget_are_left() -> None:
    """A scan reads so many trees as its limit allows; of others, their first page is looked at."""
    image = decode(MODEL)
    page = bytes(image.space.read(root_of(image), 4096))
    both = overlaid(image, [(FREE, page)])
    assert found(both) == [root_of(image), FREE]
    result = scan(both.space, REGISTRY, "little", Limits(scan=0))
    assert set(result.unread) > {root_of(image), FREE}
    assert [candidate.address for candidate in result.roots] == [root_of(image), FREE]


def test_unknown_version_of_a_root() -> None:
    """A root whose string is newer than all definitions is a root, with a finding that says so."""
    image = decode(MODEL)
    page = bytes(image.space.read(root_of(image), 4096)).replace(b"kho-v4\0", b"kho-v9\0")
    newer = overlaid(image, [(root_of(image), page)])
    assert [(f.rule, f.message) for f in newer.findings] == [
        ("ABI901", "no definition for the root 'kho-v9'")
    ]
    assert newer.tree.value_of("compatible") == b"kho-v9\0"


def test_big_endian_words() -> None:
    """Arrays of scratch areas are found in the byte order of the image; boot data is x86."""
    regions = [{"name": "trace", "size": "64K"}]
    image = decode({"abi": "7.2", "endian": "big", "page_size": "64K", "reserve_mem": regions})
    assert isinstance(image.scratch, Scratch)
    result = scan(image.space, REGISTRY, "big", Limits())
    assert [areas for _, areas in result.scratch] == [image.scratch.areas]
    assert image.scratch.address is not None
    assert [address for address, _ in result.scratch] == [image.scratch.address]


def test_named_root_that_is_no_tree() -> None:
    """Memory that begins with no magic is no root, even if it is named."""
    image = decode(MODEL)
    for address in (FREE, FREE + 4096 - 20):
        with pytest.raises(UsageError, match=f"--root {address:#x}: there is no device tree"):
            overlaid(image, [(FREE, bytes(4096))], OpenOptions(root=address))


def test_no_memory() -> None:
    """Nothing is found in a space without memory, and the error says what was tried."""
    space = OverlaySpace(None, [])
    result = scan(space, REGISTRY, "little", Limits())
    assert (result.pages, result.trees, result.roots, result.pointers) == (0, 0, [], [])


def test_trees_that_do_not_parse() -> None:
    """A magic with nothing sound behind it is no root, whatever its header says."""
    image = decode(MODEL)
    header = bytes(image.space.read(root_of(image), 40))
    page = bytes(image.space.read(root_of(image), 4096))
    for data in (
        header[:4] + b"\xff" * 4092,
        header[:4] + bytes(4092),
        header[:8] + b"\xff" * 8 + page[16:],
        page[:56] + b"\xff" * 4040,
    ):
        other = overlaid(image, [(FREE, data)])
        assert found(other) == [root_of(image)]
        assert other.findings == []
    # A size that is wrong is no reason not to read the root.
    odd = overlaid(image, [(FREE, page[:4] + b"\xff" * 4 + page[8:])])
    assert FREE in found(odd)


def test_damaged_root_whose_header_is_gone() -> None:
    """The words of a root behind a header that makes no sense are no root either."""
    image = decode(MODEL)
    page = bytes(image.space.read(root_of(image), 4096))
    damaged = b"\xff" * 40 + page[40:]
    assert found(overlaid(image, [(FREE, damaged)])) == [root_of(image)]
    with pytest.raises(InputError, match="no KHO root"):
        overlaid(image, [(root_of(image), damaged)])


@pytest.mark.parametrize(
    "change", ["two", "unaligned", "overlap", "no size", "tail", "part of a page"]
)
def test_arrays_that_are_none(change: str) -> None:
    """Words that could be scratch areas, but not as kernels have them, are no array."""
    mib = 1 << 20
    areas = {
        "two": AREAS[:2],
        "unaligned": [*AREAS[:2], Span(0x300_1000, mib)],
        "overlap": [*AREAS, Span(AREAS[0].address + 2 * mib, 16 * mib)],
        "no size": [*AREAS, Span(0x300_0000, 0)],
        "part of a page": [*AREAS, Span(0x300_0000, 100)],
    }.get(change, AREAS)
    data = areas_bytes(areas)
    if change == "tail":
        data = data[:-8] + b"x" * 8
    image = decode(MODEL)
    (array,) = (address for address, _ in scan(image.space, REGISTRY, "little", Limits()).scratch)
    other = overlaid(image, [(array, data)])
    assert isinstance(other.scratch, Absent)


def test_progress() -> None:
    """A scan tells pages seen and pages in all, ending with all of them."""
    image = decode(MODEL)
    seen: list[tuple[int, int | None]] = []
    result = scan(
        image.space, REGISTRY, "little", Limits(), lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (result.pages, result.pages)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_stale_root_of_a_reused_map() -> None:
    """Without boot data, a root whose map holds other data is taken for one that was used."""
    image = decode(MODEL)
    assert not isinstance(image.map, Absent)
    noise = (bytes(range(1, 256)) * 17)[:4096]
    pages = [(int(address), noise) for address in image.map.pages.address]
    used = overlaid(image, pages)
    assert used.phase is Phase.CONSUMED
    assert used.root is not None
    assert (used.root.role, "as after a boot" in used.root.why) == (Role.INCOMING, True)
