"""Two images side by side: what differs is marked, and the sides can be swapped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from khotool.diff.changes import Result
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Node, NodeKind, Span
from khotool.model.lookup import find_node
from khotool.tui.changes import compare_images, side_lines
from khotool.tui.screens.diff import DiffScreen
from khotool.tui.text import plain
from khotool.tui.widgets.line_view import LineView
from tests.tui.conftest import CAPTURE, OLDER, opened
from tests.tui.driver import Driver, drive

RELEASE = "/kexec-metadata/previous_release"


def test_rows_are_beside_each_other() -> None:
    """Where both fit, each line has both sides; only bytes that differ are marked."""
    images = (opened(CAPTURE), opened(OLDER))
    wide = side_lines(images, RELEASE, 110)
    assert "7.3.4" in plain(wide[0])
    assert "7.1.13" in plain(wide[0])
    marked = [text for text, token in wide[0] if "hit" in token]
    assert marked == ["33", "34", "00", "31", "31", "33"]
    narrow = side_lines(images, RELEASE, 60)
    assert len(narrow) == 2 * len(wide)
    assert [plain(line)[1] for line in narrow[:2]] == ["A", "B"]


def test_one_side_alone_is_not_marked() -> None:
    """A place that one image lacks shows the bytes of the other, unmarked."""
    lines = side_lines((opened(CAPTURE), opened(OLDER)), "/LUO/session_compatible", 110)
    assert "not in this image" in plain(lines[0])
    assert not any("hit" in token for line in lines for _, token in line)


def test_the_result_is_said() -> None:
    """Equal, different, or equal as far as both images show."""
    image = opened(CAPTURE)
    assert compare_images(image, image).result is Result.EQUAL
    found = compare_images(image, opened(OLDER))
    assert found.result is Result.DIFFERENT
    assert found.gaps == 0


@pytest.mark.parametrize("size", [(120, 36), (60, 20)], ids=str)
def test_swap(size: tuple[int, int]) -> None:
    """``S`` makes the second image the one that Explore shows, and back."""

    async def story(d: Driver) -> None:
        assert d.app.session is not None
        first = d.app.session.image
        await d.press("4")
        assert "different" in d.text()
        await d.press("S")
        assert d.app.other is not None
        assert d.app.other.image is first
        assert d.app.session.checked
        await d.press("1")
        assert "luo-v1" in d.text("#tree")
        await d.press("4", "S", "1")
        assert d.app.session.image is first
        assert "luo-v5" in d.text("#tree")

    drive(story, size=size, other=OLDER)


def test_either_side_is_explored() -> None:
    """B shows a change in the second image; enter in the one that has it, the first if both do."""

    async def story(d: Driver) -> None:
        assert d.app.session is not None
        first = d.app.session.image
        await d.press("4")
        screen = d.app.screen
        assert isinstance(screen, DiffScreen)
        assert screen.changes is not None
        changes = screen.query_one("#changes", LineView)
        both = next(n for n, line in enumerate(screen.changes) if line.path == RELEASE)
        changes.point(both)
        await d.press("down", "up")
        assert "rows more the same" in d.text("#sides")
        await d.press("u")
        assert "rows more the same" not in d.text("#sides")
        await d.press("B")
        assert d.app.current_mode == "explore"
        assert d.app.session.image is not first
        assert d.path() == RELEASE
        await d.press("4", "S")
        only = next(n for n, line in enumerate(screen.changes) if line.kind == "added")
        path = screen.changes[only].path
        changes.point(only)
        await d.press("enter")
        assert d.app.session.image is not first
        assert d.path() == path

    drive(story, other=OLDER)


def test_rows_that_are_the_same_fold() -> None:
    """Rows alike on both sides are one line, unless asked for; what differs always shows."""
    old = opened(CAPTURE)
    at = find_node(old, "/LUO/sessions[vm-alpha]/name").span
    assert at is not None
    start = at.address & ~0xFFF
    tree = Node("", NodeKind.IMAGE)
    tree.add(Node("page", NodeKind.RAW, span=Span(start, 256)))
    images = tuple(
        replace(old, tree=tree, space=OverlaySpace(None, [(start, data)]))
        for data in (bytes(256), bytes(200) + b"new" + bytes(53))
    )
    whole = [plain(line) for line in side_lines(images, "/page", 170)]  # type: ignore[arg-type]
    folded = [
        plain(line)
        for line in side_lines(images, "/page", 170, fold=True)  # type: ignore[arg-type]
    ]
    assert len(whole) == 16
    assert [line for line in folded if "6e 65 77" in line] == [whole[12]]
    assert [line.split("the same")[0].strip() for line in folded if "the same" in line] == [
        "10 rows more",
        "1 row more",
    ]
    assert folded[:2] == whole[:2]
