"""Stage changes, undo them, list them, write them to a new file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from khotool.encode.segments import write_memory
from khotool.errors import KhotoolError
from khotool.findings import Severity
from khotool.records import replace
from khotool.tui import edits, exports
from khotool.tui.screens.dialogs import Picker, Prompt
from khotool.tui.shell import Shell
from khotool.tui.text import Line, count_text, visible
from khotool.tui.work import Source, Stop


def open_edit(shell: Shell) -> None:
    """Ask for a new value of what is under the cursor, and decode the image with it."""
    session, source = shell.session, shell.source
    if session is None or source is None or "open" in shell.jobs:
        return

    def ask(value: str, note: str) -> None:
        place = session.cursor.place
        where = visible(place.path) if place is not None else "bytes"
        shell.push_screen(Prompt(f"Stage a change to {where}", value, note), done)

    def done(text: str | None) -> None:
        if text is None or text == value:
            return
        try:
            edit = edits.edit_of(session, text)
        except KhotoolError as error:
            ask(text, visible(str(error)))
            return
        if edit.new != edit.old:
            _reopen(shell, source, (*source.edits, edit))

    try:
        value, note = edits.shown(session)
    except KhotoolError as error:
        shell.say(str(error), Severity.WARNING)
    else:
        ask(value, note)


def undo(shell: Shell) -> None:
    """Take back the latest change."""
    source = shell.source
    if source is None or shell.session is None:
        return
    if not source.edits:
        shell.say("No change is staged; s in Explore stages one")
    elif "open" not in shell.jobs:
        _reopen(shell, source, source.edits[:-1])


def _reopen(shell: Shell, source: Source, changes: tuple[edits.Edit, ...]) -> None:
    base = source.base or shell.session
    shell.open_source(replace(source, base=base, edits=changes))


def open_list(shell: Shell) -> None:
    """The staged changes, the latest last; enter goes to one."""
    source, session = shell.source, shell.session
    if source is None or session is None:
        return
    lines: list[Line] = [
        [
            (f" {edit.old[:8].hex()}", "removed"),
            (" → ", "pointer"),
            (f"{edit.new[:8].hex()}  ", "added"),
            (visible(edit.where), "name"),
        ]
        for edit in source.edits
    ]

    def done(index: int | None) -> None:
        if index is not None:
            session.select_address(source.edits[index].address, jump=True)
            shell.show_mode("explore")

    empty = "no change is staged; s in Explore stages one"
    shell.push_screen(Picker("Staged changes", lines, empty=empty), done)


def open_write(shell: Shell) -> None:
    """Write the image with its changes to a new file, never to the one that was read."""
    source, session = shell.source, shell.session
    if session is None or source is None or shell.refused():
        return
    if not source.edits:
        shell.say("No change is staged; s in Explore stages one")
        return

    def write(path: Path) -> None:
        def job(stop: Stop) -> None:
            write_memory(path, session.image)
            shell.call_from_thread(shell.say, f"{path} written; {source.path} is as it was")

        shell.run_job("write", "writing the image", job)

    stem = Path(source.path).name.split(".")[0]
    title = "Write the changed image to"
    exports.ask_file(shell, title, f"{stem}-edited.elf", "a new ELF core", write)


def guarded(shell: Shell, then: Callable[[], None]) -> None:
    """Do what would lose staged changes only if the user agrees."""
    changes = shell.source.edits if shell.source is not None else ()
    if not changes:
        then()
        return
    lines: list[Line] = [
        [(" n  keep them", "name")],
        [(" y  drop them", "warning")],
    ]

    def answered(index: int | None) -> None:
        if index == 1:
            then()

    title = f"{count_text(len(changes), 'change')} not written; W writes an image"
    shell.push_screen(Picker(title, lines, marks="ny"), answered)
