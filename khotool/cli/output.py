"""Where answers go: stdout or a file for data, stderr for everything else."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khotool.cli.options import options_from
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.limits import Progress
    from khotool.model.image import Image
    from khotool.render.lines import Line

PLAIN_WIDTH = 100
"""Columns of text that does not go to a terminal."""
ASCII = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-", "→": ">"})
"""ASCII for the characters of trees."""
PATIENCE = 0.5
"""Seconds of work before progress is shown."""


def open_with_progress(path: str, args: argparse.Namespace) -> Image:
    """Open a capture or a model, with progress on a terminal if it takes a while."""
    refuse_same_file(args, [path])
    from khotool.opening.load import load_image

    with ProgressBar(args) as report:
        return load_image(path, options_from(args), report)


def refuse_same_file(args: argparse.Namespace, inputs: Iterable[str]) -> None:
    """Keep ``-o`` from overwriting what is read."""
    output = getattr(args, "output", None)
    if output in (None, "-"):
        return
    for path in inputs:
        try:
            same = os.path.samefile(path, output)
        except OSError:
            continue
        if same:
            raise UsageError(f"-o {output} is the input itself; name a different file")


class ProgressBar:
    """Context that gives a ``Progress`` callback; draws on stderr, only for slow work on a TTY."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.wanted = (
            getattr(args, "progress", "auto") == "auto"
            and not getattr(args, "quiet", False)
            and sys.stderr.isatty()
        )
        self.bar: Any = None
        self.tasks: dict[str, Any] = {}
        self.begin = 0.0

    def __enter__(self) -> Progress | None:
        if not self.wanted:
            return None
        import time

        self.begin = time.monotonic()
        return self._report

    def _report(self, what: str, done: int, total: int | None) -> None:
        if self.bar is None:
            import time

            if time.monotonic() - self.begin < PATIENCE:
                return
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self.bar.start()
        if what not in self.tasks:
            self.tasks[what] = self.bar.add_task(what, total=total)
        self.bar.update(self.tasks[what], completed=done, total=total)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()


def wants_color(args: argparse.Namespace) -> bool:
    """True if text on stdout is to be coloured."""
    choice = getattr(args, "color", "auto")
    if choice != "auto":
        return bool(choice == "always")
    if getattr(args, "output", None) is not None or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns of text on stdout: the terminal's, or 100 where there is none."""
    if not sys.stdout.isatty():
        return PLAIN_WIDTH
    import shutil

    return max(shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns, 40)


def write_lines(lines: Iterable[Line], args: argparse.Namespace) -> None:
    """Write lines, coloured and as wide as the terminal where there is one."""
    from khotool.render.lines import coloured, plain

    style = coloured if wants_color(args) else plain
    ascii_only = getattr(args, "ascii", False)

    def chunks(write: Callable[[str], object]) -> None:
        for text in style(lines, width()):
            write(text.translate(ASCII) if ascii_only else text)

    from khotool.cli.pager import paged

    with paged(args) as write:
        if write is None:
            emit(args, chunks)
        else:
            chunks(write)


def emit(args: argparse.Namespace, write: Callable[[Callable[[str], object]], object]) -> None:
    """Run ``write`` with a function that takes text: to ``-o`` all or nothing, else to stdout."""
    output = getattr(args, "output", None)
    if output in (None, "-"):
        write(_stdout_writer())
        return
    from khotool.memory.atomic import replacing

    with replacing(Path(output)) as file:
        write(lambda text: file.write(encode(text)))


def _stdout_writer() -> Callable[[str], object]:
    """Write UTF-8 in any locale, so that the same input gives the same bytes."""
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        return sys.stdout.write
    sys.stdout.flush()

    def write(text: str) -> object:
        return buffer.write(encode(text))

    return write


def encode(text: str) -> bytes:
    """UTF-8; what it cannot encode, such as a lone surrogate, is escaped."""
    return text.encode("utf-8", "backslashreplace")


def write_text(text: str, args: argparse.Namespace) -> None:
    """Write text, with a newline at its end, to ``-o`` or stdout."""
    emit(args, lambda write: write(text if text.endswith("\n") or not text else text + "\n"))


def write_json(document: object, args: argparse.Namespace) -> None:
    """Write a document as JSON, see ``khotool.render.json``."""
    from khotool.render.json import json_chunks

    def chunks(write: Callable[[str], object]) -> None:
        for chunk in json_chunks(document, compact=getattr(args, "compact", False)):
            write(chunk)

    emit(args, chunks)


def write_document(name: str, keys: Mapping[str, object], args: argparse.Namespace) -> None:
    """Write ``khotool.NAME/1`` as JSON."""
    from khotool.document.dump import head

    write_json({**head(name), **keys}, args)


def print_json(document: object, args: argparse.Namespace) -> None:
    """Write a document to stdout, for commands whose ``-o`` names the file it is about."""
    from khotool.render.json import json_chunks

    write = _stdout_writer()
    for chunk in json_chunks(document, compact=getattr(args, "compact", False)):
        write(chunk)


def note(args: argparse.Namespace, message: str) -> None:
    """One line on stderr, unless ``-q``."""
    from khotool.cli.main import one_line

    if not getattr(args, "quiet", False):
        print(f"khotool: {one_line(message)}", file=sys.stderr)
