from __future__ import annotations

import functools
from pathlib import Path

import pytest

from khotool.decode.open import open_image
from khotool.model.image import Image
from khotool.tui.goto import PathList
from khotool.tui.index import ByteIndex
from khotool.tui.session import Session

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / "fixtures" / "real" / "linux-7.3.4" / "image.elf.xz"
OLDER = ROOT / "fixtures" / "real" / "linux-7.1.13" / "image.elf.xz"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-pictures", action="store_true", help="write docs/pictures/*.svg anew"
    )


@functools.cache
def opened(path: Path = CAPTURE) -> Image:
    image = open_image(path)
    image.ownership()
    return image


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's is read or written."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("NO_COLOR", "COLORFGBG", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)


def goto(session: Session, text: str) -> bool:
    """Go to the likeliest meaning of a text; False if it has none."""
    found = session.candidates(text, 1)
    if found:
        session.jump(session.cursor_of(found[0]))
    return bool(found)


@pytest.fixture
def session() -> Session:
    image = opened()
    session = Session(image)
    session.set_index(ByteIndex(image))
    session.paths = PathList(image.tree)
    session.set_ownership(image.ownership())
    return session
