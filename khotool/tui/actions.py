"""What the user can ask for in every mode: dialogs, copies, exports, the palette."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import App, SystemCommand
from textual.screen import Screen
from textual.worker import Worker

from khotool.discovery.options import OpenOptions
from khotool.errors import KhotoolError, UsageError
from khotool.findings import Severity
from khotool.limits import Limits
from khotool.memory.atomic import replacing
from khotool.tui import work
from khotool.tui.copies import EXPORTS, copy_text, export_bytes
from khotool.tui.describe import page_line, value_line
from khotool.tui.find import Hit, filter_nodes, parse_query, search
from khotool.tui.goto import Candidate
from khotool.tui.help import help_lines
from khotool.tui.keys import KEYS, Config
from khotool.tui.memory_view import address_text
from khotool.tui.screens.dialogs import Lookup, Picker, Prompt, Reader
from khotool.tui.screens.open import OpenDialog
from khotool.tui.session import Session
from khotool.tui.text import Line, visible
from khotool.tui.work import Source

if TYPE_CHECKING:
    from khotool.tui.screens.mode import ModeScreen

GOTO_HINT = "0x… address   #pfn   +n -n   addr+len   /path   rule"
FIND_HINT = 'name, value, flag   48 ?? 05   "text"   u64:0x2a'
JUMP_KEYS = "asdfghjkl"
COPIES = (
    ("value", "Copy the value"),
    ("path", "Copy the path"),
    ("address", "Copy the address"),
    ("hex", "Copy the bytes as hex"),
    ("c", "Copy the bytes as a C array"),
    ("json", "Copy as JSON"),
    ("markdown", "Copy as Markdown"),
)


class Actions(App[int]):
    """The part of the app that talks to the user."""

    session: Session | None
    other: Session | None
    source: Source | None
    other_source: Source | None
    config: Config
    details: str
    error: str

    # -- provided by the app ---------------------------------------------------------------

    def say(self, text: str, severity: Severity = Severity.NOTE) -> None:
        """A note in the corner."""
        raise NotImplementedError

    def show_mode(self, name: str) -> None:
        """Another mode."""
        raise NotImplementedError

    def open_source(self, source: Source) -> None:
        """Open an image."""
        raise NotImplementedError

    def open_other(self, source: Source) -> None:
        """Open the image to compare with."""
        raise NotImplementedError

    def run_job(
        self, group: str, text: str, job: Callable[[Callable[[], bool]], None]
    ) -> Worker[None]:
        """Run a job in a thread."""
        raise NotImplementedError

    # -- goto and find ---------------------------------------------------------------------

    def open_goto(self) -> None:
        """Go somewhere; the views follow while the user types."""
        session = self.session
        if session is None:
            return
        origin = session.cursor
        found: list[Candidate] = []

        def look(dialog: Lookup, text: str) -> None:
            found[:] = session.candidates(text)
            dialog.show(
                [_candidate_line(item) for item in found],
                "" if found or not text.strip() else "nothing of that name or address",
            )
            if not found:
                session.peek(origin)

        def preview(index: int) -> None:
            session.peek(session.cursor_of(found[index]))

        def done(index: int | None) -> None:
            if index is None or index >= len(found):
                session.peek(origin)
                return
            session.peek(session.cursor_of(found[index]))
            session.commit(origin)
            self.show_mode("explore")

        self.push_screen(Lookup("Go to", look, preview=preview, hint=GOTO_HINT), done)

    def open_find(self) -> None:
        """Find names, values and bytes; hits come while the search runs."""
        session = self.session
        if session is None:
            return
        hits: list[Hit] = []

        def look(dialog: Lookup, text: str) -> None:
            self.workers.cancel_group(self, "find")
            hits.clear()
            if not text.strip():
                dialog.show([])
                return
            try:
                query = parse_query(text, session.image.geometry.byteorder)
            except UsageError as error:
                dialog.show([], str(error))
                return

            def job(stop: Callable[[], bool]) -> None:
                found: list[Hit] = []
                for hit in search(session.image, query, stop):
                    found.append(hit)
                    if len(found) in (20, 200, 2000):
                        self.call_from_thread(show, list(found), "searching …")
                if not stop():
                    self.call_from_thread(
                        show, found, f"{len(found)} found" if found else "nothing found"
                    )

            def show(found: list[Hit], note: str) -> None:
                hits[:] = found
                session.set_hits(text, query, found)
                if dialog.is_attached:
                    dialog.show([_hit_line(hit, session) for hit in found[:500]], note)

            dialog.show([], "searching …")
            self.run_job("find", "searching", job)

        def done(index: int | None) -> None:
            if index is None or index >= len(hits):
                return
            session.hit = index - 1
            session.next_hit(1)
            self.show_mode("explore")

        hint = FIND_HINT
        self.push_screen(Lookup("Find", look, value=session.query_text, hint=hint), done)

    def open_filter(self) -> None:
        """Show only matching parts of the tree."""
        session = self.session
        if session is None:
            return

        def done(text: str | None) -> None:
            if text is None:
                return
            if not text.strip():
                session.set_filter("", None)
                return

            def job(stop: Callable[[], bool]) -> None:
                shown = filter_nodes(session.image, text.strip(), stop)
                if not stop():
                    self.call_from_thread(session.set_filter, text.strip(), shown)

            self.run_job("filter", "filtering", job)

        note = "name, key, value or flag; empty shows all"
        self.push_screen(Prompt("Filter the tree", session.filter_text, note), done)

    # -- bookmarks -------------------------------------------------------------------------

    def toggle_mark(self) -> None:
        """Drop the bookmark of the cursor, or make one with a note."""
        session = self.session
        if session is None:
            return
        if session.is_marked():
            session.toggle_mark()
            self.say("Bookmark removed")
            return

        def done(note: str | None) -> None:
            if note is not None:
                session.toggle_mark(note.strip())
                self.say("Bookmark kept; ' lists them")

        self.push_screen(Prompt("Bookmark", "", "a note, or nothing"), done)

    def open_marks(self) -> None:
        """List of bookmarks."""
        session = self.session
        if session is None:
            return
        lines: list[Line] = []
        for mark in session.marks:
            where = mark.path or address_text(mark.address or 0)
            lines.append([(f" {visible(where)}", "name"), (f"  {visible(mark.note)}", "dim")])

        def done(index: int | None) -> None:
            if index is not None and not session.goto_mark(session.marks[index]):
                self.say("This place is not in the image any more", Severity.WARNING)

        empty = "no bookmark yet; m keeps a place"
        self.push_screen(Picker("Bookmarks", lines, empty=empty), done)

    # -- copies and files ------------------------------------------------------------------

    def copy(self, what: str) -> None:
        """Copy to the terminal's clipboard by OSC 52."""
        if self.session is None:
            if self.details:
                self.copy_details()
            return
        try:
            text = copy_text(self.session, what)
        except KhotoolError as error:
            self.say(str(error), Severity.WARNING)
            return
        self.copy_to_clipboard(text.encode("utf-8", "backslashreplace").decode("utf-8"))
        self.say(f"Copied {text.splitlines()[0][:60] if text else 'nothing'}")

    def copy_details(self) -> None:
        """Copy the details of the last error."""
        self.copy_to_clipboard(self.details)
        self.say("Copied the details of the error")

    def open_export(self) -> None:
        """Write the current node to a file."""
        session = self.session
        if session is None:
            return
        lines: list[Line] = [
            [(" j  JSON", "name"), ("  values of the node and all below", "dim")],
            [(" d  DTS", "name"), ("   device tree source", "dim")],
            [(" r  raw", "name"), ("   the bytes", "dim")],
        ]

        def picked(index: int | None) -> None:
            if index is not None:
                form = EXPORTS[index]
                name = _file_name(session, form)
                self.push_screen(
                    Prompt(f"Export as {form}", name, "file to write"), partial(write, form)
                )

        def write(form: str, name: str | None) -> None:
            if not name:
                return
            try:
                data = export_bytes(session, form)
                with replacing(Path(name).expanduser()) as file:
                    file.write(data)
            except KhotoolError as error:
                self.say(str(error), Severity.ERROR)
            else:
                self.say(f"{len(data)} bytes written to {name}")

        self.push_screen(Picker("Export", lines, marks="jdr"), picked)

    # -- images ----------------------------------------------------------------------------

    def open_files(self) -> None:
        """Open another image, or one to compare with."""
        now = self.source.path if self.source is not None else ""
        dialog = OpenDialog(now)

        def done(index: int | None) -> None:
            if index is not None:
                self.open_source(Source(dialog.chosen, OpenOptions(limits=self.limits)))

        self.push_screen(dialog, done)

    def open_compare(self) -> None:
        """Open an image to compare with."""

        dialog = OpenDialog("", "Compare with")

        def done(index: int | None) -> None:
            if index is not None:
                self.open_other(Source(dialog.chosen))

        self.push_screen(dialog, done)

    def reload(self) -> None:
        """Read the image again."""
        if self.source is not None:
            self.open_source(self.source)

    def raise_limit(self) -> None:
        """Read on with ten times the limits."""
        if self.source is not None:
            self.open_source(Source(self.source.path, work.raised(self.source.options)))

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self.source.options.limits if self.source is not None else Limits()

    # -- help ------------------------------------------------------------------------------

    def open_help(self, screen: ModeScreen) -> None:
        """The keys of a screen."""
        lines = help_lines(screen.mode, self.config.keys)
        self.push_screen(Reader(f"Keys of {screen.mode.title()}", lines, center=True))

    def open_jump(self, screen: ModeScreen) -> None:
        """A key per pane."""
        panes = screen.panes()
        marks = JUMP_KEYS[: len(panes)]
        lines: list[Line] = [
            [(f" {mark} ", "title"), (f" {name}", "name")]
            for mark, (_, name) in zip(marks, panes, strict=True)
        ]

        def done(index: int | None) -> None:
            if index is not None:
                screen.query_one(panes[index][0]).focus()

        self.push_screen(Picker("Panes", lines, marks=marks), done)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette holds every action."""
        from khotool.tui.screens.mode import ModeScreen

        yield from super().get_system_commands(screen)
        if isinstance(screen, ModeScreen):
            for key in KEYS:
                if key.where in ("all", screen.mode):
                    run = partial(screen.run_action, key.action)
                    yield SystemCommand(f"{key.label}: {key.help}", key.id, run)
        for what, text in COPIES:
            yield SystemCommand(text, "to the clipboard, by OSC 52", partial(self.copy, what))
        yield SystemCommand("Compare with another image", "diff mode", self.open_compare)
        if self.details:
            yield SystemCommand("Copy the details of the last error", "", self.copy_details)
        yield SystemCommand(
            "Debug info", "terminal, theme, problems of the config file", self.debug_info
        )

    def debug_info(self) -> None:
        """What a report of a problem should hold."""
        import textual

        lines: list[Line] = [
            [("textual   ", "dim"), (textual.__version__, "value")],
            [("terminal  ", "dim"), (f"{self.size.width}x{self.size.height}", "value")],
            [("theme     ", "dim"), (self.theme, "value")],
            [("colour    ", "dim"), ("no" if self.no_color else "yes", "value")],
        ]
        for problem in self.config.problems:
            lines.append([("config    ", "dim"), (problem, "warning")])
        self.push_screen(Reader("Debug info", lines, center=True))


def _candidate_line(item: Candidate) -> Line:
    kind = "" if item.kind == "path" else item.kind
    line: Line = [(f" {item.text}", "name"), (f"  {kind}", "dim")]
    if item.place is not None and item.kind in ("path", "row"):
        line += [("", ""), *value_line(item.place.field, item.place.value)]
    return line


def _hit_line(hit: Hit, session: Session) -> Line:
    if hit.place is not None:
        line: Line = [(f" {visible(hit.place.path)}  ", "name")]
        return line + value_line(hit.place.field, hit.place.value)
    assert hit.span is not None
    place = session.index.find(hit.span.address) if session.index is not None else None
    line = [(f" {address_text(hit.span.address)}  ", "address")]
    if place is not None:
        return [*line, (visible(place.path), "name")]
    return line + page_line(hit.span.address, session.view)[1:]


def _file_name(session: Session, form: str) -> str:
    place = session.cursor.place
    name = "".join(c if c.isalnum() else "-" for c in (place.path if place else "bytes"))
    return f"{name.strip('-')[:60] or 'image'}.{'bin' if form == 'raw' else form}"
