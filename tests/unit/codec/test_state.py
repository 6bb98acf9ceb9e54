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
from khotool.fixture.recipe import build_fixture, find_fixtures
from khotool.model.image import Image, Node, NodeState
from khotool.model.lookup import find_node
from tests.builders import REGISTRY, decode

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
