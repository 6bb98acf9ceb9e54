"""Handlers and entries that no release has: told apart, decoded, owned, named, written back."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from khotool.check.catalogue import severity
from khotool.check.kernels import judge
from khotool.check.run import check_image
from khotool.diff.changes import DiffOptions
from khotool.diff.compare import compare
from khotool.document.dump import dump_document
from khotool.document.full import metadata_pages, preserved_segments
from khotool.encode.fresh import Built, build_fresh
from khotool.encode.lift import handover_of
from khotool.encode.reopen import image_of
from khotool.encode.sets import set_of
from khotool.errors import EncodeError
from khotool.findings import Severity
from khotool.fixture.recipe import build_fixture, find_fixtures
from khotool.model.image import Image, Node
from khotool.model.lookup import find_node
from khotool.structured import Document
from tests.builders import REGISTRY, build, decode
from tests.documents import full_document

GOOD = Path(__file__).parents[3] / "fixtures" / "good"
SET = "7.4-frontier"
FIXTURES = {f.name: f for f in find_fixtures([GOOD]) if f.name.startswith(SET)}
every = pytest.mark.parametrize("name", FIXTURES)
IOMMU = "/LUO/flbs[iommu-liveupdate]/data"
FILES = "/LUO/sessions[vm]/files"


@cache
def image(name: str) -> Image:
    return image_of(
        build_fixture(FIXTURES[f"{SET}-{name.removeprefix(f'{SET}-')}"], REGISTRY), REGISTRY
    )


@cache
def afresh(name: str) -> tuple[Built, Image]:
    """Lifted off its addresses and laid out again."""
    found = image(name)
    built = build_fresh(handover_of(found), set_of(found), REGISTRY)
    return built, image_of(built, REGISTRY)


def value(found: Image, path: str) -> Any:
    return find_node(found, path).value


# -- every image -----------------------------------------------------------------------------


@every
def test_nothing_is_wrong_with_it(name: str) -> None:
    """No rule above a note fires, and every preserved page has one owner."""
    found = image(name)
    owned = found.ownership()

    assert [f for f in check_image(found) if severity(f.rule) is not Severity.NOTE] == []
    assert owned is not None
    assert (owned.unowned_pages, owned.unpreserved_pages, owned.double_owned_pages) == (0, 0, 0)


@every
def test_every_byte_comes_back(name: str) -> None:
    """The full document, as JSON, gives back every page of metadata."""
    found = image(name)
    segments, _ = preserved_segments(
        Document("dump", json.loads(json.dumps(full_document(found)))), REGISTRY
    )
    pages = {address: bytes(data) for address, data in segments}

    for start, end in metadata_pages(found).tolist():
        assert pages[start] == bytes(found.space.read(start, end - start)), hex(start)


@every
def test_laid_out_afresh_it_says_the_same(name: str) -> None:
    """Written at other addresses nothing is lost, nothing is wrong, nothing differs."""
    built, again = afresh(name)

    assert all(text.endswith("stay as they are") for text in built.lost)
    assert [f for f in check_image(again) if severity(f.rule) is not Severity.NOTE] == []
    assert list(compare(image(name), again, DiffOptions()).changes) == []


@every
def test_it_does_not_differ_from_itself(name: str) -> None:
    """Diff finds nothing in one image, addresses and contents included."""
    found = image(name)

    options = DiffOptions(addresses=True, contents=True)
    assert list(compare(found, found, options).changes) == []


@every
def test_no_released_kernel_takes_it(name: str) -> None:
    """7.3 has no such handlers, objects and entries, whatever khotool can read."""
    assert str(judge(image(name), "7.3").outcome) == "partial"


def test_merged_sets_are_what_they_were() -> None:
    """No set of a released kernel names anything in development, and releases find theirs."""
    for abi in REGISTRY.sets.values():
        named = {abi.root, *abi.entries.values(), *abi.nodes, *abi.files, *abi.flbs}
        if abi.status == "merged":
            assert {REGISTRY.get(identifier).status for identifier in named} == {"merged"}
    for release in ("7.2.1", "7.3.4", "7.3.0-rc1"):
        assert getattr(REGISTRY.set_for(release), "id", "") == "7.2"


# -- what is in them -------------------------------------------------------------------------

VALUES = [
    ("devices", f"{FILES}[0x21]/data/bdf", 0x208),
    ("devices", f"{FILES}[0x20]/data/reset_works", 1),
    ("devices", "/LUO/flbs[pci]/data/version", 2),
    ("devices", "/LUO/flbs[pci]/data/nr_devices", 3),
    ("devices", "/LUO/flbs[pci]/data/devices[3]/domain", 1),
    ("devices", f"{IOMMU}/version", 1),
    ("devices", f"{IOMMU}/iommu_domain_array_phys[0]/vasz", 39),
    ("devices", f"{IOMMU}/iommu_domain_array_phys[1]/sign_extend", 1),
    ("devices", f"{IOMMU}/device_array_phys[1]/attachment_id", 2),
    ("intel", f"{IOMMU}/iommu_array_phys[0]/context_tables_bitmap", [4] + [0] * 7),
    ("intel", f"{IOMMU}/device_array_phys[0]/max_pasid", 1 << 20),
    ("intel", f"{IOMMU}/iommu_domain_array_phys[1]/hdr/flags", 1),
    ("owner-intel", f"{IOMMU}/device_array_phys[0]/dma_owner_token", 9),
    ("owner-smmuv3", f"{IOMMU}/iommu_array_phys[0]/strtab_base_cfg", 16),
    ("iommu-liveupdate-v1", "/LUO/flbs[pci-v1]/data/max_nr_devices", 16),
    ("iommu-v1", "/LUO/flbs[iommu-v1]/data/nr_domains", 2),
    ("iommu-v1", "/LUO/flbs[iommu-v1]/data/devices_phys[0]/did", 1),
    ("vfio-v1", f"{FILES}[0x1]/data/bdf", 0x100),
    ("vfio-v1", f"{FILES}[0x2]/data/rbar", [0xFE000004, 0, 0xFD000000, 0, 0, 0, 0]),
    ("vfio-v1", f"{FILES}[0x2]/data/reset_works", 1),
    ("vfio-pci-v1", f"{FILES}[0x2]/data/bdf", 0x1F08),
    ("kvm", f"{FILES}[0x1]/data/nr_mem_attrs", 2),
    ("kvm", f"{FILES}[0x2]/data/flags", 3),
    ("files", "/LUO/sessions[host]/files[0x1]/data/order", 9),
    ("files", "/LUO/sessions[host]/files[0x2]/data/mode", 0o1777),
    ("files", "/LUO/sessions[host]/files[0x3]/data/name", "ring"),
    ("files", "/LUO/sessions[host]/files[0x5]/data/count", 3),
    ("files", "/LUO/sessions[host]/files[0x6]/data/bdf", 0x300),
    ("files", "/LUO/sessions[host]/files[0x7]/data/base_dev[1]/name", "eth1"),
    ("files", "/LUO/sessions[host]/files[0x8]/data/net_mode[0]/text", "l3"),
    ("files", "/LUO/flbs[hugetlb-v1]/data/nr_hstates", 2),
    ("rxe-short-names", "/LUO/sessions[host]/files[0x7]/data/base_dev[0]/name", "eth0"),
    ("log-and-poison", "/pstore-kho/buf", b"<0>Panic-not-syncing\n"),
    ("log-and-poison", "/pstore-kho/buf_size", 21),
    ("log-and-poison", "/hwpoison/count", 3),
    ("log-in-a-tree", "/pstore-kho/pstore_kho_record/reason", 2),
    ("log-in-a-tree", "/pstore-kho/pstore_kho_record/buf", bytes.fromhex("789c4bcec82cd64f4a2c")),
]


@pytest.mark.parametrize(("name", "path", "expected"), VALUES)
def test_values_are_those_of_the_manifest(name: str, path: str, expected: object) -> None:
    """A value stands where its recipe put it, before and after it moved."""
    assert value(image(name), path) == expected
    assert value(afresh(name)[1], path) == expected


CHOICES = [
    ("devices", "iommu-liveupdate", "iommu-liveupdate"),
    ("devices", "iommufd-v1", "iommufd-v1-hwpts"),
    ("intel", "iommu-liveupdate", "iommu-liveupdate-intel"),
    ("intel", "iommufd-v1", "iommufd-v1-packed"),
    ("owner-intel", "iommu-liveupdate", "iommu-liveupdate-owner-intel"),
    ("owner-intel", "iommufd-v1", "iommufd-v1"),
    ("owner-smmuv3", "iommu-liveupdate", "iommu-liveupdate-owner-smmuv3"),
    ("iommu-v1", "pci-v1", "pci-v1-u64"),
    ("iommu-liveupdate-v1", "pci-v1", "pci-v1"),
    ("pci-v2-u32", "pci-v2", "pci-v2"),
    ("pci-v2-blocks", "pci-v2", "pci-v2-blocks"),
    ("vfio-pci-v1", "pci", "pci-array"),
    ("kvm", "kvm_vm_luo_v1", "kvm_vm_luo_v1-attrs"),
    ("rxe-short-names", "rxe-v1", "rxe-v1-16"),
]


@pytest.mark.parametrize(("name", "string", "chosen"), CHOICES)
def test_layouts_of_one_string_are_told_apart(name: str, string: str, chosen: str) -> None:
    """What the bytes decide is decided for certain, and says why."""
    found = image(name)
    choices = [choice for choice in found.choices if choice.definition == string]

    assert chosen in {definition.id for definition in found.used}
    # A choice of what the string usually means is no news.
    assert chosen in {choice.layout for choice in choices} or chosen == string
    assert all(choice.certain and choice.why for choice in choices)


# -- page tables -----------------------------------------------------------------------------


def top(found: Image, number: int = 0) -> Node:
    return find_node(found, f"{IOMMU}/iommu_domain_array_phys[{number}]/top_table_phys")


def leaf(found: Image, iova: int, level: int = 2) -> int:
    """The physical address that a domain maps at a device address."""
    address = top(found).value
    while True:
        at = address + (iova >> (12 + 9 * level) & 511) * 8
        entry = int.from_bytes(found.space.read(at, 8), "little")
        assert entry & 3
        address = entry & 0xF_FFFF_FFFF_F000
        if not level or entry & 128:
            return address
        level -= 1


def test_tables_belong_to_their_domain() -> None:
    """Every table below a domain has one owner, the domain; what they map is counted."""
    found = image("devices")
    owned = found.ownership()
    tables = top(found).get("tables")
    assert owned is not None
    assert tables is not None
    assert tables.table is not None

    assert len(tables.table.extents) == 6
    for address, size in tables.table.extents.tolist():
        owners = [owned.owners[number] for number in owned.owners_of(address)]
        assert size == 4096
        assert owners == [f"{IOMMU}/iommu_domain_array_phys[0]"]
    assert top(found).note == "5 leaf entries, 516 pages"


def test_a_root_table_owns_its_context_tables() -> None:
    """The tables of an Intel IOMMU's own hardware are found from its root table."""
    found = image("intel")
    tables = find_node(found, f"{IOMMU}/iommu_array_phys[0]/root_table/tables")

    assert tables.table is not None
    assert len(tables.table.extents) == 2


def test_leaves_move_with_what_they_map() -> None:
    """Laid out afresh, device addresses lead to the same memory at its new place."""
    moved = json.loads(json.dumps(full_document(image("devices"))))
    assert moved["model"]["regions"]
    for found in (image("devices"), afresh("devices")[1]):
        huge = find_node(found, f"{FILES}[0x1]/data/folios").table
        small = find_node(found, f"{FILES}[0x2]/data/folios").table
        assert huge is not None
        assert small is not None
        assert leaf(found, 2 << 20) == int(huge.column("pfn")[0]) << 12
        for page, frame in enumerate(small.column("pfn").tolist()):
            assert leaf(found, (1 << 30) + page * 4096) == frame << 12
        # Memory that is nobody's payload, such as a window for interrupts, stays where it is.
        assert leaf(found, 0xFEE00000) == 0xFEE00000


def test_leaves_move_to_places_that_differ() -> None:
    """With other memory in front of it, a file moves and its mapping follows."""
    found = image("devices")
    handover = handover_of(found)
    metadata = next(entry for entry in handover.entries if entry.name == "LUO")
    files = metadata.values["sessions"][0]["files"]
    files.insert(0, {"handler": "eventfd-v1", "token": 0x99, "data": handle({"count": 1})})
    again = image_of(build_fresh(handover, set_of(found), REGISTRY), REGISTRY)
    frames = find_node(again, f"{FILES}[0x2]/data/folios").table
    before = find_node(found, f"{FILES}[0x2]/data/folios").table
    assert frames is not None
    assert before is not None

    assert not np.array_equal(frames.column("pfn"), before.column("pfn"))
    assert leaf(again, 1 << 30) == int(frames.column("pfn")[0]) << 12
    assert again.findings == []


def handle(values: dict[str, Any]) -> Any:
    from khotool.handover.values import Handle

    return Handle(values, format="eventfd-v1")


# -- references ------------------------------------------------------------------------------


def test_tokens_and_addresses_name_what_they_mean() -> None:
    """A token leads to a file of the session, an address of a record to that record."""
    for found in (image("devices"), afresh("devices")[1]):
        token = find_node(found, f"{FILES}[0x20]/data/token")
        domain = find_node(found, f"{IOMMU}/device_array_phys[1]/domain_phys")

        assert token.reference == f"{FILES}[0x10]"
        assert domain.reference == f"{IOMMU}/iommu_domain_array_phys[1]"
    assert find_node(image("kvm"), f"{FILES}[0x2]/data/vm_token").reference == f"{FILES}[0x1]"
    mount = "/LUO/sessions[host]/files"
    assert find_node(image("files"), f"{mount}[0x3]/data/mnt_token").reference == f"{mount}[0x2]"


def test_references_are_in_json() -> None:
    """The JSON dump says beside the values of a record which of them name something."""
    files = dump_document(image("devices"))["luo"]["sessions"][0]["files"]
    payload = next(file["payload"] for file in files if file["token"] == "0x20")

    assert payload["token"] == "0x10"
    assert payload["references"] == {"token": f"{FILES}[0x10]"}


def test_records_of_later_blocks_keep_their_numbers() -> None:
    """A list in several blocks numbers its records through; one in the second is referred to."""
    found = image("iommu-liveupdate-v1")
    path = "/LUO/flbs[iommu-liveupdate-v1]/data"
    domains = find_node(found, f"{path}/iommu_domain_array_phys")

    assert [element.key for element in domains.elements()] == [str(n) for n in range(103)]
    assert sum(1 for child in domains.children if child.name == "blocks") == 2
    reference = find_node(found, f"{path}/device_array_phys[0]/domain_phys").reference
    assert reference == f"{path}/iommu_domain_array_phys[102]"


# -- manifests that cannot be built ----------------------------------------------------------


def iommu(**fields: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "iommu_array_phys": [],
        "iommu_domain_array_phys": [],
        "device_array_phys": [],
    }
    return {"abi": SET, "flb": [{"name": "iommu-liveupdate", "count": 0, "fields": empty | fields}]}


WRONG = [
    ({"device_array_phys": [{"domain_phys": "/nothing[0]"}]}, "is not a record"),
    (
        {
            "iommu_domain_array_phys": [
                {"top_level": 1, "top_table_phys": [{"iova": 0, "table": "/LUO/nothing"}]}
            ]
        },
        "is not a table",
    ),
    (
        {
            "iommu_domain_array_phys": [
                {"top_level": 1, "top_table_phys": [{"iova": 1, "size": "4K", "address": 0}]}
            ]
        },
        "not made of whole pages",
    ),
    (
        {
            "iommu_domain_array_phys": [
                {"top_level": 0, "top_table_phys": [{"iova": "2M", "size": "4K", "address": 0}]}
            ]
        },
        "beyond what level 0 covers",
    ),
    ({"iommu_domain_array_phys": [{"top_level": 9, "top_table_phys": []}]}, "levels 0 to 6"),
    (
        {
            "iommu_domain_array_phys": [
                {
                    "top_level": 4,
                    "top_table_phys": [{"iova": "0x1000", "size": "64G", "address": "0x2000"}],
                }
            ]
        },
        "more than 1048576 entries",
    ),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_what_cannot_be_mapped_or_named(fields: dict[str, Any], message: str) -> None:
    """An error of a manifest says which reference or mapping is wrong."""
    with pytest.raises(EncodeError, match=message):
        build(iommu(**fields))


def test_lists_that_may_not_be_missing_are_empty_pages() -> None:
    """Each of the IOMMU core's lists is there even if it holds nothing."""
    found = decode(iommu())

    assert [f.rule for f in found.findings] == []
    assert find_node(found, f"{IOMMU}/device_array_phys").elements() == []
    assert value(found, f"{IOMMU}/device_array_phys") != 0
