"""The list of versions is complete: each definition stands in it, and each is in an image."""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache

import pytest

from khotool.abi.definition import Kind
from khotool.encode.reopen import image_of
from khotool.fixture.recipe import build_fixture, find_fixtures
from tests.builders import REGISTRY
from tests.contract.repository import ROOT

PAGE = (ROOT / "docs/reference/versions.md").read_text(encoding="utf-8")
LISTED = set(re.findall(r"\]\(formats/([^)]+)\.md\)", PAGE))
UNUSED = {"kho_xarray", "dma_alloc_ser", "dma_alloc_ser-first"}
"""Structures that no format uses yet."""
UNNAMED = {
    "cpu_flb_v1": "MEM301-handles-alone-damaged",
    "cpu_session": "MEM301-cpus-magic-damaged",
    "kstate-kho_fdt": "MEM302-kstate-v3-states-damaged",
    "kstate-reserved_mem": "MEM302-kstate-v3-states-damaged",
    "kstate-test": "MEM302-kstate-v3-states-damaged",
    "kstate-test_v2": "MEM302-kstate-v3-states-damaged",
    "kvm_caretaker_cb": "MEM301-kvm-arm64-damaged",
    "kvm_vcpu_arch_ser": "MEM301-kvm-arm64-damaged",
    "kvm_vm_arch_luo_state": "MEM302-kvm-vms-damaged",
    "liveupdate-test-flb": "LUO506-literal-changed",
}
"""Damaged images of what neither a recipe nor a dump names by its id: states, and a literal."""


@cache
def described() -> frozenset[str]:
    """Definitions that a recipe writes, or that decode something of a sound one's image."""
    found: set[str] = set()
    for fixture in find_fixtures([ROOT / "fixtures/bad"]):
        # Layouts that no byte tells apart are named by the recipe that writes them.
        found.update(re.findall(r'format = "([^"]+)"', fixture.recipe.read_text("utf-8")))
    for fixture in find_fixtures([ROOT / "fixtures/good"]):
        found.update(re.findall(r'format = "([^"]+)"', fixture.recipe.read_text("utf-8")))
        image = image_of(build_fixture(fixture, REGISTRY), REGISTRY)
        found.update(definition.id for definition in image.used)
    return frozenset(found)


def test_every_definition_is_listed() -> None:
    """No definition of a root, entry, file or FLB is missing from the list of versions."""
    named = {
        definition.id
        for definition in REGISTRY
        if definition.kind in (Kind.ROOT, Kind.ENTRY, Kind.FILE, Kind.FLB)
    }

    assert sorted(named - LISTED) == []


def test_what_is_listed_is_defined() -> None:
    """The list names no definition that does not exist."""
    assert sorted(LISTED - set(REGISTRY.definitions)) == []


@pytest.mark.parametrize("identifier", sorted(LISTED - UNUSED))
def test_every_version_has_an_image(identifier: str) -> None:
    """Each version listed is in a synthetic image, whose dump names it."""
    assert identifier in described()


@cache
def damaged() -> frozenset[str]:
    """Definitions that a recipe of a damaged image writes, or that decode something of it."""
    found: set[str] = set()
    for fixture in find_fixtures([ROOT / "fixtures/bad"]):
        text = fixture.recipe.read_text("utf-8")
        found.update(re.findall(r'format = "([^"]+)"', text))
        abi = REGISTRY.set_for(str(tomllib.loads(text).get("abi", "")))
        if abi is not None and abi.status != "merged":
            found.update((abi.root, *abi.entries.values(), *abi.nodes, *abi.files))
        dump = fixture.expect / "dump.json"
        if dump.exists():
            used = json.loads(dump.read_text("utf-8"))["abi"]
            found.update(name.partition("=")[0] for name in used)
    return frozenset(found.union(*(REGISTRY.get(identifier).uses for identifier in found)))


def test_every_definition_is_damaged_somewhere() -> None:
    """Each definition is in a damaged image, in which a rule fires."""
    # Boot data and the marks of struct page are in the memory of the next kernel only.
    named = {d.id for d in REGISTRY if d.kind is not Kind.BOOT} - {"kho_page_info"}
    folders = {path.name for path in (ROOT / "fixtures/bad").iterdir()}

    assert sorted(named - damaged() - UNUSED - set(UNNAMED)) == []
    assert set(UNNAMED.values()) <= folders
