"""Options inside, the command line of what is shown, the place that is restored, the browser."""

from __future__ import annotations

import argparse
import shlex

import pytest

from khotool.cli.main import main
from khotool.cli.tui import address, flags
from khotool.errors import UsageError
from khotool.limits import Limits, OpenOptions
from khotool.tui.commands import command_of, flags_of
from khotool.tui.keys import Config, clashes
from khotool.tui.place import resolve
from khotool.tui.session import Session
from tests.tui.conftest import CAPTURE
from tests.tui.driver import Driver, drive

SIZE = "/LUO/sessions[vm-alpha]/files[0x1]/data/size"


def test_flags_there_and_back() -> None:
    """Options as flags are read back as the same options."""
    options = OpenOptions(
        root=0x4DE000,
        page_size=4096,
        byteorder="little",
        base=0x1000,
        scratch=[(0xDC00000, 1 << 24)],
        debugfs="a folder",
        abi={"kho-v4": None, "memfd-v2": "packed"},
        formats=["mine"],
        limits=Limits(nodes=77),
    )
    assert flags(shlex.join(flags_of(options))) == options
    assert flags("") == OpenOptions()


@pytest.mark.parametrize("text", ["--page-size 3", "--nope", "--root", "'", "stray"])
def test_wrong_flags_are_refused(text: str) -> None:
    """What the command line would refuse is an error here, too, and no exit."""
    with pytest.raises(UsageError):
        flags(text)


def test_options_reopen() -> None:
    """``O`` shows the options; a wrong one asks again, a right one reads the image with it."""

    async def story(d: Driver) -> None:
        d.app.parse = flags
        await d.press("O")
        await d.fill("--page-size 5")
        await d.press("enter")
        assert "page size" in d.text("#note")
        await d.fill("--limit nodes=40")
        await d.press("enter")
        assert d.app.limits.nodes == 40
        assert "limit" in d.text("#banner")
        await d.press("O")
        assert "nodes=40" in d.app.screen.query_one("#input").value  # type: ignore[attr-defined]

    drive(story)


def test_command_prints_the_same(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    """The command of a place, and of bare bytes, runs."""
    place = resolve(session.image.tree, SIZE)
    assert place is not None
    session.select(place)
    words = shlex.split(command_of(session, str(CAPTURE), OpenOptions()))
    assert main(words[1:]) == 0
    assert "2097152" in capsys.readouterr().out
    session.select_address(0x3300123)
    words = shlex.split(command_of(session, str(CAPTURE), OpenOptions(page_size=4096)))
    assert words[1::2] == ["identify", "0x3300123", "4096"]


def test_place_is_restored() -> None:
    """An image opens where it was left; back is the root."""

    async def leave(d: Driver) -> None:
        await d.goto(SIZE)

    async def come(d: Driver) -> None:
        assert d.path() == SIZE
        await d.press("backspace")
        assert d.path() == "/"

    drive(leave)
    drive(come)


def test_a_browser_chooses_no_files() -> None:
    """Served, the images are those of the start, and nothing is written."""

    async def story(d: Driver) -> None:
        d.app.fixed = True
        for key in ("o", "O", "X"):
            await d.press(key)
            assert len(d.app.screen_stack) == 1
        assert any("browser" in note.message for note in d.app._notifications)

    drive(story)


def test_addresses_to_serve_at() -> None:
    """A port alone is this machine's; a host can be named."""
    assert address("8000") == ("127.0.0.1", 8000)
    assert address("0.0.0.0:80") == ("0.0.0.0", 80)
    assert address("[::1]:8000") == ("::1", 8000)
    for text in ("", "host", "host:", "70000", "0", "-1", "1.5"):
        with pytest.raises(argparse.ArgumentTypeError):
            address(text)


def test_serve_needs_an_image(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an image, or without the extra, the command says what is missing."""
    assert main(["tui", "--serve", "8000"]) == 2
    assert "--serve needs" in capsys.readouterr().err


def test_no_key_means_two_things() -> None:
    """The table of keys has no clash."""
    assert clashes(Config().keys) == []
