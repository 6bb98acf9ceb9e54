"""The tree keeps what the model holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from khotool.decode.open import open_image
from khotool.model.image import NodeKind
from khotool.render.lines import plain
from khotool.render.tree import TreeOptions, tree_lines

REAL = Path(__file__).parents[3] / "fixtures" / "real"


@pytest.mark.parametrize("folder", sorted(REAL.iterdir()), ids=lambda path: path.name)
def test_verbose_tree_shows_every_group(folder: Path) -> None:
    """With -v every record, list and table of the model has its line, in order."""
    image = open_image(folder / "image.elf.xz")
    text = "".join(plain(tree_lines(image, image.tree, TreeOptions(verbose=True)), 100))
    at = 0
    for node in image.tree.walk():
        if node.kind is NodeKind.RECORD and node.key is not None:
            at = text.index(f"[{node.key}]", at) if "/" not in node.key else at


def test_width() -> None:
    """Nothing that can be broken is wider than the terminal."""
    image = open_image(REAL / "linux-7.3.4" / "image.elf.xz")
    for width in (80, 120):
        rows = list(plain(tree_lines(image, image.tree, TreeOptions(verbose=True)), width))
        long = [row for row in rows if len(row) > width + 1]
        assert all("MEMFD_LUO" in row for row in long)
