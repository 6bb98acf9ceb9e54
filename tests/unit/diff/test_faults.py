from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from khotool.decode.open import open_image, open_memory
from khotool.diff.changes import Comparison, DiffOptions, NotCompared, Result, Side, Why
from khotool.diff.compare import compare
from khotool.limits import OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.memory.space import AddressSpace
from khotool.model.image import Image
from khotool.model.lookup import find_node

REAL = Path(__file__).parents[3] / "fixtures" / "real"
VERDICTS = REAL.parent / "verdicts"
ALPHA = "/LUO/sessions[vm-alpha]"
NOWHERE = 0x7FFF_F000


def capture(release: str, name: str = "image.elf.xz") -> Image:
    return open_image(REAL / f"linux-{release}" / name)


def changes(result: Comparison) -> list[tuple[str, str, Any, Any]]:
    return [(str(c.kind), c.path, c.old, c.new) for c in result.changes]


def paths(result: Comparison) -> list[tuple[str, str]]:
    return [(str(c.kind), c.path) for c in result.changes]


def overlaid(image: Image, address: int, data: bytes) -> Image:
    space = OverlaySpace(image.space, {address: data})
    return open_memory(space, image.registry, OpenOptions())


def number(image: Image, path: str, value: int) -> Image:
    """The image with another number in a field."""
    span = find_node(image, path).span
    assert span is not None
    return overlaid(image, span.address, value.to_bytes(span.size, image.geometry.byteorder))


def text(image: Image, path: str, value: str) -> Image:
    """The image with other text in a field, filled up with zeros."""
    span = find_node(image, path).span
    assert span is not None
    return overlaid(image, span.address, value.encode().ljust(span.size, b"\0"))


@pytest.fixture(scope="module")
def image() -> Image:
    return capture("7.3.4")


@pytest.mark.parametrize("release", ["6.18.15", "6.19.11", "7.1.13", "7.3.4"])
@pytest.mark.parametrize("swapped", [False, True])
def test_what_a_debugfs_copy_lacks_is_not_lost(release: str, swapped: bool) -> None:
    """debugfs shows blobs alone: sessions and FLBs that they point to are not compared."""
    pair = capture(release), capture(release, "debugfs.tar.xz")
    result = compare(*(reversed(pair) if swapped else pair))
    assert changes(result) == []
    assert result.result is Result.INCOMPLETE
    side = Side.FIRST if swapped else Side.SECOND
    assert {gap.side for gap in result.not_compared} == {side}
    if release != "6.18.15":
        assert any(gap.path.startswith("/LUO") for gap in result.not_compared)


FAULTS = sorted(
    path.name
    for path in VERDICTS.iterdir()
    # The kernel's own test differs from boot to boot: its checksum says nothing.
    if path.is_dir() and path.name not in ("clean", "kho-test-csum")
)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_damaged_handover_is_equal(fault: str) -> None:
    """Another boot with one damaged value differs, in few changes, wherever it lies in memory."""
    pair = [open_image(VERDICTS / name / "image.elf.xz") for name in ("clean", fault)]
    result = compare(pair[0], pair[1], DiffOptions(ignore=("/kho_test",)))
    assert not result.equal
    assert len(result.changes) <= 4


def without_page(image: Image, address: int) -> Image:
    """The capture without one page of memory."""

    class Lacking(OverlaySpace):
        def __init__(self, space: AddressSpace, low: int, high: int) -> None:
            super().__init__(space, {})
            self.low, self.high = low, high

        def read(self, address: int, length: int) -> memoryview:
            from khotool.absent import Reason
            from khotool.memory.space import MemoryFault

            if address < self.high and address + length > self.low:
                start = max(address, self.low)
                stop = min(address + length, self.high)
                raise MemoryFault(start, stop - start, Reason.NOT_CAPTURED, "cut out")
            return super().read(address, length)

    page = image.geometry.page_size
    low = address // page * page
    space = Lacking(image.space, low, low + page)
    return open_memory(space, image.registry, OpenOptions())


@pytest.mark.parametrize(
    "path", ["/LUO/sessions", f"{ALPHA}/files", "/LUO/flbs", f"{ALPHA}/files[0x10]/data"]
)
def test_a_page_that_is_not_captured(image: Image, path: str) -> None:
    """Records on a page outside the capture are neither removed nor lost by their owners."""
    target = find_node(image, path).target
    assert target is not None
    other = without_page(image, target.address)
    for side, pair in ((Side.SECOND, (image, other)), (Side.FIRST, (other, image))):
        result = compare(*pair)
        assert changes(result) == []
        assert result.owners == []
        assert NotCompared(path, Why.NOT_CAPTURED, side) in result.not_compared


@pytest.mark.parametrize(
    "path",
    [
        "/LUO/sessions",
        f"{ALPHA}/files",
        f"{ALPHA}/files[0x1]/data",
        f"{ALPHA}/files[0x1]/data/folios/first",
        "/kho_test/folios/first",
    ],
)
@pytest.mark.parametrize("addresses", [False, True])
def test_a_pointer_to_nowhere_is_that_one_change(image: Image, path: str, addresses: bool) -> None:
    """What another address leads away from is one change, not one for each part of it."""
    old = find_node(image, path).value
    result = compare(image, number(image, path, NOWHERE), DiffOptions(addresses=addresses))
    assert changes(result) == [("changed", path, hex(old), hex(NOWHERE))]


def test_an_unknown_handler_is_that_one_change(image: Image) -> None:
    """The handler changed; its record can no longer be read, and is not compared."""
    path = f"{ALPHA}/files[0x1]/handler"
    result = compare(image, text(image, path, "memfd-v9"))
    assert changes(result) == [("changed", path, "memfd-v2", "memfd-v9")]
    gap = NotCompared(f"{ALPHA}/files[0x1]/data", Why.OTHER_HANDLER, Side.BOTH)
    assert result.not_compared == [gap]


@pytest.mark.parametrize(
    ("release", "path", "new"),
    [
        ("7.3.4", "/LUO/compatible", "luo-v4"),
        ("7.3.4", "/memblock/compatible", "memblock-v7"),
        ("7.3.4", "/memblock/regions[trace]/compatible", "reserve-mem-v7"),
        ("7.3.4", "/kho_test/compatible", "kho-test-v7"),
        ("6.19.11", "/LUO/compatible", "luo-v7"),
        ("6.19.11", "/LUO/session_compatible", "luo-session-v7"),
    ],
)
def test_an_unknown_version_is_that_one_change(release: str, path: str, new: str) -> None:
    """A format that is not known any longer is one change, of the string that names it."""
    old = capture(release)
    value = find_node(old, path).value
    for addresses in (False, True):
        result = compare(old, text(old, path, new), DiffOptions(addresses=addresses))
        assert changes(result) == [("changed", path, value, new)]
        gaps = [(gap.why, gap.side) for gap in result.not_compared]
        assert (Why.UNKNOWN_FORMAT, Side.SECOND) in gaps


@pytest.mark.parametrize("token", [1, 3, 0x10])
@pytest.mark.parametrize("changed", ["0x1", "0x2", "0x3", "0x10"])
def test_a_token_twice_is_that_one_change(image: Image, changed: str, token: int) -> None:
    """A token that another file has already, before or behind it, moves nothing else."""
    path = f"{ALPHA}/files[{changed}]/token"
    expected = [] if hex(token) == changed else [("changed", path, changed, hex(token))]
    other = number(image, path, token)
    assert changes(compare(image, other)) == expected
    back = [(kind, new, old) for kind, _, old, new in expected]
    assert [(kind, old, new) for kind, _, old, new in changes(compare(other, image))] == back


def test_a_name_twice_is_that_one_change(image: Image) -> None:
    """A session with the name of a later one is aligned by its place."""
    other = text(image, f"{ALPHA}/name", "vm-beta")
    assert changes(compare(image, other)) == [("changed", f"{ALPHA}/name", "vm-alpha", "vm-beta")]


def test_a_folio_that_became_a_hole(image: Image) -> None:
    """A page frame of 0 is no address but the absence of a folio."""
    path = f"{ALPHA}/files[0x2]/data/folios[1]/pfn"
    span, value = find_node(image, path).span, find_node(image, path).value
    assert span is not None
    flags = int.from_bytes(image.space.read(span.address, 8), "little") >> 52 << 52
    other = overlaid(image, span.address, flags.to_bytes(8, "little"))
    assert changes(compare(image, other)) == [("changed", path, value, 0)]


@pytest.mark.parametrize(
    "path",
    [
        f"{ALPHA}/files[0x2]/data/folios/total_pages",
        f"{ALPHA}/files[0x2]/data/folios/flags",
        f"{ALPHA}/files[0x2]/data/folios/order",
        "/kho_test/folios/order",
        "/LUO/flbs/header/pgcnt",
        "/memblock/size",
        "/kexec-metadata/size",
    ],
)
@pytest.mark.parametrize("addresses", [False, True])
def test_layout_at_the_same_place_is_content(image: Image, path: str, addresses: bool) -> None:
    """Sizes, orders and counts of one and the same list or blob show as that change."""
    old = find_node(image, path).value
    other = number(image, path, old + 1)
    result = compare(image, other, DiffOptions(addresses=addresses))
    assert [(c.kind, c.path) for c in result.changes] == [("changed", path)]


def test_a_list_that_ends_in_itself(image: Image) -> None:
    """A block that is followed by itself is a change, though no element differs."""
    first = find_node(image, "/LUO/sessions").value
    path = "/LUO/sessions/blocks[0]/next"
    assert changes(compare(image, number(image, path, first))) == [
        ("changed", path, "0x0", hex(first))
    ]


def test_an_entry_without_its_size(image: Image) -> None:
    """A property that is gone is removed, even one that only says how large a blob is."""
    span = find_node(image, "/memblock/size").span
    assert span is not None
    # The name's offset in the strings is the word in front of the value.
    at = span.address - 4
    name = int.from_bytes(image.space.read(at, 4), "big")
    other = overlaid(image, at, (name + 1).to_bytes(4, "big"))
    assert ("removed", "/memblock/size") in paths(compare(image, other))


def test_every_field_at_another_place_is_still_layout(
    image: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fresh encoding has other lists and areas, and is equal all the same."""
    from khotool.cli.main import main

    full, fresh = tmp_path / "full.json", tmp_path / "fresh.elf"
    source = str(REAL / "linux-7.3.4" / "image.elf.xz")
    assert main(["dump", "--json", "--full", source, "-o", str(full), "-q"]) == 0
    assert main(["encode", str(full), "--mode", "fresh", "-o", str(fresh), "-q"]) == 0
    other = open_image(fresh)
    assert compare(image, other).equal
    assert not compare(image, other, DiffOptions(addresses=True)).equal


def test_what_a_limit_hides_is_not_compared(image: Image) -> None:
    """What lies beyond a limit of one image is unknown, and not removed."""
    from khotool.limits import Limits

    short = open_image(REAL / "linux-7.3.4" / "image.elf.xz", OpenOptions(limits=Limits(nodes=60)))
    result = compare(image, short)
    assert changes(result) == []
    assert result.owners == []
    assert NotCompared("/", Why.LIMIT, Side.SECOND) in result.not_compared


def test_a_handler_that_nobody_knows_is_not_compared(image: Image) -> None:
    """The record behind a handle of an unknown handler may differ in anything."""
    other = text(image, f"{ALPHA}/files[0x1]/handler", "memfd-v9")
    result = compare(other, other)
    gap = NotCompared(f"{ALPHA}/files[0x1]/data", Why.UNKNOWN_FORMAT, Side.BOTH)
    assert result.not_compared == [gap]
    assert result.result is Result.INCOMPLETE
