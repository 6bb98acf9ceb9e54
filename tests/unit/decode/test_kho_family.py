"""Every KHO root that was released or posted: told apart, decoded, and written back."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from khotool.abi.definition import Kind
from khotool.check.catalogue import severity
from khotool.check.kernels.judge import judge
from khotool.check.run import check_image
from khotool.codec.scene import Scene
from khotool.decode.open import open_image, open_memory
from khotool.diff.changes import DiffOptions
from khotool.diff.compare import compare
from khotool.discovery.root_tree import root_format
from khotool.document.full import preserved_segments
from khotool.encode.convert import convert_image
from khotool.encode.lift import handover_of
from khotool.encode.reopen import image_of
from khotool.encode.sets import set_of
from khotool.fdt.blob import Blob, Node, Property
from khotool.fdt.parse import parse
from khotool.fdt.write import build_sequential
from khotool.findings import Severity
from khotool.fixture.recipe import Fixture, build_fixture, digest, find_fixtures
from khotool.limits import OpenOptions
from khotool.maps.preserved import PreservedMap
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Image, Phase, Role, Scratch, Span
from khotool.model.lookup import find_node
from khotool.model.region import FdtRegion
from khotool.structured import Document
from tests.builders import REGISTRY, decode
from tests.documents import full_document
from tests.strategies import meaning

GOOD = Path(__file__).parents[3] / "fixtures" / "good"
FIXTURES = {fixture.name: fixture for fixture in find_fixtures([GOOD])}
ROOTS = tuple(d.id for d in REGISTRY if d.kind is Kind.ROOT)
POSTED = tuple(
    name for name, abi in REGISTRY.sets.items() if REGISTRY.get(abi.root).status != "merged"
)
MINE = tuple(
    name
    for name in FIXTURES
    if any(name.startswith(f"{abi}-") for abi in POSTED) or name.startswith("kho-v2-")
)
every_mine = pytest.mark.parametrize("name", MINE)


@cache
def image(name: str) -> Image:
    """A fixture, found by a scan as a capture would be."""
    built = build_fixture(FIXTURES[name], REGISTRY)
    given = image_of(built, REGISTRY)
    space = OverlaySpace(given.space, [])
    size, order = given.geometry.page_size, given.geometry.byteorder
    return open_memory(space, REGISTRY, OpenOptions(page_size=size, byteorder=order))


def recipe(fixture: Fixture) -> dict[str, Any]:
    return tomllib.loads(fixture.recipe.read_text(encoding="utf-8"))


def set_name(fixture: Fixture) -> str:
    found = REGISTRY.set_for(recipe(fixture)["abi"])
    assert found is not None
    return found.id


def kind_of_root(fixture: Fixture) -> tuple[str, object, object]:
    """What makes two roots differ in more than their entries: format, page size, byte order."""
    made = recipe(fixture)
    return REGISTRY.sets[set_name(fixture)].root, made.get("page_size"), made.get("endian")


def changed(given: Image, *writes: tuple[int, bytes]) -> Image:
    geometry = given.geometry
    options = OpenOptions(page_size=geometry.page_size, byteorder=geometry.byteorder)
    return open_memory(OverlaySpace(given.space, list(writes)), REGISTRY, options)


def root_blob(given: Image) -> Blob:
    return next(r.blob for r in given.regions if isinstance(r, FdtRegion) and r.path == "/")


# -- told apart ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIXTURES)
def test_the_right_root_is_chosen(name: str) -> None:
    """Of all roots of one string, the one that wrote it, and for certain."""
    found = image(name)
    assert found.tree.format == REGISTRY.sets[set_name(FIXTURES[name])].root
    assert all(choice.certain for choice in found.choices if choice.layout in ROOTS)


def test_every_root_has_a_fixture() -> None:
    """No root that is defined goes without an image of it."""
    assert {image(name).tree.format for name in FIXTURES} == set(ROOTS)


MERGED = sorted(
    {
        kind_of_root(fixture): name
        for name, fixture in FIXTURES.items()
        if REGISTRY.sets[set_name(fixture)].status == "merged"
    }.values()
)


@pytest.mark.parametrize("name", MERGED)
def test_a_damaged_root_stays_what_it_is(name: str) -> None:
    """No single byte of a released kernel's root makes another root of its string of it."""
    found = image(name)
    blob = root_blob(found)
    raw = bytes(blob.data)
    assert found.tree.span is not None
    merged = {d.id for d in REGISTRY if d.kind is Kind.ROOT and d.status == "merged"}
    string = REGISTRY.get(found.tree.format).match["compatible"]
    scene = Scene.of(found.space, REGISTRY, found.geometry)
    seen = set()
    for at in range(len(raw)):
        for value in {0, raw[at] ^ 1, raw[at] ^ 0x20, 0xFF}:
            try:
                tree = parse(raw[:at] + bytes([value]) + raw[at + 1 :])
            except ValueError:
                continue
            if tree.root is None:
                continue
            chosen = root_format(scene, tree, found.tree.span.address).definition
            if chosen is not None and chosen.match["compatible"] == string:
                seen.add(chosen.id)
    assert seen <= merged
    assert found.tree.format in seen


def test_a_root_without_signs_is_that_of_a_release() -> None:
    """A string alone means the kernels that people run."""
    top = Node("")
    top.items.append(Property("compatible", b"kho-v1\0"))
    place = 0x30_0000
    found = changed(image("6.16-empty"), (place, build_sequential(top).ljust(4096, b"\0")))
    other = open_memory(
        OverlaySpace(found.space, []), REGISTRY, OpenOptions(root=place, page_size=4096)
    )
    assert other.tree.format == "kho-v1"
    assert [f.rule for f in other.findings] == ["KHO201"]


@pytest.mark.parametrize(
    "abi",
    [{"kho-v1": "kho-v1-rapoport-v4"}, {"kho-v1-rapoport-v4": None}],
    ids=["string", "definition"],
)
def test_the_user_decides(abi: dict[str, str | None]) -> None:
    """--abi STRING=ID and --abi ID name one of several roots, signs or not."""
    found = image("kho-v1-graf-v2-ftrace")
    forced = open_memory(
        OverlaySpace(found.space, []), REGISTRY, OpenOptions(page_size=4096, abi=abi)
    )
    assert forced.tree.format == "kho-v1-rapoport-v4"
    assert [c.why for c in forced.choices if c.definition == "kho-v1"] == ["as --abi says"]
    assert isinstance(forced.map, PreservedMap)
    assert len(forced.map.blocks)


# -- decoded ---------------------------------------------------------------------------------


@every_mine
def test_owners_and_rules(name: str) -> None:
    """Every preserved page has one owner, and nothing above a note is found."""
    found = image(name)
    ownership = found.ownership()
    assert ownership is not None
    assert (ownership.unowned_pages, ownership.unpreserved_pages) == (0, 0)
    assert (ownership.double_owned_pages, found.root is not None) == (0, True)
    notes = [f for f in check_image(found) if severity(f.rule) is Severity.NOTE]
    assert check_image(found) == notes
    assert compare(found, found, DiffOptions()).equal


@every_mine
def test_role_and_phase(name: str) -> None:
    """What no boot data names is on its way out; what user space finalizes says so."""
    found = image(name)
    assert found.root is not None
    assert found.root.role is Role.OUTGOING
    finalized = isinstance(found.map, PreservedMap) and found.map.layout in (
        "ranges",
        "bitmap-chunks",
    )
    assert found.phase is (Phase.FINALIZED if finalized else Phase.FROZEN) or (
        REGISTRY.get(found.tree.format).segment
    )


@every_mine
def test_verdicts(name: str) -> None:
    """Kernels of a release take the string alone, then look for their own property."""
    found = image(name)
    string = REGISTRY.get(found.tree.format).match["compatible"][0]
    for release, wanted in (
        ("6.17", "kho-v1"),
        ("6.19", "kho-v1"),
        ("7.1", "kho-v3"),
        ("7.3", "kho-v4"),
    ):
        verdict = judge(found, release)
        if string != wanted:
            assert verdict.outcome == "ignore"
        elif wanted == "kho-v1":
            assert verdict.outcome == ("corrupt" if release == "6.17" else "ignore")
    if string == "kho-v3":
        # A tree of one level less makes the kernel take leaves for tables of pointers.
        assert judge(found, "7.1").outcome == "panic"


# -- written back ----------------------------------------------------------------------------


@every_mine
def test_a_full_document_gives_the_bytes_back(name: str) -> None:
    """``encode`` of ``dump --json --full`` is the image, with nothing left to slack but scratch."""
    found = image(name)
    document = json.loads(json.dumps(full_document(found)))
    made, geometry = preserved_segments(Document("dump", document), REGISTRY)
    assert geometry == found.geometry
    for address, data in made:
        assert bytes(found.space.read(address, len(data))) == bytes(data)
    arrays = set()
    if isinstance(found.scratch, Scratch) and found.scratch.address is not None:
        arrays = {found.scratch.address // geometry.page_size}
    slack = {int(item["address"], 16) // geometry.page_size for item in document["model"]["slack"]}
    assert slack <= arrays


@every_mine
def test_a_fresh_layout_means_the_same(name: str) -> None:
    """What was decoded, laid out anew by its own set, decodes to the same."""
    found = image(name)
    own = set_of(found)
    assert own.id == set_name(FIXTURES[name])
    built = convert_image(found, own.id)
    lost = {
        "composite-unknown-parts": [
            "/LUO: written as luo-v5-block-v1; 'luo-v5;block-v2;vmalloc-v1' has parts that no "
            "definition has"
        ]
    }
    assert built.lost == lost.get(name, [])
    again = image_of(built, REGISTRY)
    assert meaning(handover_of(again)) == meaning(handover_of(found))
    rules = [sorted({finding.rule for finding in check_image(one)}) for one in (found, again)]
    assert rules[0] == rules[1]
    assert again.tree.format == found.tree.format
    assert digest(convert_image(again, own.id)) == digest(built)


# -- what was particular ---------------------------------------------------------------------


def test_noinit_is_no_part_of_the_address() -> None:
    """guestmemfs marks a range by bit 0 of its address, which is shown beside it."""
    found = image("kho-v1-guestmemfs-one-file")
    table = find_node(found, "/guestmemfs/fs_mem/mem").table
    assert table is not None
    address = int(table.column("addr")[0])
    assert (address % 4096, table.column("flags").tolist()) == (0, [1])
    assert isinstance(found.map, PreservedMap)
    assert found.map.blocks.block_of(address) is not None
    assert find_node(found, "/guestmemfs/superblock/mem").table is not None


def test_fdbox_has_a_node_without_a_name() -> None:
    """The pages of a memfd stand in a nameless child, which is no fault of the tree."""
    found = image("kho-v1-rapoport-v4-fdbox")
    ram = find_node(found, "/fdbox/boxes[vm-alpha]/fds[ram]")
    assert ram.value_of("shmem_compatible") == "fdbox,shmem-v1"
    indices = find_node(found, "/fdbox/boxes[vm-alpha]/fds[ram]/indices").table
    assert indices is not None
    assert indices.column("index").tolist() == [0, 1, 7]
    assert found.findings == []
    root = root_blob(found).root
    assert root is not None
    assert "" in {node.name for depth, node in root.walk() if depth}


def test_pages_and_their_places_are_as_many() -> None:
    """fdbox: mem and indices are two arrays of one length."""
    ram = {"name": "ram", "mem": [{"size": 4096}] * 2, "indices": [{"index": 0}]}
    box = {"name": "vm", "fds": [ram]}
    entry = {"name": "fdbox", "fields": {"boxes": [box]}}
    found = decode({"abi": "kho-v1-rapoport-v4", "entry": [entry]})
    told = [f for f in check_image(found) if f.rule == "REC414"]
    assert [f.message for f in told] == ["indices has 1, mem has 2"]
    assert told[0].path == "/fdbox/boxes[vm]/fds[ram]/indices"


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("kho-v1-graf-v1-ftrace", "/ftrace/arrays[global_trace]/buffer/cpus[cpua]/cpu", 10),
        ("kho-v1-graf-v1-ftrace", "/ftrace/events/types[sched_switch]/type", 314),
        ("kho-v1-graf-v2-ftrace", "/ftrace/arrays[global_trace]/cpus[cpua]/cpu", 10),
        ("kho-v1-graf-v3-ftrace", "/ftrace/arrays[global-trace]/trace_flags", 0x10_0000),
        ("kho-v1-rapoport-v4-regions", "/test_kho/contig_data/csum", 0x1234),
        (
            "kho-v1-rapoport-v4-dashes",
            "/reserve-mem/regions[trace]/compatible",
            "reserve-mem-map-v1",
        ),
        ("kho-v1-lyu-v5-regions", "/memblock/regions[oops]/size", 0x5000),
    ],
)
def test_values(name: str, path: str, value: Any) -> None:
    """Entries stand in the root itself, each by its own definition."""
    assert find_node(image(name), path).value == value


def test_a_map_of_nothing() -> None:
    """With its root a segment, the fifth posting can hand over nothing at all."""
    found = decode({"abi": "kho-v1-lyu-v5"})
    assert isinstance(found.map, PreservedMap)
    assert (len(found.map.blocks), found.findings) == (0, [])
    assert find_node(found, "/memory_map").value == 0


def test_a_root_of_many_pages() -> None:
    """A segment is as long as it has to be; the page is a limit of later kernels."""
    cpu = {"name": "cpu0", "cpu": 0, "mem": [{"size": 4096}] * 2000}
    arrays = [{"name": "global-trace", "trace_flags": 0, "cpus": [cpu]}]
    entry = {"name": "ftrace", "fields": {"arrays": arrays}}
    found = decode({"abi": "kho-v1-graf-v3", "entry": [entry]})
    assert found.tree.span is not None
    assert found.tree.span.size > 7 * 4096
    assert check_image(found) == []
    rows = find_node(found, "/ftrace/arrays[global-trace]/cpus[cpu0]/mem").table
    assert rows is not None
    assert len(rows) == 2000


def test_a_property_of_odd_length_is_skipped() -> None:
    """As the kernels of these postings did: what is no whole number of ranges preserves nothing."""
    found = image("kho-v1-rapoport-v4-dashes")
    blob = root_blob(found)
    prop = find_node(found, "/reserve-mem/regions[trace]/mem")
    assert prop.span is not None
    assert found.tree.span is not None
    place = prop.span.address - 8
    assert blob.data[place - found.tree.span.address : place - found.tree.span.address + 4] == (
        (16).to_bytes(4, "big")
    )
    odd = changed(found, (place, (15).to_bytes(4, "big")))
    assert isinstance(odd.map, PreservedMap)
    assert len(odd.map.blocks) == 0
    assert "KHO202" in {f.rule for f in odd.findings}


@pytest.mark.parametrize(("offset", "rules"), [(0x38, set()), (0x30, {"MEM303"})])
def test_owners_may_share_a_page(offset: int, rules: set[str]) -> None:
    """Ranges are bytes: two in one page are no conflict unless they overlap."""
    found = image("kho-v1-graf-v3-ftrace")
    mine = find_node(found, "/ftrace/arrays[global-trace]/cpus[cpu0]/mem").table
    other = find_node(found, "/ftrace/arrays[global-trace]/cpus[cpua]/mem").table
    assert mine is not None
    assert other is not None
    place = int(mine.column("addr")[0]) + offset
    moved = changed(found, (int(other.extents[0, 0]), place.to_bytes(8, "little")))
    ownership = moved.ownership()
    assert ownership is not None
    assert (ownership.double_owned_pages, ownership.unowned_pages) == (1, 0)
    assert {f.rule for f in check_image(moved)} == rules


# -- boot data -------------------------------------------------------------------------------

AREA = Span(0x600_0000, 16 << 20)


def boot_data(root: int, length: int, scratch: Span, cache: Span) -> bytes:
    """A node of setup_data with a payload of 32 or 48 bytes."""
    numbers = (root, 4096, scratch.address, scratch.size, cache.address, cache.size)
    head = bytes(8) + (10).to_bytes(4, "little") + length.to_bytes(4, "little")
    return head + b"".join(value.to_bytes(8, "little") for value in numbers)[:length]


def test_boot_data_of_the_first_postings() -> None:
    """48 bytes: scratch is one area and no array; the mem cache is told of."""
    found = image("kho-v1-graf-v3-ftrace")
    assert found.tree.span is not None
    assert isinstance(found.map, PreservedMap)
    ranges = [(low, high - low) for low, high in found.map.blocks.ranges().tolist()]
    words = [value for pair in [*ranges, (0x9000_0000, 0)] for value in pair]
    cache = Span(AREA.address + 0x2_0000, 8 * len(words))
    node = boot_data(found.tree.span.address, 48, AREA, cache).ljust(4096, b"\0")
    listed = b"".join(value.to_bytes(8, "little") for value in words).ljust(4096, b"\0")
    booted = changed(found, (AREA.address + 0x1_0000, node), (cache.address, listed))
    assert booted.findings == []
    assert booted.root is not None
    assert (booted.root.role, booted.phase) == (Role.INCOMING, Phase.INCOMING)
    assert f"mem cache of 2 ranges at {cache.address:#x}" in booted.root.why
    assert isinstance(booted.scratch, Scratch)
    assert booted.scratch.areas == [AREA]
    assert cache in booted.anchors
    longer = changed(
        found,
        (AREA.address + 0x1_0000, node),
        (cache.address, listed.replace(bytes(4), (1).to_bytes(4, "little"), 1)),
    )
    assert [f.rule for f in longer.findings] == ["MEM322"]
    # Prepared for the next kernel, the same bytes wait outside of scratch.
    waiting = changed(found, (0x900_0000, node))
    assert waiting.root is not None
    assert waiting.root.role is Role.OUTGOING


def test_boot_data_of_the_fourth_posting() -> None:
    """32 bytes, as every kernel since: scratch is an array."""
    found = image("kho-v1-rapoport-v4-regions")
    assert found.tree.span is not None
    areas = [AREA.address, AREA.size, 0x500_0000, 1 << 24]
    array = b"".join(value.to_bytes(8, "little") for value in areas).ljust(4096, b"\0")
    place = Span(AREA.address + 0x1_0000, 32)
    node = boot_data(found.tree.span.address, 32, place, place).ljust(4096, b"\0")
    booted = changed(found, (place.address, array), (AREA.address + 0x4000, node))
    assert booted.root is not None
    assert booted.root.role is Role.INCOMING
    assert isinstance(booted.scratch, Scratch)
    assert booted.scratch.areas == [AREA, Span(0x500_0000, 1 << 24)]


@pytest.mark.parametrize("cache", [None, Span(0x610_0000, 48)])
def test_chosen_of_the_first_postings(cache: Span | None) -> None:
    """arm64: linux,kho-dt names the root; linux,kho-mem says that scratch is one area."""
    found = image("kho-v1-graf-v2-ftrace")
    assert found.tree.span is not None
    tree, chosen = Node(""), Node("chosen")
    named = [("linux,kho-dt", Span(found.tree.span.address, 4096)), ("linux,kho-scratch", AREA)]
    named += [("linux,kho-mem", cache)] if cache is not None else []
    for name, span in named:
        value = span.address.to_bytes(8, "big") + span.size.to_bytes(8, "big")
        chosen.items.append(Property(name, value))
    tree.items.append(chosen)
    boot = build_sequential(tree).ljust(4096, b"\0")
    booted = changed(found, (AREA.address + 0x4000, boot))
    assert booted.root is not None
    if cache is None:
        # The area is taken for an array, whose place holds none: nothing to tell it is ours.
        assert booted.root.role in (Role.INCOMING, Role.OUTGOING)
        return
    assert booted.root.role is Role.INCOMING
    assert "mem cache of 3 ranges" in booted.root.why
    assert isinstance(booted.scratch, Scratch)
    assert booted.scratch.areas == [AREA]


# -- a root alone ----------------------------------------------------------------------------


@every_mine
def test_a_root_in_a_file_of_its_own(name: str, tmp_path: Path) -> None:
    """A root without memory is told apart by what it has; maps elsewhere are not captured."""
    found = image(name)
    path = tmp_path / "root.dtb"
    path.write_bytes(bytes(root_blob(found).data))
    geometry = found.geometry
    options = OpenOptions(page_size=geometry.page_size, byteorder=geometry.byteorder)
    alone = open_image(path, options)
    # Only the map itself shows that keys have no markers.
    expected = "kho-v3" if found.tree.format == "kho-v3-rc5" else found.tree.format
    assert alone.tree.format == expected
    assert [f.rule for f in check_image(alone) if f.rule != "ABI903"] == []
    ranges = isinstance(found.map, PreservedMap) and found.map.layout == "ranges"
    assert isinstance(alone.map, PreservedMap) == ranges
