"""The list of versions is complete: each definition stands in it, and each is in an image."""

from __future__ import annotations

import re
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
