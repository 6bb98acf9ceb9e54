"""The pictures of the documentation are screens of this version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from khotool.tui.keys import Config
from tests.tui.conftest import OLDER, ROOT
from tests.tui.driver import NARROW, WIDE, Driver, drive

FOLDER = ROOT / "docs" / "pictures"
DATA = "/LUO/sessions[vm-alpha]/files[0x1]/data"
PICTURES: dict[str, tuple[tuple[int, int], str, str, tuple[str, ...]]] = {
    "tui-explore": (WIDE, "khotool-dark", DATA, ()),
    "tui-explore-light": (WIDE, "khotool-light", f"{DATA}/pos", ()),
    "tui-explore-80x24": (NARROW, "khotool-dark", f"{DATA}/size", ()),
    "tui-wide": ((160, 50), "khotool-dark", f"{DATA}/folios[0]/pfn", ()),
    "tui-goto": (WIDE, "khotool-dark", "", ("g", "f", "o", "l", "i", "o", "s")),
    "tui-pages": (WIDE, "khotool-dark", "0x3400000", ("3",)),
    "tui-diff": (WIDE, "khotool-dark", "", ("4", *"jjjjjj")),
    "tui-verdict": (WIDE, "khotool-dark", "", ("6",)),
    "tui-edit": (WIDE, "khotool-dark", DATA, ("s", "ctrl+a", "ctrl+k", *"0x3300008", "enter")),
    "tui-formats": (WIDE, "khotool-dark", f"{DATA}/size", ("5",)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture(name: str, request: pytest.FixtureRequest) -> None:
    """Each picture exists; ``--update-pictures`` writes it from the running program."""
    file = FOLDER / f"{name}.svg"
    if not request.config.getoption("--update-pictures", default=False):
        assert file.is_file(), "run pytest tests/tui/test_pictures.py --update-pictures"
        picture = file.read_text()
        assert picture.startswith("<svg")
        assert "Explore" in picture
        return
    size, theme, place, keys = PICTURES[name]

    async def story(d: Driver) -> str:
        if place:
            await d.goto(place)
        await d.press(*keys)
        # The footer comes a moment after the rest.
        await d.pilot.pause(0.2)
        # Names of classes and clips carry a number that differs from run to run.
        svg = re.sub(r"terminal-\d+", f"terminal-{name}", d.app.export_screenshot(title="khotool"))
        return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"

    other: Path | None = OLDER if name == "tui-diff" else None
    text = drive(story, size=size, other=other, config=Config(theme=theme), drawn=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
