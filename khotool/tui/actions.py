"""What the user can ask for in every mode: goto, find, filter, bookmarks, images, help."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Concatenate, ParamSpec

from khotool.errors import UsageError
from khotool.findings import Severity
from khotool.limits import OpenOptions
from khotool.tui import work
from khotool.tui.byte_facts import ARROWS
from khotool.tui.commands import flags_of
from khotool.tui.describe import page_line, value_line
from khotool.tui.editing import guarded
from khotool.tui.find import Filtered, Hit, Query, filter_nodes, parse_query, search
from khotool.tui.goto import Candidate, why_nothing
from khotool.tui.help import help_lines
from khotool.tui.links import link_to, links_of
from khotool.tui.memory_view import address_text
from khotool.tui.screens.dialogs import Lookup, Picker, Prompt, Reader
from khotool.tui.screens.open import OpenDialog
from khotool.tui.session import Cursor, Session
from khotool.tui.shell import Shell
from khotool.tui.text import Line, count_text, visible
from khotool.tui.work import Cancelled, Source, Stop

GOTO_HINT = "0x… address   #pfn   +n -n   addr+len   @file offset   /path   rule"
FIND_HINT = 'name, value, flag   48 ?? 05   "text"   u64:0x2a'
OPTIONS_HINT = (
    "--root ADDR  --page-size N  --endian le|be  --base ADDR  --scratch ADDR+LEN  --debugfs DIR  "
    "--abi ID[=LAYOUT]  --formats DIR  --limit NAME=N"
)
DEBOUNCE = 0.04
"""Seconds that goto waits for the next character before it searches."""
HELP_WIDTH = 132
STEPS = (20, 200, 2000)
"""Numbers of hits at which a running search shows what it has."""
LISTED = 500
"""Hits that are listed; all of them can be stepped through."""

P = ParamSpec("P")


def on_session(
    action: Callable[Concatenate[Shell, Session, P], None],
) -> Callable[Concatenate[Shell, P], None]:
    """An action on the image that is shown; without one it does nothing."""

    @wraps(action)
    def run(shell: Shell, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if shell.session is not None:
            action(shell, shell.session, *args, **kwargs)

    return run


# -- goto and find -----------------------------------------------------------------------------


@on_session
def open_goto(shell: Shell, session: Session) -> None:
    """Go somewhere; the views follow while the user types."""
    origin = session.cursor
    found: list[Candidate] = []

    def look(dialog: Lookup, text: str) -> None:
        def job(stop: Stop) -> None:
            time.sleep(DEBOUNCE)
            if stop():
                raise Cancelled
            result = session.candidates(text, stop=stop)
            note = "" if result or not text.strip() else why_nothing(session.image, text)
            if not stop():
                shell.call_from_thread(show, dialog, text, result, note)

        shell.run_job("goto", "", job)

    def show(dialog: Lookup, text: str, result: list[Candidate], note: str) -> None:
        if not dialog.is_attached or dialog.text != text:
            return
        found[:] = result
        dialog.show([_candidate_line(item) for item in found], note)
        if not found:
            session.peek(origin)

    def preview(index: int) -> None:
        session.peek(session.cursor_of(found[index]))

    def done(index: int | None) -> None:
        shell.drop_job("goto")
        if index is None or index >= len(found):
            session.peek(origin)
            return
        session.peek(session.cursor_of(found[index]))
        session.commit(origin)
        shell.show_mode("explore")

    shell.push_screen(Lookup("Go to", look, preview=preview, hint=GOTO_HINT), done)


@on_session
def open_find(shell: Shell, session: Session) -> None:
    """Find names, values and bytes; hits come while the search runs."""
    hits: list[Hit] = []

    def look(dialog: Lookup, text: str) -> None:
        shell.drop_job("find")
        hits.clear()
        if not text.strip():
            dialog.show([])
            return
        try:
            query = parse_query(text, session.image.geometry.byteorder)
        except UsageError as error:
            dialog.show([], str(error))
            return

        def show(found: list[Hit], note: str, ended: bool) -> None:
            if dialog.is_attached and dialog.text != text:
                return
            hits[:] = found
            session.set_hits(text, query, found)
            if dialog.is_attached:
                lines = [_hit_line(hit, session) for hit in found[:LISTED]]
                dialog.show(lines, note, ended=ended)

        def job(stop: Stop) -> None:
            for found, note, ended in _search(session, query, stop):
                shell.call_from_thread(show, found, note, ended)

        dialog.show([], "searching …", ended=False)
        shell.run_job("find", "searching", job)

    def done(index: int | None) -> None:
        if index is not None and index < len(hits):
            session.hit = index - 1
            session.next_hit(1)
            shell.show_mode("explore")

    shell.push_screen(Lookup("Find", look, value=session.query_text, hint=FIND_HINT), done)


def _search(session: Session, query: Query, stop: Stop) -> Iterator[tuple[list[Hit], str, bool]]:
    """Hits so far, what to say of them, and whether that is all."""
    found: list[Hit] = []
    for hit in search(session.image, query, stop):
        found.append(hit)
        if len(found) in STEPS:
            yield list(found), "searching …", False
    if not stop():
        yield found, f"{count_text(len(found))} found" if found else "nothing found", True


@on_session
def open_filter(shell: Shell, session: Session) -> None:
    """Show only matching parts of the tree."""

    def done(text: str | None) -> None:
        if text is None:
            return
        wanted = text.strip()
        if not wanted:
            session.clear_filter()
            return

        def job(stop: Stop) -> None:
            shown = filter_nodes(session.image, wanted, stop)
            if not stop():
                shell.call_from_thread(show, wanted, shown)

        shell.run_job("filter", "filtering", job)

    def show(text: str, shown: Filtered) -> None:
        if not shown.matches:
            shell.say(f"Nothing matches {text!r}; all is shown", Severity.WARNING)
            session.clear_filter()
            return
        moved = session.set_filter(text, shown)
        where = "; the cursor went to the first, backspace returns" if moved else ""
        shell.say(f"{count_text(len(shown.matches), 'match')}{where}; escape shows all")

    note = "name, key, value or flag; empty shows all"
    shell.push_screen(Prompt("Filter the tree", session.filter_text, note), done)


@on_session
def open_links(shell: Shell, session: Session, cursor: Cursor | None) -> None:
    """What points to a place, where it points, its owner, its bit in the map: go to one of them.

    Args:
        cursor: the place; None for nothing.
    """
    if cursor is None:
        return
    itself = [] if shell.current_mode == "explore" else [link_to(cursor)]
    links = [*itself, *links_of(session, cursor)]
    lines: list[Line] = [
        [(f" {ARROWS[link.kind]} ", "pointer"), (f"{link.kind:<8} ", "dim"), (link.text, "name")]
        for link in links
    ]

    def done(index: int | None) -> None:
        if index is None:
            return
        finding = links[index].finding
        if finding is not None:
            session.finding = session.findings.index(finding)
            shell.show_mode("findings")
        else:
            session.jump(links[index].cursor)
            shell.show_mode("explore")

    shell.push_screen(Picker("Links", lines, empty="nothing is linked to this place"), done)


# -- bookmarks ---------------------------------------------------------------------------------


@on_session
def toggle_mark(shell: Shell, session: Session) -> None:
    """Drop the bookmark of the cursor, or make one with a note."""
    if session.is_marked():
        session.toggle_mark()
        shell.say("Bookmark removed")
        return

    def done(note: str | None) -> None:
        if note is not None:
            session.toggle_mark(note.strip())
            shell.say("Bookmark kept; ' lists them")

    shell.push_screen(Prompt("Bookmark", "", "a note, or nothing"), done)


@on_session
def open_marks(shell: Shell, session: Session) -> None:
    """List of bookmarks."""
    lines: list[Line] = []
    for mark in session.marks:
        where = mark.path or address_text(mark.address or 0)
        lines.append([(f" {visible(where)}", "name"), (f"  {visible(mark.note)}", "dim")])

    def done(index: int | None) -> None:
        if index is None:
            return
        if session.goto_mark(session.marks[index]):
            shell.show_mode("explore")
        else:
            shell.say("This place is no longer in the image", Severity.WARNING)

    empty = "no bookmarks yet; m in Explore keeps a place"
    shell.push_screen(Picker("Bookmarks", lines, empty=empty), done)


# -- images ------------------------------------------------------------------------------------


def open_files(shell: Shell) -> None:
    """Open an image in place of the one that is shown."""
    if shell.refused():
        return
    now = shell.source.path if shell.source is not None else ""
    dialog = OpenDialog(now)

    def done(index: int | None) -> None:
        if index is not None:
            source = Source(dialog.chosen, OpenOptions(limits=shell.limits))
            guarded(shell, lambda: shell.open_source(source))

    shell.push_screen(dialog, done)


def open_compare(shell: Shell) -> None:
    """Open an image to compare with."""
    if shell.refused():
        return
    dialog = OpenDialog("", "Compare with")

    def done(index: int | None) -> None:
        if index is not None:
            shell.open_other(Source(dialog.chosen))

    shell.push_screen(dialog, done)


def open_options(shell: Shell) -> None:
    """Change how the image is read, as flags of the command line, and read it again."""
    source, parse = shell.opening or shell.source, shell.parse
    if source is None or parse is None or shell.refused():
        return

    def ask(text: str, note: str) -> None:
        shell.push_screen(Prompt("Read the image with", text, note), done)

    def done(text: str | None) -> None:
        if text is None:
            return
        try:
            options = parse(text)
        except UsageError as error:
            ask(text, str(error))
        else:
            guarded(shell, lambda: shell.open_source(Source(source.path, options)))

    ask(shlex.join(flags_of(source.options)), OPTIONS_HINT)


def reload(shell: Shell) -> None:
    """Read the image again; without one, try again what failed to open."""
    source = shell.source if shell.session is not None else shell.opening
    if source is not None:
        again = Source(source.path, source.options)
        guarded(shell, lambda: shell.open_source(again))


def raise_limit(shell: Shell) -> None:
    """Read on with ten times the limits."""
    if shell.source is not None:
        source = Source(shell.source.path, work.raised(shell.source.options))
        guarded(shell, lambda: shell.open_source(source))


# -- help --------------------------------------------------------------------------------------


def open_help(shell: Shell, mode: str) -> None:
    """The keys of a mode."""
    lines = help_lines(mode, shell.config.keys, min(shell.size.width - 4, HELP_WIDTH))
    shell.push_screen(Reader(f"Keys of {mode.title()}", lines, center=True))


def debug_info(shell: Shell) -> None:
    """What a report of a problem should contain."""
    import textual

    lines: list[Line] = [
        [("textual   ", "dim"), (textual.__version__, "value")],
        [("terminal  ", "dim"), (f"{shell.size.width}x{shell.size.height}", "value")],
        [("theme     ", "dim"), (shell.theme, "value")],
        [("colour    ", "dim"), ("no" if shell.no_color else "yes", "value")],
    ]
    for problem in shell.config.problems:
        lines.append([("config    ", "dim"), (problem, "warning")])
    shell.push_screen(Reader("Debug info", lines, center=True))


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
