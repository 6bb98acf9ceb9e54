"""Findings, Pages, Diff, Formats and the states every screen has."""

from __future__ import annotations

import asyncio
import lzma
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from khotool.decode.decoded import Watch
from khotool.findings import Finding
from khotool.limits import Limits, OpenOptions, Progress
from khotool.model.image import Image, Node
from khotool.opening.load import load_image
from khotool.tui import actions, exports
from khotool.tui.app import KhotoolApp
from khotool.tui.changes import ChangeLine, search_changes
from khotool.tui.keys import Config
from khotool.tui.screens.diff import DiffScreen
from khotool.tui.screens.formats import FormatsScreen
from khotool.tui.screens.pages import PagesScreen
from khotool.tui.widgets.line_view import LineView
from khotool.tui.widgets.page_map import PageMapView
from tests.tui.conftest import CAPTURE, OLDER
from tests.tui.driver import NARROW, SIZES, Driver, drive

sizes = pytest.mark.parametrize("size", SIZES, ids=["wide", "narrow"])
DATA = "/LUO/sessions[vm-alpha]/files[0x1]/data"
FOUND = [
    Finding("MEM302", DATA, "target page is not preserved", 0xC66000, {"pages": 1}),
    Finding("ABI904", "/LUO/flbs[liveupdate-test-flb-v0]/data", "no definition [b]\x1b for it"),
]


def kinds(d: Driver) -> list[str]:
    """Kinds of the links that are listed."""
    return [line.split()[1] for line in d.text("#list").splitlines() if line.strip()]


def test_findings() -> None:
    """Findings are below their severity, worst first, with the words of their rule."""

    async def story(d: Driver) -> None:
        assert d.app.session is not None
        d.app.session.set_findings(FOUND)
        await d.press("2")
        text = d.text("#list-findings").splitlines()
        assert [line.split()[:2] for line in text[:4]] == [
            ["1", "error"],
            ["✗", "MEM302"],
            ["1", "warning"],
            ["!", "ABI904"],
        ]
        assert "[b]␛" in d.text()
        assert "target page is not preserved" in d.text("#explain")
        await d.press("up", "home")
        assert "target page is not preserved" in d.text("#explain")
        await d.press("down")
        assert "no definition" in d.text("#explain")
        await d.press("up", "end")
        assert "no definition" in d.text("#explain")
        await d.press("enter")
        assert d.app.current_mode == "explore"
        assert d.path() == FOUND[1].path
        await d.press("e")
        assert d.path() == DATA
        assert "✗" in d.text("#tree")
        await d.press("E")
        assert d.path() == FOUND[1].path
        await d.press("u")
        assert "✗ finding  ABI904" in d.text("#list")
        await d.press("home", *["down"] * kinds(d).index("finding"), "enter")
        assert d.app.current_mode == "findings"
        assert "no definition" in d.text("#explain")
        await d.press("u")
        assert FOUND[1].path in d.text("#list").splitlines()[0]
        await d.press("enter")
        assert d.path() == FOUND[1].path
        await d.press("2", "s", "s")
        assert "from error up" in d.text()
        assert len(d.text("#list-findings").split("ABI904")) == 1
        await d.press("s", "slash")
        await d.fill("flb")
        await d.press("enter")
        assert "1 of 2" in d.text()

    drive(story)


def test_pages() -> None:
    """The map shows owners; cells are moved over, zoomed, filtered, and lead to Explore."""

    async def story(d: Driver) -> None:
        await d.press("3")
        screen = d.app.screen
        assert isinstance(screen, PagesScreen)
        view = screen.query_one(PageMapView)
        assert "█" in d.text("#map")
        assert view.cell > 4096
        start = view.at
        await d.press("right", "down", "left", "up")
        assert view.at == start
        before = view.cell
        await d.press("plus")
        assert view.cell == before // 4
        await d.press("minus")
        assert view.cell == before
        await d.press("right_curly_bracket")
        assert screen.ranges
        assert "order" in d.text("#ranges")
        await d.press("left_curly_bracket", "f")
        assert "only" in d.text()
        for _ in screen.map.groups if screen.map is not None else []:
            await d.press("f")
        assert view.only == -1
        await d.press("end", "home", "0", "pagedown", "pageup")
        assert view.map is not None
        beyond = f"{view.map.end:#014x}  ╌╌ nothing beyond ╌╌"
        assert d.text("#map").splitlines()[view.folds.lines] == beyond
        await d.press("right_curly_bracket")
        first = screen.ranges[0]
        await d.press("enter")
        assert d.app.current_mode == "explore"
        assert d.app.session is not None
        address = d.app.session.cursor.address or 0
        assert first.start <= address < first.end

    drive(story, size=NARROW)


def test_pages_before_the_owners_are_known() -> None:
    """What is preserved is dim at first; owners fill in, and a chosen scale stays."""

    async def story(d: Driver) -> None:
        session = d.app.session
        assert session is not None
        session.owners_known = False
        await d.press("3", "plus")
        view = d.app.screen.query_one(PageMapView)
        cell, at = view.cell, view.at
        assert "finding owners" in d.text("#legend")
        assert "preserved  " in d.text("#legend").splitlines()[0]
        assert "█" in d.text("#map")
        assert view.map is not None
        assert view.map.color(0) == "dim"
        session.set_ownership(session.image.ownership())
        await d.settle()
        assert "finding owners" not in d.text("#legend")
        assert "session vm-alpha" in d.text("#legend")
        assert (view.cell, view.at) == (cell, at)

    drive(story)


def test_diff() -> None:
    """Two images: changes, bytes of both, next and previous, addresses on and off."""

    async def story(d: Driver) -> None:
        await d.press("4")
        lines = d.text("#changes").splitlines()
        assert lines[0].lstrip()[0] in "~+->#"
        assert "addresses ignored" in d.text()
        assert "about the image as a whole" in d.text("#sides")
        await d.press("n")
        assert " A " in d.text("#sides")
        await d.press("n", "N")
        await d.press("a")
        assert "addresses compared" in d.text()
        await d.press("a", "enter")

    drive(story, other=OLDER)


def test_diff_is_searched() -> None:
    """A search finds changes by path and by the values of both sides; escape comes back."""

    async def story(d: Driver) -> None:
        await d.press("4")
        screen = d.app.screen
        assert isinstance(screen, DiffScreen)
        changes = screen.changes
        assert changes is not None
        assert len(changes) > 3
        wanted = changes[3].path
        await d.press("slash")
        await d.fill(wanted)
        found = search_changes(changes, wanted)
        assert 3 in found
        assert f"{len(found)} of {len(changes)}" in d.text()
        await d.press("enter")
        assert screen.query_one("#changes", LineView).cursor == found[0]
        await d.press("slash")
        await d.fill("no such text anywhere")
        assert "0 of" in d.text()
        await d.press("escape")
        assert screen.query_one("#changes", LineView).cursor == found[0]

    drive(story, size=NARROW, other=OLDER)


def test_values_of_both_sides_are_searched() -> None:
    """What only the old or only the new side has is found."""
    lines = [
        ChangeLine("changed", "/a", [("Old", "value")], [("7", "value")]),
        ChangeLine("added", "/b", [], [("new", "value")]),
    ]

    assert search_changes(lines, "old") == [0]
    assert search_changes(lines, "NEW") == [1]
    assert search_changes(lines, "/") == [0, 1]
    assert search_changes(lines, " ") == []


def test_diff_with_nothing_to_compare() -> None:
    """Without a second image the screen says how to get one."""

    async def story(d: Driver) -> None:
        await d.press("4")
        assert "no image to compare with" in d.text()
        await d.press("c")
        await d.fill(str(CAPTURE))
        await d.press("enter")
        assert "the same handover" in d.text()

    drive(story)


def test_formats() -> None:
    """The definition under the cursor is drawn; v compares it with another."""

    async def story(d: Driver) -> None:
        await d.goto(f"{DATA}/size")
        await d.press("5")
        screen = d.app.screen
        assert isinstance(screen, FormatsScreen)
        assert "memfd_luo_ser" in d.text("#layout")
        assert "+0x0008" in d.text("#layout")
        await d.press("v")
        assert "memfd-v1" in d.text()
        await d.press("enter")
        assert "breaking" in d.text("#layout")
        await d.press("v")
        assert "breaking" not in d.text("#layout")
        await d.press("down")
        assert "memfd_luo_ser" not in d.text("#layout")
        await d.press("f")
        await d.fill("memfd_luo_ser")
        assert "memfd-v1" in d.text("#list")
        await d.press("enter")
        assert "memfd_luo_ser" in d.text("#layout")

    drive(story, size=NARROW)


def test_formats_without_an_image() -> None:
    """The definitions can be read with no image open."""

    async def story(d: Driver) -> None:
        await d.press("5")
        assert "kho-v4" in d.text("#formats")

    drive(story, None)


@sizes
def test_no_image(size: tuple[int, int]) -> None:
    """Every mode says that no image is open and what to do; keys do nothing."""

    async def story(d: Driver) -> None:
        for mode in "1234":
            await d.press(mode)
            assert "No image is open" in d.text()
            await d.pilot.press("enter", *"ge", "slash", *"nmfyXrLazsUCW")
            await d.settle()
            assert "No image is open" in d.text()

    drive(story, None, size=size)


def test_unreadable_file(tmp_path: Path) -> None:
    """A file that is no image says what was tried; it can be tried again, or another opened."""
    bad = tmp_path / "bad[red].bin"
    bad.write_bytes(b"\x7fELF" + bytes(100))

    async def story(d: Driver) -> None:
        assert "could not be opened" in d.text()
        assert "bad[red].bin" in d.text()
        assert "✓ raw" in d.text()
        assert "104 B in 1 piece from 0x0 to 0x68" in d.text()
        assert "✗ kdump" in d.text()
        await d.press("r")
        assert "could not be opened" in d.text()
        await d.press("o")
        await d.fill(str(CAPTURE.parent) + "/ima")
        await d.press("enter")
        assert "kho-v4" in d.text()
        await d.press("o")
        assert "bad[red].bin" not in d.text("#list")
        await d.press("escape")

    drive(story, bad)


MANIFEST = """
abi = "7.3"
[[session]]
name = "vm"
file = [{ token = 1, size = 8192 }]
"""


def test_manifests_are_opened_and_definitions_refused(tmp_path: Path) -> None:
    """A manifest is an image in every mode, without file offsets; a definition says what it is."""
    model, definition = tmp_path / "model.toml", tmp_path / "format.toml"
    model.write_text(MANIFEST)
    definition.write_text('id = "a-v1"\ntitle = "A"\n')

    async def story(d: Driver) -> None:
        assert d.app.session is not None
        await d.goto("/LUO/sessions[vm]/files[0x1]")
        assert d.path() == "/LUO/sessions[vm]/files[0x1]"
        for key, words in zip(
            "23567", ("finding", "session vm", "luo", "accept", "vm"), strict=True
        ):
            await d.press(key)
            assert await d.shows(words)
        await d.press("g")
        await d.fill("@0")
        assert await d.shows("has no file offsets")
        await d.press("escape", "o")
        await d.fill(str(definition))
        await d.press("enter")
        said = [note.message for note in d.app._notifications]
        assert any("the definition of a format, not an image" in text for text in said)
        assert "model.toml" in d.text("#title")

    drive(story, model)

    async def refused(d: Driver) -> None:
        assert await d.shows("the definition of a"), d.text()

    drive(refused, definition)


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is an error on the screen, not a crash."""

    async def story(d: Driver) -> None:
        assert "no such file" in d.text()

    drive(story, tmp_path / "none.elf")


def test_damaged_image(tmp_path: Path) -> None:
    """An image with a wrecked pointer is shown as far as it goes, the absent value with why."""
    raw = bytearray(lzma.decompress(CAPTURE.read_bytes()))
    at = raw.find((0xC66000).to_bytes(8, "little"))
    raw[at : at + 8] = (0x123456789000).to_bytes(8, "little")
    bad = tmp_path / "damaged.elf"
    bad.write_bytes(raw)

    async def story(d: Driver) -> None:
        await d.press("e")
        assert d.path().startswith("/LUO/sessions[vm-alpha]")
        await d.goto(f"{DATA}/target")
        assert "not-captured" in d.text("#field")
        assert "✗" in d.text()

    drive(story, bad)


def test_reload_when_the_file_changes(tmp_path: Path) -> None:
    """A banner says that the file changed; r reads it and keeps the place."""
    copy = tmp_path / "copy.elf.xz"
    shutil.copy(CAPTURE, copy)

    async def story(d: Driver) -> None:
        await d.goto(DATA)
        copy.write_bytes(copy.read_bytes() + bytes(0))
        d.app.source = replace(d.app.source, stamp=(0, 0)) if d.app.source else None
        d.app._look_at_file()
        await d.settle()
        assert "has changed on disk" in d.text()
        assert d.app.source is not None
        d.app.open_source(replace(d.app.source))
        d.app._look_at_file()  # on a timer, it may come before the file is open again
        await d.settle()
        assert "has changed on disk" not in d.text()

        d.app.source = replace(d.app.source, stamp=(0, 0))
        d.app._look_at_file()
        await d.press("r")
        assert "has changed on disk" not in d.text()
        assert d.path() == DATA

    drive(story, copy)


def test_limit_reached() -> None:
    """A limit that was hit is a banner; L reads on."""

    async def story(d: Driver) -> None:
        assert "stopped at" in d.text()
        await d.press("L", "L")
        assert "stopped at" not in d.text()

    drive(story, options=OpenOptions(limits=Limits(nodes=40)))


def test_a_bug_in_a_worker_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in a worker is a message with details to copy; the app lives on."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("[bold]oops")

    monkeypatch.setattr("khotool.tui.shell.check_image", broken)

    async def story(d: Driver) -> None:
        assert "oops" in d.text()
        exports.copy_details(d.app)
        assert "ZeroDivisionError" in d.app.clipboard
        await d.press("down")
        assert d.path() == "/compatible"

    drive(story)


def test_the_tree_fills_while_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages and what is decoded so far are shown; escape stops the walk in the middle."""
    held = threading.Event()

    def open_slowly(path: str, options: OpenOptions, progress: Progress, watch: Watch) -> Image:
        def slow(node: Node, nodes: int) -> None:
            watch(node, nodes)
            if node.path == "/LUO/sessions":
                held.set()
                while True:
                    watch(node, nodes)
                    time.sleep(0.002)

        return load_image(path, options, progress, slow)

    monkeypatch.setattr("khotool.tui.work.load_image", open_slowly)
    monkeypatch.setattr("khotool.tui.work.DRAWN", 0)

    async def story() -> None:
        app = KhotoolApp(str(CAPTURE), config=Config())
        async with app.run_test(size=(80, 24)) as pilot:
            while not held.is_set():
                await pilot.pause(0.005)
            await pilot.pause()
            d = Driver(app, pilot)
            text = d.text("#state")
            assert "✓ Looking for the KHO root" in text
            assert "… Decoding" in text
            assert "memblock" in text
            assert "liveupdate_number  1" in text or "LUO" in text
            await pilot.press("escape")
            await d.settle()
            assert "cancelled" in d.text()

    asyncio.run(story())


def test_help_and_palette() -> None:
    """? lists the keys of the screen; the palette holds every action with its id."""

    async def story(d: Driver) -> None:
        await d.press("question_mark")
        assert "Keys of Explore" in d.text()
        assert "follow the pointer" in d.text()
        await d.press("escape", "ctrl+p")
        await d.type("bookmark")
        assert "bookmark" in d.text()
        await d.press("escape")
        commands = {c.help.split()[-1] for c in d.app.get_system_commands(d.app.screen) if c.help}
        assert {"goto.open", "export", "quit"} <= commands
        actions.debug_info(d.app)
        await d.settle()
        assert "textual" in d.text()

    drive(story)


def test_themes() -> None:
    """Every theme draws every mode."""

    async def story(d: Driver) -> None:
        assert d.app.theme == "khotool-light"
        for mode, theme in zip("123456", ("nord", "dracula", "textual-light") * 2, strict=True):
            d.app.theme = theme
            await d.press(mode)
            assert d.text("#title").strip()

    drive(story, config=Config(theme="khotool-light"))


def test_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves brackets, glyphs and words that say the same."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def story(d: Driver) -> None:
        await d.goto("0xc64040")
        assert "[00 60 c6 00 00 00 00 00]" in d.text("#hex")
        assert d.app.no_color

    drive(story)


def test_quit() -> None:
    """q leaves with exit code 0."""

    async def story(d: Driver) -> None:
        await d.pilot.press("q")
        assert d.app.return_code == 0

    drive(story)


def test_hostile_names(tmp_path: Path) -> None:
    """Markup and control characters of an image are shown, not obeyed, in every view."""
    raw = bytearray(lzma.decompress(CAPTURE.read_bytes()))
    name = b"[@click=app.quit]\x1b[31m\xff[/x]"
    for at in (raw.find(b"vm-alpha"), raw.find(b"vm-beta\0")):
        raw[at : at + len(name)] = name
    bad = tmp_path / "hostile.elf"
    bad.write_bytes(raw)

    async def story(d: Driver) -> None:
        await d.goto("/LUO/sessions")
        await d.press("right", "right", "down", "right", "right")
        text = d.text()
        assert "[@click=app.quit]␛[31m\\xff[/x]" in text
        assert "\x1b" not in text
        await d.press("f")
        await d.fill("[/x]")
        await d.press("enter", "m")
        await d.fill("[bold]")
        await d.press("enter", "apostrophe", "escape", "slash")
        await d.fill("[/x]")
        await d.press("enter", "g")
        await d.fill("[/x]")
        await d.press("enter", "2", "3", "4", "5", "1", "y")
        assert "\x1b" not in d.text()

    drive(story, bad)


KERNELS = ("linux-6.18.15", "linux-7.3.4-arm64-16k")
CAPTURES = [
    *(CAPTURE.parents[1] / kernel / "image.elf.xz" for kernel in KERNELS),
    CAPTURE.parent / "debugfs.tar.xz",
]
"""A map of each form, page sizes, and a copy of debugfs; the other tests have the rest."""


@pytest.mark.parametrize("path", CAPTURES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_every_capture_in_every_mode(path: Path) -> None:
    """Captures of both forms of map, of page sizes and containers can be walked through."""

    async def story(d: Driver) -> None:
        assert d.app.session is not None
        await d.pilot.press("down", "down", "down", "right", "right", "enter", "t", "t")
        d.app.screen.query_one("#hex").focus()
        await d.pilot.press("down", "pagedown", "end", "home", "a", "a")
        for mode in "2345":
            await d.press(mode)
            await d.pilot.press("down", "enter")
        await d.press("1")
        assert d.app.session.cursor is not None

    drive(story, path)
