"""Fixtures have a source, and definitions have fixtures."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest

from khotool.abi.registry import load_registry
from khotool.check.catalogue import rules
from khotool.decode.open import open_image
from tests.contract.repository import ROOT

REAL = sorted(path for path in (ROOT / "fixtures/real").iterdir() if path.is_dir())
ELSEWHERE = {
    "chosen": "only in a memory image of arm64 after boot; tests build one",
    "boot_params": "only in debugfs of a running x86 host; tests build one",
    "setup_data": "only in a memory image of x86 after boot; tests build one",
    "kho_scratch": "only in a memory image after boot; tests build one",
    "kho_page_info": "only in the struct pages of the next kernel; tests build one",
}
"""Definitions of boot data that no small capture holds, and why."""


def recipes() -> list[Path]:
    return sorted((ROOT / "fixtures").glob("*/*/recipe.toml"))


@pytest.mark.parametrize("folder", REAL, ids=lambda path: path.name)
def test_real_capture_has_provenance(folder: Path) -> None:
    """A real capture says which kernel it is of, how it was taken, and what its bytes are."""
    told = tomllib.loads((folder / "provenance.toml").read_text(encoding="utf-8"))
    for key in ("kernel", "architecture", "page_size", "command_line", "config", "captured"):
        assert told[key], key
    listed = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "provenance.toml"
    }

    assert told["sha256"] == listed


@pytest.mark.parametrize("folder", REAL, ids=lambda path: path.name)
def test_name_of_a_real_capture(folder: Path) -> None:
    """Its folder is called after its kernel."""
    told = tomllib.loads((folder / "provenance.toml").read_text(encoding="utf-8"))

    assert folder.name.startswith(f"linux-{told['kernel']}")


def test_every_merged_definition_has_a_fixture() -> None:
    """A definition of a released kernel is used by a real capture or by a recipe."""
    registry = load_registry()
    used: set[str] = set(ELSEWHERE)
    for folder in REAL:
        image = open_image(folder / "image.elf.xz")
        used |= {definition.id for definition in image.used}
    for recipe in recipes():
        told = tomllib.loads(recipe.read_text(encoding="utf-8"))
        abi = registry.set_for(str(told.get("abi", "")))
        if abi is not None:
            used |= {abi.root, *abi.entries.values(), *abi.nodes, *abi.files}
    for identifier in list(used):
        used |= set(registry.get(identifier).uses)
    merged = {definition.id for definition in registry if definition.status == "merged"}

    assert merged - used == set()


@pytest.mark.parametrize("folder", sorted((ROOT / "fixtures/bad").iterdir()), ids=lambda p: p.name)
def test_name_of_a_bad_fixture(folder: Path) -> None:
    """A bad fixture is called after the rule that has to fire, and says so."""
    rule = folder.name.partition("-")[0]
    lines = (folder / "expect/rules.txt").read_text(encoding="utf-8").splitlines()

    assert rule in rules()
    assert f"must {rule}" in lines


def test_every_recipe_says_what_it_is() -> None:
    """A recipe begins with a sentence for people."""
    for recipe in recipes():
        assert tomllib.loads(recipe.read_text(encoding="utf-8")).get("about"), recipe
