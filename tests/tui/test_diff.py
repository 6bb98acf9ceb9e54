"""Two images side by side: what differs is marked, and the sides can be swapped."""

from __future__ import annotations

import pytest

from khotool.diff.changes import Result
from khotool.tui.changes import compare_images, side_lines
from khotool.tui.text import plain
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


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 20)], ids=str)
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
