"""Copies to the clipboard and exports to files: asked for here, made in a thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from khotool.errors import KhotoolError
from khotool.extract.select import payload_plan
from khotool.extract.sparse import SparseFile
from khotool.extract.write import write_plan
from khotool.findings import Severity
from khotool.handlers import payload_of
from khotool.memory.atomic import replacing
from khotool.tui.commands import check_command, command_of
from khotool.tui.copies import EXPORTS, copy_text, export_chunks, findings_chunks
from khotool.tui.screens.dialogs import Picker
from khotool.tui.screens.open import SaveDialog
from khotool.tui.session import Session
from khotool.tui.shell import Shell
from khotool.tui.text import Line, size_text, visible
from khotool.tui.work import Cancelled, Stop

COPIES = (
    ("value", "Copy the value"),
    ("path", "Copy the path"),
    ("address", "Copy the address"),
    ("hex", "Copy the bytes as hex"),
    ("c", "Copy the bytes as a C array"),
    ("json", "Copy as JSON"),
    ("markdown", "Copy as Markdown"),
    ("command", "Copy the command that prints the same"),
)


def copy_cursor(shell: Shell, what: str) -> None:
    """Copy the cursor of the image."""
    session, source = shell.session, shell.source
    if session is None or source is None:
        return
    if what == "command":
        text = command_of(session, source.path, source.options)
        copy(shell, lambda _: text)
    else:
        copy(shell, lambda stop: copy_text(session, what, stop), quick=what != "json")


def copy(shell: Shell, make: Callable[[Stop], str], *, quick: bool = True) -> None:
    """Copy to the terminal's clipboard by OSC 52; what may take long is made in a thread."""
    if not quick:

        def job(stop: Stop) -> None:
            text = make(stop)
            if not stop():
                shell.call_from_thread(_put, shell, text)

        shell.run_job("copy", "copying  esc cancels", job)
        return
    try:
        text = make(lambda: False)
    except KhotoolError as error:
        shell.say(str(error), Severity.WARNING)
    else:
        _put(shell, text)


def _put(shell: Shell, text: str) -> None:
    shell.copy_to_clipboard(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    shell.say(f"Copied {text.splitlines()[0][:60] if text else 'nothing'}")


def copy_details(shell: Shell) -> None:
    """Copy the details of the last error."""
    shell.copy_to_clipboard(shell.details)
    shell.say("Copied the details of the error")


def open_export(shell: Shell) -> None:
    """Write what is under the cursor to a file."""
    session = shell.session
    if session is None or shell.refused():
        return
    place = session.cursor.place
    what = place.path if place is not None else "bytes"
    lines: list[Line] = [
        [(" j  JSON", "name"), ("  values of the node and all below", "dim")],
        [(" d  DTS", "name"), ("   device tree source", "dim")],
        [(" r  raw", "name"), ("   the bytes", "dim")],
        [(" p  payload", "name"), ("  contents of the file or region, as extract does", "dim")],
    ]

    def picked(index: int | None) -> None:
        if index is not None:
            form = EXPORTS[index]
            write = partial(_write, shell, partial(export_chunks, session, form))
            write = partial(_extract, shell, session) if form == "payload" else write
            ask_file(shell, f"Export as {form}", _file_name(session, form), "file to write", write)

    shell.push_screen(Picker(f"Export {what}", lines, marks="jdrp"), picked)


def open_findings_export(shell: Shell) -> None:
    """Write all findings to a file, as ``check`` does."""
    session, source = shell.session, shell.source
    if session is None or source is None or shell.refused():
        return
    flags = ["--json", "-o"], ["--write-baseline"]
    commands = [check_command(source, *words) for words in flags]
    lines: list[Line] = [
        [(" j  JSON", "name"), (f"      {visible(commands[0])}", "dim")],
        [(" b  baseline", "name"), (f"  {visible(commands[1])}", "dim")],
    ]

    def picked(index: int | None) -> None:
        if index is not None:
            form = ("findings", "baseline")[index]
            make = partial(findings_chunks, session.image, source.path, form)
            write = partial(_write, shell, make, said=commands[index])
            ask_file(shell, f"Export {form}", f"{form}.json", commands[index], write)

    shell.push_screen(Picker("Export all findings", lines, marks="jb"), picked)


def ask_file(
    shell: Shell, title: str, proposed: str, note: str, write: Callable[[Path], None]
) -> None:
    """Ask for a file to write: never the image itself, and one that exists only after a yes."""
    dialog = SaveDialog(title, proposed, note)
    source = shell.source

    def named(index: int | None) -> None:
        if index is None:
            return
        name = dialog.chosen
        path = Path(name).expanduser()
        again = partial(ask_file, shell, title, name, write=write)
        if path.exists() and source is not None and os.path.samefile(path, source.path):
            again(note="this is the image that was read; choose a different name")
        elif os.path.lexists(path):
            ask_overwrite(shell, name, partial(write, path), partial(again, note=note))
        else:
            write(path)

    shell.push_screen(dialog, named)


def ask_overwrite(
    shell: Shell, name: str, write: Callable[[], None], rename: Callable[[], None]
) -> None:
    """Ask before an existing file is replaced."""
    lines: list[Line] = [
        [(" n  choose a different name", "name")],
        [(" y  overwrite ", "warning"), (visible(name), "text")],
    ]

    def answered(index: int | None) -> None:
        if index is not None:
            (rename, write)[index]()

    shell.push_screen(Picker("The file exists", lines, marks="ny"), answered)


def _write(
    shell: Shell, chunks: Callable[[Stop], Iterator[bytes]], path: Path, said: str = ""
) -> None:
    """Write pieces to a file.

    Args:
        said: what else is said at the end.
    """

    def job(stop: Stop) -> None:
        size = 0
        with replacing(path) as file:
            for chunk in chunks(stop):
                if stop():
                    raise Cancelled
                size += file.write(chunk)
                shell.show_progress("export", f"exporting  {size_text(size)}  esc cancels")
        shell.call_from_thread(shell.say, f"{size} bytes written to {path}\n{said}".strip())

    shell.run_job("export", "exporting  esc cancels", job)


def _extract(shell: Shell, session: Session, path: Path) -> None:
    """Write the payload of the node under the cursor; its holes stay holes."""
    place = session.cursor.place
    if place is None:
        shell.say("no field here; select one first", Severity.WARNING)
        return
    node = place.node

    def job(stop: Stop) -> None:
        plan = payload_of(session.image, node) or payload_plan(session.image, node)

        def tell(done: int) -> None:
            if stop():
                raise Cancelled
            text = f"extracting  {size_text(done)} of {size_text(plan.size)}  esc cancels"
            shell.show_progress("export", text)

        with replacing(path) as file:
            done = write_plan(plan, session.image.space, SparseFile(file.fileno()), None, tell)
        parts = f"{size_text(done.data)} data, {size_text(done.holes)} holes"
        shell.call_from_thread(shell.say, f"{done.size} bytes written to {path}: {parts}")

    shell.run_job("export", "extracting  esc cancels", job)


def _file_name(session: Session, form: str) -> str:
    place = session.cursor.place
    name = "".join(c if c.isalnum() else "-" for c in (place.path if place else "bytes"))
    return f"{name.strip('-')[:60] or 'image'}.{form if form in ('json', 'dts') else 'bin'}"
