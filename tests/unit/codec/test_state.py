"""State that its own bytes tell, shared records, addresses inside payload, trees of pages."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from khotool.check.run import check_image
from khotool.encode.fresh import build_fresh
from khotool.encode.lift import handover_of
from khotool.encode.reopen import image_of
from khotool.encode.sets import set_of
from khotool.errors import KhotoolError
from khotool.fixture.recipe import build_fixture, find_fixtures
from khotool.model.image import Image, Node, NodeState
from khotool.model.lookup import find_node
from tests.builders import REGISTRY, build, decode, overlaid

GOOD = Path(__file__).parents[3] / "fixtures" / "good"
FILES = "/LUO/sessions[vm]/files"


@cache
def recipe(name: str) -> Image:
    """The image of a fixture, laid out a second time at other addresses."""
    found = image_of(build_fixture(find_fixtures([GOOD / name])[0], REGISTRY), REGISTRY)
    return image_of(build_fresh(handover_of(found), set_of(found), REGISTRY), REGISTRY)


def node(image: Image, path: str) -> Node:
    found: Node = find_node(image, path)
    return found


def test_cpus_of_a_session_share_its_record() -> None:
    """The second CPU names the record of the first; the list goes through their records."""
    image = recipe("7.4-frontier-cpus-list")

    second = node(image, f"{FILES}[0x2]/data/session")
    assert second.reference == f"{FILES}[0x1]/data/session"
    assert second.value == node(image, second.reference).value
    assert second.children == []
    assert node(image, f"{FILES}[0x1]/data/next").reference == f"{FILES}[0x2]/data"
    assert node(image, "/LUO/flbs[cpu_flb_v1]/data/cpus").reference == f"{FILES}[0x1]/data"


def test_an_address_inside_payload_moves_with_it() -> None:
    """The root of the page tables is still the first of their pages."""
    tables = node(recipe("7.4-frontier-cpus-list"), f"{FILES}[0x1]/data/session/as")

    pages = [
        page.value_of("page")
        for page in node(recipe("7.4-frontier-cpus-list"), f"{tables.path}/pg_tables").elements()
    ]
    assert tables.value_of("pgd_pa") == pages[0]
    assert tables.value_of("nr_pgtable_pages") == len(pages) == 2


def test_registers_have_names() -> None:
    """Of a virtual CPU in the latest layout; two arrays in a row are both read."""
    image = recipe("7.4-frontier-kvm-x86")

    state = node(image, f"{FILES}[0x2]/data/arch_state")
    assert state.format == "kvm_vcpu-x86-clock"
    assert node(image, f"{state.path}/regs/rip").value == 0xFFFFFFFF81000000
    assert node(image, f"{state.path}/sregs/cr3").value == 0x2A10000
    assert node(image, f"{state.path}/xcrs/nr_xcrs").value == 1
    earlier = node(image, f"{FILES}[0x3]/data/arch_state")
    msrs, leaves = (node(image, f"{earlier.path}/{name}").table for name in ("msrs", "cpuid"))
    assert msrs is not None
    assert leaves is not None
    assert msrs.column("index").tolist() == [0xC0000081, 0xC0000082, 0x10]
    assert leaves.column("function").tolist() == [0, 0xD]


@pytest.mark.parametrize(
    ("arch_state", "rules"),
    [
        ({"size": "4K", "contents": {"random": 7}}, set()),
        ({"size": "8K", "contents": "zero"}, set()),
        (0x7EADBEE000, {"MEM302"}),
    ],
    ids=["noise", "zeros", "nowhere"],
)
def test_state_that_no_layout_fits_is_a_block(arch_state: Any, rules: set[str]) -> None:
    """It is not read, and nothing else is wrong with it."""
    vm = {"token": 1, "handler": "kvm_vm_luo_v1", "format": "kvm_vm_luo_v1", "fields": {}}
    cpu = {
        "token": 2,
        "handler": "kvm_vcpu_luo_v1",
        "fields": {"vm_token": 1, "arch_state": arch_state},
    }
    session = {"name": "vm", "file": [vm, cpu]}
    image = decode({"abi": "7.4-frontier", "session": [session]})

    state = node(image, f"{FILES}[0x2]/data/arch_state")
    assert state.state is NodeState.UNKNOWN_FORMAT
    assert state.children == []
    assert {finding.rule for finding in check_image(image)} == rules


@pytest.mark.parametrize("frames", [False, True])
def test_every_page_of_a_tree_has_an_owner(frames: bool) -> None:
    """Keys with an order and page frame numbers mean the same pages."""
    tree = {"size": "2M", "frames": frames, "contents": {"fill": "h"}}
    entry = {"name": "mshv_prsv_pt", "format": "mshv_kho-v1", "fields": {"root_table": tree}}
    image = decode({"abi": "7.4-frontier", "entry": [entry]})

    table = node(image, "/mshv_prsv_pt/root_table")
    assert table.value_of("pages") == 512
    assert table.value_of("keys") == ("page frames" if frames else "pages and orders")
    assert list(check_image(image)) == []
    again = image_of(build_fresh(handover_of(image), set_of(image), REGISTRY), REGISTRY)
    assert list(check_image(again)) == []
    assert node(again, "/mshv_prsv_pt/root_table/pages").value == 512


STATES = "/kstate/states"


def damaged_stream(*changes: tuple[int, bytes]) -> Image:
    """The stream of states with bytes changed at offsets from its start."""
    image = recipe("kstate-v3-states")
    start = int(node(image, STATES).value)
    return overlaid(image, [(start + offset, data) for offset, data in changes])


def offset_of(path: str) -> int:
    """Bytes from the start of the stream to a value of the sound image."""
    image = recipe("kstate-v3-states")
    span = node(image, f"{STATES}{path}").span
    assert span is not None
    return int(span.address) - int(node(image, STATES).value)


def test_a_state_longer_than_its_block_ends_the_stream() -> None:
    """What follows it is kept as bytes, and written back."""
    size = offset_of("[3.0x7b]/size")
    for length in (1 << 20, -1):
        image = damaged_stream((size, length.to_bytes(4, "little", signed=True)))
        assert "REC403" in {finding.rule for finding in image.findings}
        assert len(node(image, STATES).elements()) == 2
        assert any(region.path == f"{STATES}/rest" for region in image.regions)
        assert handover_of(image) is not None


def test_a_stream_without_an_end_is_read_to_the_end_of_its_block() -> None:
    """Zeros are states of length 0, until nothing is left."""
    end = offset_of("[77.0x1]/body") + 4
    image = damaged_stream((end, bytes(4)))
    assert "REC403" in {finding.rule for finding in image.findings}
    assert len(node(image, STATES).elements()) > 5


def test_a_body_of_another_size_is_bytes() -> None:
    """The definition of its number does not describe it; an empty one has no bytes at all."""
    image = damaged_stream((offset_of("[4.0x7b]/state_id"), (2).to_bytes(4, "little")))
    assert node(image, f"{STATES}[2.0x7b]/body").value == (10).to_bytes(4, "little")
    empty = damaged_stream((offset_of("[77.0x1]/size"), bytes(4)))
    assert node(empty, f"{STATES}[77.0x1]/body").value == b""


@pytest.mark.parametrize(
    ("state", "mistake"),
    [
        ({"state_id": 99, "body": {"i": 1}}, "99"),
        ({"state_id": 4, "body": {"j": 1}}, "unknown key 'j'"),
        ({"state_id": 4, "body": "0x"}, "body"),
    ],
)
def test_mistakes_in_states(state: dict[str, Any], mistake: str) -> None:
    """A body is a table of the fields that its definition has, or bytes in hexadecimal."""
    entry = {"name": "kstate", "format": "kstate", "fields": {"states": [state]}}
    with pytest.raises(KhotoolError, match=mistake):
        decode({"abi": "kstate-v3", "entry": [entry]})


def test_a_state_without_a_body() -> None:
    """It has none, unless one is given."""
    root = {"state_id": 2, "body": {"fdt_phys": "/", "fdt_len": 4096}}
    entry = {"name": "kstate", "format": "kstate", "fields": {"states": [root, {"state_id": 88}]}}
    image = decode({"abi": "kstate-v3", "entry": [entry]})
    assert node(image, f"{STATES}[88.0x0]/body").value == b""


def test_a_root_may_be_a_number() -> None:
    """An address that is written out stays what it is."""
    state = {"state_id": 2, "body": {"fdt_phys": 0x7654000, "fdt_len": 4096}}
    entry = {"name": "kstate", "format": "kstate", "fields": {"states": [state]}}
    made = build({"abi": "kstate-v3", "entry": [entry]})
    address = (0x7654000).to_bytes(8, "little")
    assert any(address in bytes(data) for _, data in made.segments)


def test_a_state_that_nobody_describes_has_no_fields() -> None:
    """A full document whose state got another number cannot be written."""
    image = recipe("kstate-v3-states")
    handover = handover_of(image)
    entry = next(one for one in handover.entries if one.name == "kstate")
    entry.values["states"][0]["state_id"] = 99
    with pytest.raises(KhotoolError, match="no definition says how this state is written"):
        build_fresh(handover, set_of(image), REGISTRY)
