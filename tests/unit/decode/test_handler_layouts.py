"""Layouts of coming handlers that no byte tells apart: the user says, or the doubt is shown."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from khotool.abi.definition import Kind
from khotool.decode.open import open_memory
from khotool.document.full import metadata_pages, preserved_segments
from khotool.encode.reopen import image_of
from khotool.fixture.recipe import build_fixture, find_fixtures
from khotool.limits import OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Image, Node
from khotool.model.lookup import find_node
from khotool.structured import Document
from tests.builders import REGISTRY, decode
from tests.documents import full_document

GOOD = Path(__file__).parents[3] / "fixtures" / "good"
FIXTURES = {f.name: f for f in find_fixtures([GOOD]) if f.name.startswith("7.4-frontier-")}
SET = "7.4-frontier"


@cache
def image(name: str) -> Image:
    """The image of a fixture."""
    return image_of(build_fixture(FIXTURES[name], REGISTRY), REGISTRY)


def node(found: Image, path: str) -> Node:
    return find_node(found, path)


def frontier(files: list[dict[str, Any]], **rest: Any) -> dict[str, Any]:
    return {"abi": SET, "session": [{"name": "vm", "file": files}]} | rest


VM = {
    "token": 9,
    "handler": "kvm_vm_luo_v1",
    "format": "kvm_vm_luo_v1-attrs",
    "fields": {"mem_attrs": [{"gfn": 1, "attributes": 8}]},
}
IOMMUFD = {"token": 9, "handler": "iommufd-v1", "format": "iommufd-v1"}
FORCED: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    ("vfio-pci-v1-4", {"bdf": 0x100, "domain": 2}, []),
    ("vfio-pci-v1-5", {"bdf": 0x100, "domain": 2, "reset_works": 1}, []),
    ("vfio-pci-v1-9", {"bdf": 0x100, "domain": 2, "token": 9}, [IOMMUFD]),
]


@pytest.mark.parametrize(("identifier", "fields", "others"), FORCED, ids=lambda v: str(v)[:24])
def test_what_bytes_cannot_tell_the_user_says(
    identifier: str, fields: dict[str, Any], others: list[dict[str, Any]]
) -> None:
    """Layouts without a sign are read by ``--abi``; without it the doubt is a finding."""
    string = REGISTRY.get(identifier).match["compatible"][0]
    file = {"token": 1, "handler": string, "format": identifier, "fields": fields}
    given = decode(frontier([file, *others]))
    options = OpenOptions(abi={string: identifier})
    asked = open_memory(OverlaySpace(given.space, []), REGISTRY, options)
    data = node(asked, "/LUO/sessions[vm]/files[0x1]/data")

    assert data.format == identifier
    for label, value in fields.items():
        if isinstance(value, int):
            assert data.value_of(label) == value
    assert "ABI903" in {finding.rule for finding in given.findings}
    assert [f for f in asked.findings if f.path.startswith(data.path)] == []
    segments, _ = preserved_segments(
        Document("dump", json.loads(json.dumps(full_document(asked)))), REGISTRY
    )
    pages = {address: bytes(made) for address, made in segments}
    for start, end in metadata_pages(asked).tolist():
        assert pages[start] == bytes(asked.space.read(start, end - start))


def test_every_coming_handler_has_an_image() -> None:
    """No handler or FLB that is coming goes without an image that holds it."""
    used = {d.id for name in FIXTURES for d in image(name).used}
    used |= {identifier for identifier, _, _ in FORCED}
    coming = {
        d.id
        for d in REGISTRY
        if d.kind in (Kind.FILE, Kind.FLB)
        and d.status in ("queued", "development", "experimental")
        and not d.id.startswith("memfd")
    }

    assert sorted(coming - used) == []
