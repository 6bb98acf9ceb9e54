"""Opening: roots and their roles, phases, scratch areas, page size and byte order."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from khotool.abi.geometry import PAGE_SIZES, ByteOrder
from khotool.absent import Absent, Reason
from khotool.decode.open import load_definitions, open_image, open_memory
from khotool.discovery import roots as roots_module
from khotool.document.full import preserved_segments
from khotool.encode.lift import handover_of
from khotool.encode.pack import pack_image
from khotool.encode.reopen import image_of
from khotool.encode.segments import page_segments, write_image
from khotool.errors import InputError, UsageError
from khotool.fdt.blob import Node, Property
from khotool.fdt.write import build_sequential
from khotool.limits import OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Image, Phase, Role, Scratch, Span
from khotool.model.lookup import find_node
from khotool.opening.models import Model, build_model
from khotool.structured import Document
from tests.builders import CAPTURES, REGISTRY, SETS, build, capture, decode, overlaid
from tests.documents import full_document
from tests.strategies import meaning

FILE: dict[str, Any] = {"token": 1, "size": 9000, "contents": {"random": 1}}
MODEL: dict[str, Any] = {
    "abi": "7.2",
    "session": [{"name": "vm", "file": [FILE]}],
    "reserve_mem": [{"name": "trace", "size": 65536 * 2}],
}
MIB = 1 << 20
AREAS = [Span(0x600_0000, 16 * MIB), Span(0x500_0000, 16 * MIB), Span(0x400_0000, 16 * MIB)]


def root_of(image: Image) -> int:
    assert image.tree.span is not None
    return image.tree.span.address


def setup_data(root: int, scratch: int, count: int = 3) -> bytes:
    """A node of boot data as kexec leaves it for the next kernel."""
    head = (0).to_bytes(8, "little") + (10).to_bytes(4, "little") + (32).to_bytes(4, "little")
    return head + b"".join(
        value.to_bytes(8, "little") for value in (root, 4096, scratch, 16 * count)
    )


def areas_bytes(areas: list[Span]) -> bytes:
    return b"".join(
        value.to_bytes(8, "little") for area in areas for value in (area.address, area.size)
    ).ljust(4096, b"\0")


def booted(image: Image, more: list[tuple[int, bytes]] | None = None) -> Image:
    """The image as the next kernel sees it: boot data and scratch array inside scratch."""
    array, node = AREAS[0].address + 0x1_0000, AREAS[0].address + 0x2_0000
    writes = [
        (array, areas_bytes(AREAS)),
        (node, setup_data(root_of(image), array).ljust(4096, b"\0")),
    ]
    return overlaid(image, writes + (more or []))


# -- roots and phases ------------------------------------------------------------------------


@pytest.mark.parametrize("name", CAPTURES)
def test_captures_are_frozen(name: str) -> None:
    """A capture at kexec time: the selected root is the outgoing one, others are its copies."""
    image = capture(name)
    assert image.phase is Phase.FROZEN
    assert image.root is not None
    assert image.root.role is Role.OUTGOING
    assert {root.role for root in image.roots if not root.selected} <= {Role.COPY}


def test_incoming() -> None:
    """Boot data names the root: it is incoming, and scratch is what boot data says."""
    image = booted(decode(MODEL))
    assert image.phase is Phase.INCOMING
    assert image.root is not None
    assert image.root.role is Role.INCOMING
    assert "setup_data at 0x6020000" in image.root.why
    assert isinstance(image.scratch, Scratch)
    assert image.scratch.areas == AREAS
    assert image.scratch.address == 0x601_0000


def test_consumed() -> None:
    """The booted kernel has reused the map's pages: absent with a reason, sessions are there."""
    first = decode(MODEL)
    assert not isinstance(first.map, Absent)
    noise = bytes(range(1, 256)) * 17
    pages = [(int(address), noise[:4096]) for address in first.map.pages.address]
    image = booted(first, pages)
    assert image.phase is Phase.CONSUMED
    assert isinstance(image.map, Absent)
    assert image.map.reason is Reason.CONSUMED
    assert image.ownership() is None
    luo = image.entry("LUO")
    assert luo is not None
    sessions = luo.get("sessions")
    assert sessions is not None
    assert [session.key for session in sessions.elements()] == ["vm"]
    assert [f.rule for f in image.findings if f.path.startswith("/memory_map")] == []


def test_live() -> None:
    """kho-v1 before it is finalized: the map is 0, and that is no fault."""
    image = decode({"abi": "6.18", "reserve_mem": [{"name": "a", "size": 4096}]})
    node = image.tree.get("memory_map")
    assert node is not None
    assert node.span is not None
    live = overlaid(image, [(node.span.address, bytes(8))])
    assert live.phase is Phase.LIVE
    assert live.findings == []


def test_finalized() -> None:
    """kho-v1 without sessions and without kexec's copy of the root: finalized."""
    image = decode({"abi": "6.16"})
    assert image.phase is Phase.FINALIZED


def test_copies_are_copies() -> None:
    """The same bytes at another page are a copy, whichever comes first in memory."""
    image = decode(MODEL)
    page = bytes(image.space.read(root_of(image), 4096))
    for place in (0x8_0000, 0x7000_0000):
        both = overlaid(image, [(place, page)])
        roles = {root.address: root.role for root in both.roots}
        assert roles == {root_of(image): Role.OUTGOING, place: Role.COPY}
        assert both.root is not None
        assert both.root.address == root_of(image)


def test_outgoing_with_sessions_wins_over_incoming() -> None:
    """A kernel that came up through a handover and hands over itself: its own is meant."""
    first = decode(MODEL)
    second = build(
        MODEL | {"memory": [{"start": 1 << 32, "size": 1 << 30}], "liveupdate_number": 2}
    )
    pages = [(address, bytes(data)) for address, data in page_segments(second.segments, 4096)]
    image = booted(first, pages)
    roles = {root.address: root.role for root in image.roots}
    assert roles == {root_of(first): Role.INCOMING, second.root: Role.OUTGOING}
    assert image.root is not None
    assert image.root.address == second.root
    assert image.phase is Phase.FROZEN


def test_root_by_address() -> None:
    """--root picks any of several roots, or a tree that is no root by its string."""
    first = decode(MODEL)
    place = 0x7000_0000
    page = bytes(first.space.read(root_of(first), 4096))
    options = OpenOptions(root=place)
    image = overlaid(first, [(place, page)], options)
    assert image.root is not None
    assert (image.root.address, image.root.role) == (place, Role.COPY)
    assert image.root.why.startswith("named by --root")
    renamed = page.replace(b"kho-v4\0", b"kho-v9\0")
    unknown = overlaid(first, [(place, renamed)], options)
    assert [f.rule for f in unknown.findings] == ["ABI901"]
    forced = OpenOptions(root=place, abi={"kho-v4": None})
    as_v4 = overlaid(first, [(place, renamed)], forced)
    assert as_v4.tree.format == "kho-v4"
    assert as_v4.entry("LUO") is not None


def test_root_that_is_none() -> None:
    """An address without a device tree, and a name where an address is expected."""
    image = decode(MODEL)
    with pytest.raises(UsageError, match="--root 0x123: there is no device tree at this address"):
        overlaid(image, [], OpenOptions(root=0x123))
    with pytest.raises(UsageError, match="expected an address such as 0x4de000"):
        overlaid(image, [], OpenOptions(root="fdt"))


def test_nothing_found(tmp_path: Path) -> None:
    """Without a root the error says what was looked at."""
    path = tmp_path / "raw"
    path.write_bytes(bytes(65536))
    with pytest.raises(InputError, match="pages: 16,"):
        open_image(path, OpenOptions(base=0))


# -- scratch ---------------------------------------------------------------------------------


def test_scratch_by_its_array() -> None:
    """An array of three areas on a page of its own is found by its shape."""
    image = decode(MODEL)
    assert isinstance(image.scratch, Scratch)
    assert image.scratch.areas == AREAS
    assert "an array of scratch areas at" in image.scratch.why


def test_scratch_as_the_user_says() -> None:
    """--scratch wins over what is found."""
    image = overlaid(decode(MODEL), [], OpenOptions(scratch=[(4096, 8192)]))
    assert isinstance(image.scratch, Scratch)
    assert (image.scratch.areas, image.scratch.why) == ([Span(4096, 8192)], "as --scratch says")


def test_two_arrays_are_no_answer() -> None:
    """Arrays that differ say nothing."""
    other = [Span(area.address + (1 << 30), area.size) for area in AREAS]
    image = overlaid(decode(MODEL), [(0x7000_0000, areas_bytes(other))])
    assert isinstance(image.scratch, Absent)


def test_boot_data_of_the_next_kernel_is_not_ours() -> None:
    """Before kexec, boot data waits outside of scratch: the root stays outgoing."""
    first = decode(MODEL)
    array = 0x7000_0000
    image = overlaid(
        first,
        [
            (array, areas_bytes(AREAS)),
            (0x7010_0000, setup_data(root_of(first), array).ljust(4096, b"\0")),
        ],
    )
    assert image.root is not None
    assert image.root.role is Role.OUTGOING


@pytest.mark.parametrize("cells", [1, 2])
def test_chosen(cells: int) -> None:
    """arm64: /chosen of the boot tree names root and scratch in big-endian cells."""
    manifest = MODEL | {"page_size": "16K"}
    first = decode(manifest)
    assert isinstance(first.scratch, Scratch)
    areas = first.scratch.areas
    array, boot = areas[0].address + 0x1_0000, areas[0].address + 0x4_0000
    tree = Node("")
    for name in ("#address-cells", "#size-cells"):
        tree.items.append(Property(name, cells.to_bytes(4, "big")))
    chosen = Node("chosen")
    for name, address, size in (
        ("linux,kho-fdt", root_of(first), 16384),
        ("linux,kho-scratch", array, 48),
    ):
        value = address.to_bytes(4 * cells, "big") + size.to_bytes(4 * cells, "big")
        chosen.items.append(Property(name, value))
    tree.items.append(chosen)
    blob = build_sequential(tree).ljust(16384, b"\0")
    image = overlaid(first, [(array, areas_bytes(areas).ljust(16384, b"\0")), (boot, blob)])
    assert image.phase is Phase.INCOMING
    assert image.root is not None
    assert f"named by /chosen of the device tree at {boot:#x}" in image.root.why
    assert isinstance(image.scratch, Scratch)
    assert image.scratch.areas == areas


# -- page size and byte order ----------------------------------------------------------------


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("page", PAGE_SIZES)
@pytest.mark.parametrize("abi", SETS)
def test_geometry_is_probed(abi: str, page: int, order: ByteOrder, tmp_path: Path) -> None:
    """A raw file declares neither page size nor byte order: what fits the maps is taken."""
    manifest: dict[str, Any] = {
        "abi": abi,
        "page_size": page,
        "endian": order,
        "memory": [{"start": 1 << 20, "size": 1 << 26}],
        "reserve_mem": [{"name": "trace", "size": page * 3}],
        "scratch": [{"start": 1 << 30, "size": 1 << 24}],
    }
    built = build(manifest)
    pages = page_segments(built.segments, page)
    end = max(address + len(data) for address, data in pages)
    memory = bytearray(end - (1 << 20))
    for address, data in pages:
        memory[address - (1 << 20) : address - (1 << 20) + len(data)] = data
    path = tmp_path / "memory.raw"
    path.write_bytes(memory)
    options = OpenOptions(base=1 << 20)
    if order == "big":
        # The scan for roots needs no byte order; a big-endian file is probed as such.
        assert open_image(path, options).geometry.byteorder == "big"
    image = open_image(path, options)
    assert (image.geometry.page_size, image.geometry.byteorder) == (page, order)
    assert root_of(image) == built.root
    region = image.entry("memblock")
    assert region is not None
    assert region.get("regions") is not None
    ownership = image.ownership()
    assert ownership is not None
    assert (ownership.unowned_pages, ownership.unpreserved_pages) == (0, 0)


def test_page_size_that_is_none(tmp_path: Path) -> None:
    """--page-size has to be a power of two of a sane size."""
    path = tmp_path / "a.elf"
    write_image(path, build(MODEL))
    for size in (0, 1, 5000, 1 << 30):
        with pytest.raises(UsageError, match=re.escape(f"--page-size {size}: expected a power")):
            open_image(path, OpenOptions(page_size=size))


def test_abi_options(tmp_path: Path) -> None:
    """--abi names a definition and a layout that exist."""
    path = tmp_path / "a.elf"
    write_image(path, build(MODEL))
    with pytest.raises(UsageError, match="no such layout; it has bitmap-512, bitmap-page"):
        open_image(path, OpenOptions(abi={"kho-v1": "bitmap-7"}))
    with pytest.raises(UsageError, match="no such layout; it has none"):
        open_image(path, OpenOptions(abi={"kho-v4": "x"}))
    with pytest.raises(UsageError, match="no format 'kho-v77'"):
        open_image(path, OpenOptions(abi={"kho-v77": None}))


def test_abi_names_one_of_several_formats() -> None:
    """--abi STRING=ID takes the id of any format of the string, beside layouts of an id."""
    for abi in ({"luo-v1": "luo-v1-posted-v1"}, {"kho-v1": "bitmap-page"}, {"kho-v4": None}):
        registry = load_definitions(OpenOptions(abi=dict(abi)))
        assert "luo-v1-posted-v1" in registry.variants("luo-v1")
    with pytest.raises(UsageError, match="--abi luo-v1=luo-v5: no such layout; it has none"):
        load_definitions(OpenOptions(abi={"luo-v1": "luo-v5"}))


def test_first_of_many_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """--root finds its root among more than are looked at otherwise."""
    monkeypatch.setattr(roots_module, "MAX_ROOTS", 1)
    first = decode(MODEL)
    page = bytes(first.space.read(root_of(first), 4096))
    pages = [(0x7000_0000 + number * 4096, page) for number in range(3)]
    for place, _ in pages:
        image = overlaid(first, pages, OpenOptions(root=place))
        assert image.root is not None
        assert image.root.address == place
        assert len(image.roots) == 1


# -- layouts under one string ----------------------------------------------------------------


@pytest.mark.parametrize("page", PAGE_SIZES)
@pytest.mark.parametrize(("abi", "bitmaps"), [("6.16", "bitmap-512"), ("6.18", "bitmap-page")])
def test_bitmap_sizes_are_told_apart(abi: str, bitmaps: str, page: int) -> None:
    """kho-v1: the bytes decide, even where the release says something else."""
    # Blocks 5000 and up are in the second bitmap of 512 bytes, and in the first of a page.
    memory = [{"start": page * 5000, "size": page * 5000}]
    built = build({"abi": abi, "page_size": page, "memory": memory})
    for release in ("6.16.0", "6.18.0", "7.3.0"):
        built.vmcoreinfo["OSRELEASE"] = release
        image = image_of(built, REGISTRY)
        assert [(c.layout, c.certain) for c in image.choices] == [(bitmaps, True)]
        assert image.findings == []


@pytest.mark.parametrize("count", [0, 1, 2, 3, 600])
@pytest.mark.parametrize(("abi", "layout"), [("6.16", "inline"), ("6.18", "vmalloc")])
def test_lists_of_test_folios_are_told_apart(abi: str, layout: str, count: int) -> None:
    """kho-test-v1: inline or in a vmalloc area, also with two folios, where lengths are equal."""
    memory = [{"start": 5000 << 12, "size": 5000 << 12}]
    built = build({"abi": abi, "memory": memory, "kho_test": {"orders": [0] * count}})
    del built.vmcoreinfo["OSRELEASE"]
    image = image_of(built, REGISTRY)
    chosen = {choice.definition: choice.layout for choice in image.choices}
    assert chosen["kho-test-v1"] == layout
    test = image.entry("kho_test")
    assert test is not None
    assert test.value_of("nr_folios") == count
    folios = test.get("folios")
    assert folios is not None
    assert folios.table is not None
    assert len(folios.table) == count
    assert image.findings == []


@pytest.mark.parametrize("consumed", [False, True])
def test_a_booted_image_packs_and_comes_back(consumed: bool, tmp_path: Path) -> None:
    """Packing and the full document keep what gives a booted image its roles and its phase."""
    first = decode(MODEL)
    assert not isinstance(first.map, Absent)
    noise = bytes(range(1, 256)) * 17
    pages = [(int(address), noise[:4096]) for address in first.map.pages.address]
    image = booted(first, pages if consumed else [])
    path = tmp_path / "packed.elf"
    write_image(path, pack_image(image))
    packed = open_image(path)
    assert packed.phase is image.phase
    assert packed.phase is (Phase.CONSUMED if consumed else Phase.INCOMING)
    assert roles(packed) == roles(image)
    assert packed.scratch == image.scratch
    document = json.loads(json.dumps(full_document(image)))
    segments, _ = preserved_segments(Document("dump", document), REGISTRY)
    for address, data in segments:
        assert bytes(image.space.read(address, len(data))) == bytes(data)
    again = image_of(build_model(Model.of(Path("m.json"), document), REGISTRY), REGISTRY)
    assert again.phase is image.phase
    assert meaning(handover_of(packed)).keys() == meaning(handover_of(image)).keys()


def roles(image: Image) -> list[tuple[int | None, Role, bool]]:
    return [(root.address, root.role, root.selected) for root in image.roots]


def test_consumed_record_of_sessions() -> None:
    """The LUO record itself is reused too: its lists are found by their shape."""
    first = decode(MODEL | {"session": [{"name": f"vm{i}", "file": [FILE]} for i in range(60)]})
    assert not isinstance(first.map, Absent)
    entry = first.entry("LUO")
    assert entry is not None
    assert entry.target is not None
    noise = bytes(range(1, 256)) * 17
    pages = [(int(address), noise[:4096]) for address in first.map.pages.address]
    image = booted(first, [*pages, (entry.target.address, noise[:4096])])
    assert image.phase is Phase.CONSUMED
    luo = image.entry("LUO")
    assert luo is not None
    assert "found by their shape" in luo.note
    sessions = luo.get("sessions")
    assert sessions is not None
    assert [session.key for session in sessions.elements()] == [f"vm{i}" for i in range(60)]
    assert isinstance(luo.get("liveupdate_number").value, Absent)  # type: ignore[union-attr]


def test_damage_is_not_consumption() -> None:
    """A damaged map of an outgoing root is reported, not taken for memory that was reused."""
    first = decode(MODEL)
    assert not isinstance(first.map, Absent)
    leaf = int(first.map.pages.address[-1])
    image = overlaid(first, [(leaf, bytes(4096))])
    assert image.phase is not Phase.CONSUMED
    ownership = image.ownership()
    assert ownership is not None
    assert ownership.unpreserved_pages > 0


def test_a_record_below_an_entry_is_consumed() -> None:
    """What no longer decodes after the boot is absent with a reason; its siblings stay."""
    first = decode(MODEL | {"session": [{"name": name, "file": [FILE]} for name in ("a", "b")]})
    assert not isinstance(first.map, Absent)
    noise = bytes(range(1, 256)) * 17
    pages = [(int(address), noise[:4096]) for address in first.map.pages.address]
    data = find_node(first, "/LUO/sessions[a]/files[0x1]/data")
    folios = find_node(first, f"{data.path}/folios/first")
    assert folios.span is not None
    image = booted(first, [*pages, (folios.span.address, b"\x01\x02\x03\x04\x05\x06\x07\x08")])
    assert image.phase is Phase.CONSUMED
    lost = find_node(image, f"{data.path}/folios")
    assert isinstance(lost.value, Absent)
    assert lost.value.reason is Reason.CONSUMED
    assert lost.table is None
    assert find_node(image, f"{data.path}/size").value == 9000
    whole = find_node(image, "/LUO/sessions[b]/files[0x1]/data/folios")
    assert whole.table is not None
    assert [f for f in image.findings if f.path.startswith(data.path)] == []


def test_a_booted_kernel_that_hands_over_nothing_yet() -> None:
    """Beside the incoming root, the next one without a session: nothing is serialised yet."""
    first = decode(MODEL)
    second = build(
        {"abi": "7.2", "memory": [{"start": 1 << 32, "size": 1 << 30}], "liveupdate_number": 2}
    )
    pages = [(address, bytes(data)) for address, data in page_segments(second.segments, 4096)]
    image = booted(first, pages)
    chosen = overlaid(image, [], OpenOptions(root=second.root))
    assert chosen.root is not None
    assert (chosen.root.role, chosen.phase) == (Role.OUTGOING, Phase.LIVE)
    assert chosen.phase_why == "no sessions are serialised"
    assert chosen.root.why.startswith("named by --root")


def test_x86_has_pages_of_4_kib() -> None:
    """A machine with one page size needs no probe, whatever the map looks like."""
    image = decode(MODEL)
    assert not isinstance(image.map, Absent)
    writes = [(int(address), bytes(4096)) for address in image.map.pages.address]
    space = OverlaySpace(image.space, writes)
    space.info = replace(image.info, page_size=None, machine="x86_64")
    assert open_memory(space, REGISTRY, OpenOptions()).geometry.page_size == 4096
