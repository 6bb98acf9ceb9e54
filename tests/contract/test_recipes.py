"""Recipes of synthetic images: complete, named after what they hold, and built as expected."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from khotool.cli.fixture import dump_text
from khotool.encode.reopen import image_of
from khotool.fixture.recipe import build_fixture, check_fixture, find_fixtures
from tests.builders import ALL_SETS, REGISTRY, worst

GOOD = Path(__file__).parents[2] / "fixtures" / "good"
FIXTURES = find_fixtures([GOOD])
every_fixture = pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: fixture.name)


def manifest(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def set_id(path: Path) -> str:
    found = REGISTRY.set_for(manifest(path)["abi"])
    assert found is not None
    return found.id


@every_fixture
def test_image_is_as_expected(fixture: Any) -> None:
    """What the recipe builds is what is stored, and nothing above a note is found in it."""
    assert check_fixture(fixture, REGISTRY, dump_text) == []
    assert worst(image_of(build_fixture(fixture, REGISTRY), REGISTRY)) == []


@every_fixture
def test_name_says_what_is_in_it(fixture: Any) -> None:
    """A folder is named after set, page size and byte order; the recipe says the rest."""
    document = manifest(fixture.recipe)
    words = fixture.name.removeprefix(f"{set_id(fixture.recipe)}-").split("-")
    assert fixture.name.startswith(f"{set_id(fixture.recipe)}-")
    page = {"16K": "16k", "64K": "64k"}.get(document.get("page_size", "4K"))
    assert {"16k", "64k"} & set(words) == ({page} if page else set())
    assert ("be" in words) == (document.get("endian") == "big")
    assert document["about"].endswith(".")
    assert ("empty" in words) <= (set(document) == {"about", "abi"})


def test_every_set_has_a_recipe() -> None:
    """Every set of formats/sets.toml has a good recipe; so has every page size and byte order."""
    documents = [manifest(fixture.recipe) for fixture in FIXTURES]
    assert {set_id(fixture.recipe) for fixture in FIXTURES} == set(ALL_SETS)
    assert {d.get("page_size", "4K") for d in documents} == {"4K", "16K", "64K"}
    assert {d.get("endian", "little") for d in documents} == {"little", "big"}


def test_every_format_is_used() -> None:
    """Every definition of a merged format decodes a part of a good recipe or is boot data.

    The mark of a preserved block is in the memory of the next kernel, which no recipe has.
    """
    used: set[str] = set()
    for fixture in FIXTURES:
        image = image_of(build_fixture(fixture, REGISTRY), REGISTRY)
        used |= {definition.id for definition in image.used}
    named = {d.id for d in REGISTRY if d.kind != "boot" and d.status == "merged"}
    assert named - {"kho_page_info"} <= used


def test_no_image_is_stored() -> None:
    """Recipes and expectations only: images are built."""
    assert sorted(path.suffix for path in GOOD.rglob("*") if path.is_file()) == sorted(
        [".toml", ".sha256", ".json"] * len(FIXTURES) + [".txt"] * len(list(GOOD.rglob("*.txt")))
    )
    assert all(path.stat().st_size < 100 << 10 for path in GOOD.rglob("*") if path.is_file())
