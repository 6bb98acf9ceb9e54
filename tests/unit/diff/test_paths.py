from __future__ import annotations

from pathlib import Path

import pytest

from khotool.decode.open import open_image
from khotool.diff.changes import DiffOptions
from khotool.diff.paths import PathFilter
from khotool.model.image import Image

IMAGE = Path(__file__).parents[3] / "fixtures" / "real" / "linux-7.3.4" / "image.elf.xz"


@pytest.fixture(scope="module")
def images() -> tuple[Image, Image]:
    image = open_image(IMAGE)
    return image, image


def test_a_path_stops_at_names(images: tuple[Image, Image]) -> None:
    """A path means itself and what is below, not names that begin alike."""
    options = DiffOptions(only=("/LUO/sessions[vm-alpha]", "/kho*"))
    shown = PathFilter(options, images)
    assert shown("/LUO/sessions[vm-alpha]/files[0x1]")
    assert shown("/kho_test/csum")
    assert not shown("/LUO/sessions[vm-alpha2]")
    assert not PathFilter(DiffOptions(ignore=("/",)), images)("/LUO")


def test_stars_take_no_time(images: tuple[Image, Image]) -> None:
    """A run of stars is one star, however long."""
    shown = PathFilter(DiffOptions(only=("/" + "*" * 30 + "O",)), images)
    assert shown("/LUO")
    assert not shown("/" + "O" * 40 + "x")


def test_elements_by_position_and_number(images: tuple[Image, Image]) -> None:
    """A position, or a token in decimal, means the path that dump prints."""
    shown = PathFilter(DiffOptions(only=("/LUO/sessions[0]/files[16]",)), images)
    assert shown("/LUO/sessions[vm-alpha]/files[0x10]/data/pos")
    assert not shown("/LUO/sessions[vm-alpha]/files[0x1]/data/pos")
