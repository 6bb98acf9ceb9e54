"""Work that takes a while, as plain functions: opening, indexing, checking. No Textual."""

from __future__ import annotations

import os
from collections.abc import Callable

from khotool.decode.open import open_image
from khotool.discovery.options import OpenOptions
from khotool.errors import KhotoolError
from khotool.findings import Finding
from khotool.limits import Limits
from khotool.model.identify import Identifier
from khotool.model.image import Image
from khotool.records import dataclass, field, replace
from khotool.tui.goto import PathList
from khotool.tui.index import ByteIndex
from khotool.tui.rated import check
from khotool.tui.session import Session

MOST_ROWS = 1 << 19
"""Rows of all tables up to which the folios at an address are looked up."""

Stop = Callable[[], bool]
Report = Callable[[str, int, int | None], None]


class Cancelled(Exception):  # noqa: N818 - the user's wish
    """The work is no longer wanted."""


@dataclass(slots=True)
class Source:
    """What to open.

    Args:
        path: of the file.
        options: how to read it.
        stamp: size and time of the file when it was opened.
    """

    path: str
    options: OpenOptions = field(default_factory=OpenOptions)
    stamp: tuple[int, int] | None = None


def stamp_of(path: str) -> tuple[int, int] | None:
    """Size in bytes and time of change in ns; None where there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def open_session(source: Source, report: Report, stop: Stop) -> Session:
    """Open an image.

    Raises:
        Cancelled: ``stop`` said so.
        KhotoolError: see ``open_image``.
    """

    def progress(what: str, done: int, total: int | None) -> None:
        if stop():
            raise Cancelled
        report(what, done, total)

    source.stamp = stamp_of(source.path)
    if source.stamp is None:
        raise KhotoolError(f"{source.path}: no such file")
    image = open_image(source.path, source.options, progress)
    if stop():
        raise Cancelled
    return Session(image)


def progress_text(what: str, done: int, total: int | None) -> str:
    """Progress in a few words."""
    if total:
        return f"{what}  {min(done * 100 // total, 100)} %"
    return what


def index_image(image: Image, stop: Stop) -> tuple[ByteIndex, PathList, Identifier]:
    """What lookups by byte, by path and by pointer need."""
    identifier = Identifier(image)
    places = identifier.places
    if sum(len(node.table) for node in places.tables if node.table is not None) > MOST_ROWS:
        # Rows are looked up by scanning their columns, which would be felt at every key.
        places.tables = []
    return ByteIndex(image, stop), PathList(image.tree), identifier


def findings_of(image: Image) -> list[Finding]:
    """All findings."""
    return check(image)


def raised(options: OpenOptions) -> OpenOptions:
    """The same options with ten times the budget."""
    old = options.limits
    limits = Limits(
        nodes=old.nodes * 10,
        depth=old.depth,
        chain=old.chain * 10,
        bytes=old.bytes * 10,
        scan=old.scan,
    )
    return replace(options, limits=limits)


def hit_limit(image: Image) -> str:
    """The message of the first limit that was reached; empty for none."""
    return next((f.message for f in image.findings if f.rule == "LIM001"), "")
