"""Paths lead to nodes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from khotool.decode.open import open_image
from khotool.errors import UsageError
from khotool.model.image import Image
from khotool.model.lookup import find_node

REAL = Path(__file__).parents[3] / "fixtures" / "real"


@cache
def image(name: str = "linux-7.3.4") -> Image:
    return open_image(REAL / name / "image.elf.xz")


@pytest.mark.parametrize("folder", sorted(REAL.iterdir()), ids=lambda path: path.name)
def test_every_printed_path_is_found(folder: Path) -> None:
    """The path of every node of every capture leads back to that node."""
    found = image(folder.name)
    for node in found.tree.walk():
        assert find_node(found, node.path) is node


def test_rows_of_tables() -> None:
    """A row is made on the spot, with its place and its own path."""
    path = "/LUO/sessions[vm-beta]/files[0x1]/data/folios[12]/pfn"
    node = find_node(image(), path)
    assert node.path == path
    assert node.value == 0x13C7
    assert node.span is not None
    assert int.from_bytes(image().space.read(node.span.address, 8), "little") & 0xFFFF == 0x13C7


def test_positions_and_other_spellings() -> None:
    """A list element is found by position, a token also in decimal."""
    assert find_node(image(), "/LUO/sessions[1]").key == "vm-beta"
    token = find_node(image(), "/LUO/sessions[vm-alpha]/files[16]")
    assert token.key == "0x10"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/lUO", "LUO"),
        ("/LUO/sessions[vm-alpa]", "[vm-alpha]"),
        ("/LUO/sessions[vm-beta]/files[0x1]/data/folios[256]", "256 records"),
        ("/LUO/sessions[99]", "[vm-alpha]"),
        ("/kexec-metadata/version/more", "nothing below"),
        ("LUO", "starts with '/'"),
        ("/LUO[", "not closed"),
    ],
)
def test_errors_name_what_is_there(path: str, hint: str) -> None:
    """A path that leads nowhere is answered with the nearest part that exists."""
    with pytest.raises(UsageError) as caught:
        find_node(image(), path)
    assert hint in str(caught.value)
