"""The picture of memory, made without keeping the ranges that it shows."""

from __future__ import annotations

import pytest

from khotool.pages import owners
from khotool.render.memory_cells import cells_of, groups_of
from tests.builders import capture

NEWEST = "linux-7.3.4"


def test_cells_hold_all_bytes_of_their_groups() -> None:
    """What the cells hold is what the groups have, and the ranges of the groups have as much."""
    image = capture(NEWEST)
    cells = cells_of(image)
    held = sum(sum(window.filled) for window in cells.windows) * cells.size
    assert held == sum(group.size for group in cells.groups) > 0
    kept = [(group.name, group.size) for group in groups_of(image)]
    assert kept == [(group.name, group.size) for group in cells.groups]


def test_the_picture_is_the_same_in_any_number_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few slots are looked at together, the cells are the same."""
    image = capture(NEWEST)
    whole = cells_of(image)
    monkeypatch.setattr(owners, "_SCAN", 512)
    assert cells_of(image) == whole
