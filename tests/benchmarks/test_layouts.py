"""Images for measurements are sound, and their pages lie as the layout says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from khotool.absent import Absent
from khotool.check.run import check_image
from khotool.decode.open import open_image
from tests.benchmarks.layouts import FIRST, LAYOUTS, write_layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_small_image_of_each_layout(layout: str, tmp_path: Path) -> None:
    """No findings, every page has its file, and all pages of the layout are there once."""
    path = tmp_path / "image.elf"
    write_layout(path, layout, 2, 140_000)
    image = open_image(path)
    assert list(check_image(image)) == []
    owned = image.ownership()
    assert owned is not None
    assert owned.unowned_pages == owned.unpreserved_pages == owned.double_owned_pages == 0
    tables = [node.table for node in image.tree.walk() if node.table is not None]
    frames = np.concatenate([table.column("pfn") for table in tables])
    stride = 2 if layout == "alternate" else 1
    assert np.array_equal(np.sort(frames), FIRST + stride * np.arange(280_000))
    assert bool((np.diff(frames.astype(np.int64)) == stride).all()) == (layout != "random")
    assert not isinstance(image.map, Absent)
    assert image.map.complete
