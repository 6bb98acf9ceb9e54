"""Explore: every key, at both sizes, on a real capture."""

from __future__ import annotations

import threading

import pytest

from khotool.model.image import Node
from khotool.tui.find import Stop
from khotool.tui.goto import PathList
from khotool.tui.keys import Config
from khotool.tui.widgets.hex_view import HexView
from khotool.tui.widgets.model_tree import ModelTree
from tests.tui.driver import NARROW, SIZES, WIDE, Driver, drive

DATA = "/LUO/sessions[vm-alpha]/files[0x1]/data"
sizes = pytest.mark.parametrize("size", SIZES, ids=["wide", "narrow"])


@sizes
def test_start(size: tuple[int, int]) -> None:
    """After opening, the tree has the focus, the root is shown, and all else agrees."""

    async def story(d: Driver) -> None:
        assert d.focus() == "tree"
        assert d.path() == "/"
        text = d.text()
        assert "kho-v4" in text
        assert "image.elf.xz" in text
        assert "✓ no finding" in text or "✗" in text or "!" in text
        assert "[Field]" in text
        assert "Follow" in text
        assert len(text.splitlines()) == size[1]

    drive(story, size=size)


@sizes
def test_tree_moves_bytes_and_field(size: tuple[int, int]) -> None:
    """Down in the tree moves the cursor; inspector and bytes follow."""

    async def story(d: Driver) -> None:
        await d.press("down", "down")
        assert d.path() == "/memory_map"
        assert "/memory_map" in d.text("#field")
        assert d.app.session is not None
        assert d.app.session.cursor.address == 0x4DE060
        if size == NARROW:
            await d.press("t")
        assert "[00 d0 4d 00 00 00 00 00]" in d.text("#hex")
        await d.press("k")
        assert d.path() == "/compatible"

    drive(story, size=size)


@sizes
def test_bytes_move_tree_and_field(size: tuple[int, int]) -> None:
    """A byte selects its field, and the tree opens and scrolls to it."""

    async def story(d: Driver) -> None:
        if size == NARROW:
            await d.press("t")
        d.app.screen.query_one("#hex").focus()
        await d.goto("0xc64040")
        tree = d.app.screen.query_one(ModelTree)
        assert d.path() == DATA
        assert tree.cursor_node is not None
        assert tree.cursor_node.data is not None
        assert tree.cursor_node.data.place.path == DATA
        assert "data" in d.text("#tree")
        await d.press("right", "right", "down")
        assert d.path() == "/LUO/sessions[vm-alpha]/files[0x2]/handler"
        await d.press("up", "left", "left")
        assert d.path() == DATA
        await d.press("h")
        assert d.path() == "/LUO/sessions[vm-alpha]/files[0x1]/handler"
        before = d.app.session.cursor.address if d.app.session else 0
        await d.press("pagedown")
        after = d.app.session.cursor.address if d.app.session else 0
        assert (after or 0) > (before or 0)
        await d.press("pageup", "home")
        assert d.app.session is not None
        assert d.app.session.cursor.address == d.app.session.image.space.extents()[0, 0]
        await d.press("end")
        assert d.app.session.cursor.address == d.app.session.image.space.extents()[-1, 1] - 1

    drive(story, size=size)


def test_follow_back_forward() -> None:
    """Enter follows a pointer, backspace returns, alt+right goes again."""

    async def story(d: Driver) -> None:
        await d.goto(DATA)
        await d.press("enter")
        assert d.path() == f"{DATA}/pos"
        await d.press("backspace")
        assert d.path() == DATA
        await d.press("alt+right")
        assert d.path() == f"{DATA}/pos"
        await d.press("alt+left", "backspace")
        assert d.path() == "/"
        await d.press("backspace")
        assert "Nowhere to go back" in d.text()

    drive(story)


def test_tree_opens_and_closes() -> None:
    """Right opens, left closes or goes to the parent; enter opens what is no pointer."""

    async def story(d: Driver) -> None:
        await d.press("down", "down", "down")
        assert d.path() == "/memblock"
        await d.press("right", "right")
        assert d.path() == "/memblock/address"
        await d.press("left")
        assert d.path() == "/memblock"
        assert "regions" in d.text("#tree")
        await d.press("left")
        assert "regions" not in d.text("#tree")
        await d.press("enter")
        assert "regions" in d.text("#tree")
        await d.press("enter")
        assert "regions" not in d.text("#tree")
        await d.press("left")
        assert d.path() == "/"
        await d.press("end")
        assert d.path() == "/kexec-metadata"
        await d.press("home")
        assert d.path() == "/"

    drive(story)


def rows_at(d: Driver, line: int) -> str:
    """The path of the row that a line of the Rows pane shows."""
    shown = d.text("#rows").splitlines()[line].split()[0]
    return f"/LUO/sessions[vm-beta]/files[0x1]/data/folios{shown}"


def test_long_arrays_are_buckets() -> None:
    """More than 200 rows stand in index ranges; the cursor opens the right one."""

    async def story(d: Driver) -> None:
        await d.goto("vm-beta/files[0x1]/data/folios[250]")
        assert d.path() == "/LUO/sessions[vm-beta]/files[0x1]/data/folios[250]"
        text = d.text("#tree")
        assert "[250]" in text
        assert "[219]" in text
        assert "[0 … " in text or "[199]" not in text
        await d.press("t")
        assert await d.shows("[250]", "#rows")
        rows = d.text("#rows").splitlines()
        assert rows[0].split() == ["pfn", "flags", "index"]
        await d.pilot.click("#rows", offset=(20, 3))
        await d.settle()
        assert d.path() == rows_at(d, 2)
        await d.goto("vm-beta/files[0x1]/data/folios[250]")
        d.app.screen.query_one("#rows").focus()
        await d.press("down")
        assert d.path().endswith("folios[251]")
        await d.press("enter")
        assert d.app.session is not None
        assert d.app.session.cursor.place is None
        await d.press("backspace")
        assert d.path().endswith("folios[251]/pfn")

    drive(story)


def test_goto_previews_and_can_be_left() -> None:
    """The views follow while the user types; escape puts everything back."""

    async def story(d: Driver) -> None:
        await d.press("g")
        await d.type("vm-beta")
        assert d.path() == "/LUO/sessions[vm-beta]"
        await d.press("down")
        assert d.path() != "/LUO/sessions[vm-beta]"
        await d.press("up")
        assert d.path() == "/LUO/sessions[vm-beta]"
        await d.press("escape")
        assert d.path() == "/"
        await d.press("g")
        await d.type("zzz9")
        assert "nothing of that name" in d.text()
        await d.press("enter", "escape")
        assert d.path() == "/"

    drive(story, size=NARROW)


def test_goto_searches_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are not held up by a scan of many paths."""
    threads = []
    search = PathList.search

    def watched(paths: PathList, text: str, limit: int, stop: Stop) -> list[Node]:
        threads.append(threading.current_thread())
        return search(paths, text, limit, stop)

    monkeypatch.setattr(PathList, "search", watched)

    async def story(d: Driver) -> None:
        await d.goto("vm-beta")
        assert d.path() == "/LUO/sessions[vm-beta]"

    drive(story)
    assert threads
    assert threading.main_thread() not in threads


def test_find_names_and_bytes() -> None:
    """Hits are listed; enter goes, n and N go on, for names as for bytes."""

    async def story(d: Driver) -> None:
        await d.press("n")
        assert "No search yet" in d.text()
        await d.press("slash")
        await d.type("token")
        await d.press("down", "enter")
        assert d.path() == "/LUO/sessions[vm-alpha]/files[0x2]/token"
        await d.press("n")
        assert d.path() == "/LUO/sessions[vm-alpha]/files[0x3]/token"
        await d.press("N", "N")
        assert d.path() == "/LUO/sessions[vm-alpha]/files[0x1]/token"
        await d.press("slash")
        await d.fill('"vm-beta"')
        await d.press("enter")
        assert d.path() == "/LUO/sessions[vm-beta]/name"
        assert d.app.session is not None
        assert d.app.session.cursor.span is not None
        assert d.app.session.cursor.span.size == 7
        await d.press("slash")
        await d.fill("u8:999")
        assert "does not fit 8 bits" in d.text()
        await d.press("escape")

    drive(story)


def test_filter() -> None:
    """f shows matching subtrees only; escape shows all again."""

    async def story(d: Driver) -> None:
        await d.press("f")
        await d.type("vm-beta")
        await d.press("enter")
        text = d.text("#tree")
        assert "memblock" not in text
        assert d.app.session is not None
        assert d.app.session.shown is not None
        assert "filter: vm-beta" in d.text()
        await d.press("escape")
        assert "memblock" in d.text("#tree")

    drive(story)


def test_bookmarks() -> None:
    """m keeps a place with a note, ' lists it, m again drops it."""

    async def story(d: Driver) -> None:
        await d.goto(DATA)
        await d.press("m")
        await d.type("here")
        await d.press("enter")
        assert "★ data" in d.text("#tree")
        await d.goto("/LUO")
        await d.press("apostrophe")
        assert "here" in d.text()
        await d.press("enter")
        assert d.path() == DATA
        await d.press("m")
        assert d.app.session is not None
        assert d.app.session.marks == []
        assert "★" not in d.text("#tree")
        await d.press("apostrophe")
        assert "no bookmarks yet" in d.text()
        await d.press("escape")

    drive(story)


def test_views_can_be_changed() -> None:
    """x, a, w, i, z change radix, addresses, width, inspector and zoom."""

    async def story(d: Driver) -> None:
        await d.goto("/kexec-metadata/version")
        assert "0x00000001" in d.text("#field")
        await d.press("x", "x")
        assert "00000000 00000000 00000000 00000001" in d.text("#field")
        await d.press("a")
        assert "4e4:000" in d.text("#hex")
        await d.press("a")
        assert " +0 " in d.text("#hex")
        await d.press("a", "w")
        view = d.app.screen.query_one(HexView)
        assert view.lines is not None
        assert view.lines.width == 8
        await d.press("w", "w", "w")
        assert view.lines.width == 16
        await d.press("i")
        assert not d.app.screen.query_one("#field").display
        await d.press("i")
        assert d.app.screen.query_one("#field").display

    drive(story)


@sizes
def test_tabs_and_panes(size: tuple[int, int]) -> None:
    """t goes round the tabs of the lower pane; tab and ; go to panes."""

    async def story(d: Driver) -> None:
        names = ["field", "hex", "rows", "found"] if size == NARROW else ["field", "rows", "found"]
        seen = []
        for _ in range(len(names) + 1):
            shown = [n for n in names if d.app.screen.query_one(f"#{n}").display]
            seen.append(shown[0])
            assert len(shown) == 1
            await d.press("t")
        assert seen == [*names, names[0]]
        await d.press("tab")
        assert d.focus() != "tree"
        await d.press("shift+tab")
        assert d.focus() == "tree"
        await d.press("semicolon")
        assert "Model" in d.text()
        await d.press("s")
        assert d.focus() in ("hex", *names)

    drive(story, size=size)


def test_regions() -> None:
    """} and { step through decoded stretches of memory."""

    async def story(d: Driver) -> None:
        assert d.app.session is not None
        await d.goto("0x4de000")
        await d.press("right_curly_bracket")
        first = d.app.session.cursor.address
        await d.press("right_curly_bracket")
        assert (d.app.session.cursor.address or 0) > (first or 0)
        await d.press("left_curly_bracket")
        assert d.app.session.cursor.address == first

    drive(story)


def test_copy_and_export(tmp_path_factory: pytest.TempPathFactory) -> None:
    """y and Y copy by OSC 52; X writes JSON, DTS or bytes."""
    file = tmp_path_factory.mktemp("export") / "node.json"

    async def story(d: Driver) -> None:
        await d.goto("/kexec-metadata/previous_release")
        await d.press("y")
        assert d.app.clipboard == "7.3.4"
        await d.press("Y")
        assert d.app.clipboard == "/kexec-metadata/previous_release"
        await d.press("X", "j")
        await d.fill(str(file))
        await d.press("enter")

    drive(story)
    assert file.read_text().strip() == '"7.3.4"'


def test_mouse() -> None:
    """A click selects a byte; a drag selects several; the wheel scrolls; two clicks follow."""

    async def story(d: Driver) -> None:
        assert d.app.session is not None
        await d.goto(DATA)
        text = d.text("#hex").splitlines()
        row = next(y for y, line in enumerate(text) if "[00 60 c6" in line)
        column = text[row].index("[00 60 c6") + 1
        await d.pilot.click("#hex", offset=(column + 1 + 3 * 8 + 2, row + 1))
        await d.settle()
        assert d.path() == "/LUO/sessions[vm-alpha]/files[0x1]/token"
        await d.pilot.mouse_down("#hex", offset=(column + 1, row + 1))
        await d.pilot.hover("#hex", offset=(column + 1 + 9, row + 1))
        await d.pilot.mouse_up("#hex", offset=(column + 1 + 9, row + 1))
        await d.settle()
        assert d.app.session.cursor.span is not None
        assert d.app.session.cursor.span.size == 4
        view = d.app.screen.query_one(HexView)
        top = view.top
        view.scroll_lines(3)
        view.scroll_lines(-3)
        assert view.top == top
        await d.pilot.click("#hex", offset=(column + 1, row + 1), times=2)
        await d.settle()
        assert d.path() == f"{DATA}/pos"

    drive(story)


def test_holes_say_so() -> None:
    """The cursor can stand in a hole; the inspector says that it is one."""

    async def story(d: Driver) -> None:
        d.app.screen.query_one("#hex").focus()
        await d.press("end")
        assert "nothing more is captured" in d.text("#hex")
        await d.goto("0xc50000")
        assert "hole: not captured" in d.text("#field")
        assert "not captured" in d.text("#hex")
        await d.press("enter")
        assert "Nothing to follow" in d.text()

    drive(story)


def test_remapped_keys() -> None:
    """A key from the config file does what its id says; a problem is reported at start."""
    config = Config(keys={"goto.open": "f5", "nav.down": "f6"}, problems=["config.toml: a clash"])

    async def story(d: Driver) -> None:
        assert "a clash" in d.text()
        await d.press("g")
        assert len(d.app.screen_stack) == 1
        await d.press("f5")
        assert len(d.app.screen_stack) == 2
        await d.press("escape")

    drive(story, config=config)


def test_wide_to_narrow_and_too_small() -> None:
    """The layout follows the terminal; one that is too small gets a sentence, not a crash."""

    async def story(d: Driver) -> None:
        await d.goto(DATA)
        await d.resize(*NARROW)
        assert "[Field]  Bytes  Rows  Findings" in d.text()
        assert d.path() == DATA
        await d.resize(40, 10)
        assert "too small" in d.text()
        await d.resize(*WIDE)
        assert "Bytes  0xc64040" in d.text()
        assert "[00 60 c6 00 00 00 00 00]" in d.text("#hex")

    drive(story)
