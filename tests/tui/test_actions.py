"""Goto, find, filter, zoom, copies and exports as a user meets them."""

from __future__ import annotations

import lzma
import shlex
import threading
import time
from pathlib import Path

import pytest
from textual.widgets import Input

from khotool.cli.main import main
from khotool.tui.app import KhotoolApp
from khotool.tui.find import filter_nodes
from khotool.tui.goto import spread
from khotool.tui.session import Session
from khotool.tui.widgets.model_tree import ModelTree
from tests.tui.conftest import CAPTURE
from tests.tui.driver import NARROW, WIDE, Driver, drive

LARGE = (160, 45)
PANES = [
    ("1", "tree"),
    ("1", "hex"),
    ("1", "field"),
    ("1", "rows"),
    ("1", "found"),
    ("2", "list-findings"),
    ("3", "map"),
    ("3", "legend"),
    ("3", "ranges"),
    ("4", "changes"),
    ("5", "formats"),
    ("5", "layout"),
]


def test_zoom_fills_the_screen() -> None:
    """Any pane takes all of the room between title and footer, and gives it back."""

    async def story(d: Driver) -> None:
        await d.goto("/LUO/sessions[vm-beta]/files[0x1]/data/folios[250]")
        for mode, name in PANES:
            await d.press(mode)
            pane = d.app.screen.query_one(f"#{name}")
            if not pane.display:
                await d.press("t")
            before = pane.outer_size
            pane.focus()
            await d.press("z")
            assert tuple(pane.outer_size) == (LARGE[0], LARGE[1] - 2), (mode, name)
            assert "Help" in d.text()
            await d.press("z")
            assert pane.outer_size == before

    drive(story, size=LARGE)


def test_zoom_goes_with_the_tab() -> None:
    """t in a zoomed pane zooms the next tab; escape shows all panes again."""

    async def story(d: Driver) -> None:
        await d.goto("/LUO/sessions[vm-beta]/files[0x1]/data/folios[250]")
        await d.press("t")
        d.app.screen.query_one("#rows").focus()
        await d.press("z", "t")
        found = d.app.screen.query_one("#found")
        assert tuple(found.outer_size) == (WIDE[0], WIDE[1] - 2)
        assert "no finding at this place" in d.text()
        await d.press("escape")
        assert d.app.screen.query_one("#tree").display
        assert d.app.screen.query_one("#hex").display

    drive(story)


def test_goto_takes_the_path_that_was_typed() -> None:
    """A path that is there comes before a row of something that looks like it."""

    async def story(d: Driver) -> None:
        await d.goto("vm-beta/files[0x1]")
        assert d.path() == "/LUO/sessions[vm-beta]/files[0x1]"
        await d.goto("sessions[vm-alpha]/files[0x2]")
        assert d.path() == "/LUO/sessions[vm-alpha]/files[0x2]"

    drive(story)


def test_goto_an_offset_of_the_file() -> None:
    """``@`` counts in the unpacked file; what is not memory there, and what is beyond, says so."""
    data = lzma.decompress(CAPTURE.read_bytes())

    async def story(d: Driver) -> None:
        await d.goto("/LUO/sessions[vm-alpha]/name")
        session = d.app.session
        assert session is not None
        assert session.cursor.address is not None
        stored = bytes(session.image.space.read(session.cursor.address, 600))
        address, path = session.cursor.address, d.path()
        await d.goto("/")
        await d.goto(f"@{data.index(stored):#x}")
        assert (session.cursor.address, d.path()) == (address, path)
        await d.press("g")
        for text, words in (("@16", "a header, a note or padding"), ("@1t", "beyond the end")):
            await d.fill(text)
            assert await d.shows(words)
        await d.press("escape")
        assert d.path() == path

    drive(story)


def test_matching_is_linear_in_the_query() -> None:
    """A text that almost matches in many ways is as quick as any; the closest run counts."""
    begin = time.process_time()
    assert spread("a" * 20_000 + "/b", "a" * 40 + "c") is None
    assert time.process_time() - begin < 1.0
    assert spread("/abxxabc", "abc") == (3, 8)
    assert spread("/axbxc", "abc") == (5, 6)
    assert spread("/ab", "abc") is None


def test_enter_straight_after_a_query_waits_for_its_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Enter that comes before the first hit is kept until there is one."""
    from khotool.tui import find

    real = find.search
    go = threading.Event()

    def slow(*args: object) -> object:
        go.wait(5)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("khotool.tui.actions.search", slow)

    async def story(d: Driver) -> None:
        await d.press("slash")
        d.app.screen.query_one("#input", Input).value = "token"
        await d.pilot.pause()
        await d.pilot.press("enter")
        await d.pilot.pause()
        assert len(d.app.screen_stack) == 2
        go.set()
        await d.settle()
        assert d.path() == "/LUO/sessions[vm-alpha]/files[0x1]/token"
        assert len(d.app.screen_stack) == 1

    drive(story)


def test_quit_in_a_dialog(monkeypatch: pytest.MonkeyPatch) -> None:
    """ctrl+q leaves the program from every dialog."""
    left: list[str] = []

    async def quit_app(app: KhotoolApp) -> None:
        left.append(type(app.screen).__name__)

    monkeypatch.setattr(KhotoolApp, "action_quit", quit_app)

    async def story(d: Driver) -> None:
        dialogs = ("g", "slash", "f", "X", "o", "question_mark", "apostrophe")
        for number, key in enumerate(dialogs, 1):
            await d.press(key)
            assert len(d.app.screen_stack) == 2
            await d.press("ctrl+q")
            assert len(left) == number, key
            await d.press("escape")

    drive(story)


def test_filter_can_be_opened_and_left() -> None:
    """What is below a match is there; escape brings back cursor and open lines."""

    async def story(d: Driver) -> None:
        tree = d.app.screen.query_one(ModelTree)
        await d.goto("/memblock/address")
        before = d.text("#tree")
        await d.press("f")
        await d.fill("vm-beta")
        await d.press("enter")
        assert d.path() == "/LUO/sessions[vm-beta]"
        assert "1 match" in d.text()
        await d.press("escape")
        assert d.path() == "/memblock/address"
        assert d.text("#tree") == before
        await d.press("f")
        await d.fill("vm-beta")
        await d.press("enter", "right", "right")
        assert tree.cursor_node is not None
        assert d.path().startswith("/LUO/sessions[vm-beta]/")
        await d.press("backspace", "backspace")

    drive(story)


def test_filter_without_a_match_says_so() -> None:
    """Nothing matches: a sentence, and the whole tree."""

    async def story(d: Driver) -> None:
        await d.press("f")
        await d.fill("zzz9")
        await d.press("enter")
        assert "Nothing matches 'zzz9'" in d.text()
        assert "memblock" in d.text("#tree")
        assert d.path() == "/"

    drive(story)


def test_filter_keeps_what_the_user_chose(session: Session) -> None:
    """A cursor that was moved in the filtered tree stays when the filter goes."""
    session.goto_path("/memblock/address")
    assert session.set_filter("vm-beta", filter_nodes(session.image, "vm-beta"))
    session.goto_path("/LUO/sessions[vm-beta]/files[0x1]")
    session.clear_filter()
    assert session.cursor.place is not None
    assert session.cursor.place.path == "/LUO/sessions[vm-beta]/files[0x1]"


def test_export_asks_before_it_overwrites(tmp_path: Path) -> None:
    """An existing file stays until y; n asks for a different name."""
    file, other = tmp_path / "node.json", tmp_path / "other.json"
    file.write_text("precious")

    async def story(d: Driver) -> None:
        await d.goto("/kexec-metadata/previous_release")
        await d.press("X", "j")
        await d.fill(str(file))
        await d.press("enter")
        assert "exists" in d.text()
        await d.press("escape")
        assert file.read_text() == "precious"
        await d.press("X", "j")
        await d.fill(str(file))
        await d.press("enter", "n")
        await d.fill(str(other))
        await d.press("enter")
        assert file.read_text() == "precious"
        assert other.read_text().strip() == '"7.3.4"'
        await d.press("X", "j")
        await d.fill(str(file))
        await d.press("enter", "y")

    drive(story)
    assert file.read_text().strip() == '"7.3.4"'


def test_long_exports_can_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export runs in a thread with progress; escape stops it and leaves no file."""
    from khotool.document import dump as document

    file = tmp_path / "all.json"
    begun = threading.Event()

    def slow(node: object, index: int) -> dict[str, object]:
        begun.set()
        time.sleep(0.002)
        return {"index": index}

    monkeypatch.setattr(document, "row_json", slow)

    async def story(d: Driver) -> None:
        await d.goto("/LUO")
        await d.press("X", "j")
        d.app.screen.query_one("#input", Input).value = str(file)
        await d.pilot.press("enter")
        while not begun.is_set():
            await d.pilot.pause()
        await d.pilot.pause(0.1)
        assert "exporting" in d.app.busy_text
        await d.pilot.press("down")
        await d.pilot.pause()
        assert d.path() != "/LUO"
        await d.pilot.press("escape")
        await d.settle()
        assert not d.app.jobs

    drive(story)
    assert [path.name for path in tmp_path.iterdir() if path.name != "state"] == []


def test_json_too_long_for_a_clipboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy has a limit and says what to do instead."""
    monkeypatch.setattr("khotool.tui.copies.MAX_TEXT", 100)

    async def story(d: Driver) -> None:
        await d.goto("/LUO")
        await d.app.screen.run_action("copy('json')")
        await d.settle()
        assert "X writes it to a file" in " ".join(d.text().split())
        assert d.app.clipboard == ""

    drive(story)


def test_a_failed_opening_keeps_the_image(tmp_path: Path) -> None:
    """The title keeps the name of what is shown, and r reads that again."""
    broken = tmp_path / "broken.elf"
    broken.write_bytes(b"nothing of the kind" * 100)

    async def story(d: Driver) -> None:
        shown = d.app.session
        await d.press("o")
        await d.fill(str(broken))
        await d.press("enter")
        assert d.app.session is shown
        assert "image.elf.xz" in d.text().splitlines()[0]
        assert "broken.elf" not in d.text().splitlines()[0]
        assert "✓ no finding" in d.text().splitlines()[0]
        await d.press("r")
        assert d.app.session is not shown
        assert d.app.source is not None
        assert d.app.source.path == str(CAPTURE)

    drive(story)


def test_goto_preview_leaves_the_tree_as_it_was() -> None:
    """Lines that previews opened are closed again."""

    async def story(d: Driver) -> None:
        before = d.text("#tree")
        await d.press("g")
        await d.fill("vm-beta/files[0x1]/data/pos")
        assert d.path().endswith("data/pos")
        await d.fill("kho_test/")
        await d.press("escape")
        assert d.path() == "/"
        assert d.text("#tree") == before

    drive(story)


def test_keys_act_on_what_is_seen() -> None:
    """y in a list copies its line; escape leaves a narrowed list; keys of Explore stay there."""

    async def story(d: Driver) -> None:
        await d.press("5", "y")
        assert d.app.clipboard == "kho-v4"
        await d.press("3", "y")
        assert d.app.clipboard.startswith("0x")
        await d.press("X")
        assert len(d.app.screen_stack) == 1
        await d.press("2")
        screen = d.app.screen
        await d.press("slash")
        await d.fill("nothing of this name")
        await d.press("enter")
        assert screen.text == "nothing of this name"  # type: ignore[attr-defined]
        await d.press("escape")
        assert screen.text == ""  # type: ignore[attr-defined]

    drive(story)


def test_rows_are_as_wide_as_fits() -> None:
    """32 bytes a row are shown only where their characters fit, too."""

    async def story(d: Driver) -> None:
        from khotool.tui.widgets.hex_view import HexView

        await d.goto("/LUO/sessions[vm-beta]")
        view = d.app.screen.query_one(HexView)
        assert view.lines is not None
        await d.press("w", "w", "w")
        assert view.lines.width == 16
        assert "32 do not fit" in d.text()
        await d.resize(200, 60)
        assert view.lines.width == 32
        assert "vm-beta." in d.text("#hex")

    drive(story)


def test_resize_keeps_scale_and_cursor() -> None:
    """The map keeps the scale the user chose, and the tree shows its cursor."""

    async def story(d: Driver) -> None:
        from khotool.tui.widgets.page_map import PageMapView

        await d.goto("/LUO/sessions[vm-beta]/files[0x1]/data/folios[250]")
        await d.resize(*NARROW)
        assert "[250]" in d.text("#tree")
        await d.press("3", "plus")
        view = d.app.screen.query_one(PageMapView)
        cell = view.cell
        await d.resize(*LARGE)
        assert view.cell == cell

    drive(story)


def test_names_of_fields_fit_into_80_columns() -> None:
    """A narrow layout gives the room of the bars to the names."""

    async def story(d: Driver) -> None:
        await d.goto("/LUO/sessions[vm-beta]/files[0x1]/data")
        await d.press("5")
        assert "nr_folios" in d.text("#layout")

    drive(story, size=NARROW)


def test_tabs_take_clicks() -> None:
    """A click on the name of a tab shows it."""

    async def story(d: Driver) -> None:
        pane = d.app.screen.query_one("#field")
        title = d.text().splitlines()[pane.region.y]
        await d.pilot.click(offset=(title.index("Rows", pane.region.x) + 1, pane.region.y))
        await d.settle()
        assert "[Rows]" in d.text()
        pane = d.app.screen.query_one("#rows")
        title = d.text().splitlines()[pane.region.y]
        await d.pilot.click(offset=(title.index("Field", pane.region.x), pane.region.y))
        await d.settle()
        assert "[Field]" in d.text()

    drive(story)


def test_garbage_waits_until_the_user_rests() -> None:
    """A loaded image is set apart, full collections wait, and the process gets its own way back."""
    import gc

    from khotool.tui import garbage

    before = gc.get_threshold()

    async def story(d: Driver) -> None:
        assert gc.get_threshold()[2] == garbage.NEVER
        assert gc.get_freeze_count() > 10_000
        await d.press("down")
        garbage.note_key()
        full: list[int] = []
        gc.callbacks.append(lambda phase, info: full.append(info["generation"]))
        assert not garbage.when_idle()
        assert 2 not in full
        # The app's own timer may be first.
        await d.pilot.pause(garbage.IDLE)
        garbage.when_idle()
        assert 2 in full
        assert not garbage.when_idle()
        # Those who never rest are not left with all of it at the end.
        for _ in range(garbage.MANY):
            garbage.note_key()
        assert garbage.when_idle()
        gc.callbacks.pop()

    drive(story)
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_names_of_two_images_differ() -> None:
    """Two files of one name are shown with their folders."""
    from khotool.tui.text import told_apart

    assert told_apart(Path("/a/x/i.elf"), Path("/a/y/i.elf")) == ("x/i.elf", "y/i.elf")
    assert told_apart(Path("a.elf"), Path("b.elf")) == ("a.elf", "b.elf")
    assert told_apart(Path("/i.elf"), Path("/i.elf")) == ("i.elf", "i.elf")


def test_owners_have_letters_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR a cell of the map is the letter of its owner in the legend."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def story(d: Driver) -> None:
        await d.press("3")
        assert " A  session vm-alpha" in d.text("#legend")
        assert "AAAA" in d.text("#map")
        assert "█" not in d.text("#map")

    drive(story)


@pytest.mark.parametrize("form", ["j", "b"])
def test_findings_are_written_as_check_does(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is that of the command which is shown; what is typed can be completed."""
    file, made = tmp_path / "out" / "found.json", tmp_path / "made.json"
    file.parent.mkdir()
    monkeypatch.chdir(tmp_path)

    async def story(d: Driver) -> str:
        await d.press("2", "X", form)
        assert "khotool check" in d.text("#note")
        await d.fill("o")
        assert "out/" in d.text("#list")
        await d.press("down", "enter")
        assert d.app.screen.query_one("#input", Input).value == "out/"
        await d.fill(str(file))
        await d.press("enter")
        assert file.is_file()
        # A note goes after a few seconds.
        said = next(n.message for n in d.app._notifications if "written" in n.message)
        await d.press("c")
        assert d.app.clipboard == f"khotool check {CAPTURE}"
        await d.press("X", form)
        await d.fill(str(CAPTURE))
        await d.press("enter")
        assert "the image that was read" in d.text("#note")
        await d.press("escape")
        return said

    words = shlex.split(drive(story).splitlines()[1])
    assert words.pop() == "FILE"
    assert main([*words[1:], str(made)]) in (0, 1)
    assert file.read_bytes() == made.read_bytes()


def test_work_that_never_began_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that is left before its thread runs is not work in hand any more."""

    async def story(d: Driver) -> None:
        def never(*_: object, **__: object) -> None:
            """A pool that is busy for ever."""

        await d.press("g")
        monkeypatch.setattr(d.app, "run_worker", never)
        d.app.screen.query_one("#input", Input).value = "vm"
        await d.pilot.pause()
        assert "goto" in d.app.jobs
        await d.press("escape")
        assert not d.app.jobs

    drive(story)
