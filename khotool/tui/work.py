"""Work that takes a while, as plain functions: opening, indexing, checking. No Textual."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

from khotool.decode.decoded import Watch
from khotool.decode.open import open_memory
from khotool.errors import InputError, KhotoolError
from khotool.limits import Limits, OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.memory.source import CONTAINERS, open_source
from khotool.memory.space import AddressSpace
from khotool.model.identify import Identifier
from khotool.model.image import Image, Node, Span
from khotool.opening.load import load_image
from khotool.records import dataclass, field, replace
from khotool.tui.edits import Edit
from khotool.tui.goto import PathList
from khotool.tui.index import ByteIndex
from khotool.tui.session import Session
from khotool.tui.text import count_text, size_text

MOST_ROWS = 1 << 19
"""Rows of all tables up to which the folios at an address are looked up."""

DRAWN = 0.1
"""Seconds between two drawings of what is decoded so far."""

Stop = Callable[[], bool]
Report = Callable[[str, int, int | None], None]
Draw = Callable[[Node, int], None]


class Cancelled(Exception):  # noqa: N818 - the user's wish
    """The work is no longer wanted."""


@dataclass(slots=True)
class Source:
    """What to open.

    Args:
        path: of the file.
        options: how to read it.
        stamp: size and time of the file when it was opened.
        base: the image that ``edits`` change, open already.
    """

    path: str
    options: OpenOptions = field(default_factory=OpenOptions)
    stamp: tuple[int, int] | None = None
    base: Session | None = None
    edits: tuple[Edit, ...] = ()


def stamp_of(path: str) -> tuple[int, int] | None:
    """Size in bytes and time of change in ns; None where there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def open_session(source: Source, report: Report, stop: Stop, draw: Draw | None = None) -> Session:
    """Open an image.

    Args:
        draw: called now and then while decoding with the top of what is decoded so far.

    Raises:
        Cancelled: ``stop`` said so.
        KhotoolError: see ``open_image``.
    """

    def progress(what: str, done: int, total: int | None) -> None:
        if stop():
            raise Cancelled
        report(what, done, total)

    drawn = 0.0

    def watch(node: Node, nodes: int) -> None:
        nonlocal drawn
        if stop():
            raise Cancelled
        if draw is not None and monotonic() - drawn > DRAWN:
            drawn = monotonic()
            while node.parent is not None:
                node = node.parent
            draw(node, nodes)

    if source.base is not None:
        session = _edited(source, source.base, progress, watch) if source.edits else source.base
    else:
        source.stamp = stamp_of(source.path)
        if source.stamp is None:
            raise KhotoolError(f"{source.path}: no such file")
        session = Session(load_image(source.path, source.options, progress, watch))
    if stop():
        raise Cancelled
    return session


def _edited(source: Source, base: Session, progress: Report, watch: Watch) -> Session:
    """An image as it decodes with the edits; the root stays where it is, even a broken one."""
    image, options = base.image, source.options
    writes = [(edit.address, edit.new) for edit in source.edits]
    space = OverlaySpace(image.space, writes, image.info)
    try:
        found = open_memory(space, image.registry, options, progress, watch)
    except InputError:
        if image.tree.span is None:
            raise
        forced = replace(options, root=image.tree.span.address)
        found = open_memory(space, image.registry, forced, progress, watch)
    edited = [Span(address, len(new)) for address, new in writes]
    return Session(found, digest=base.digest, edited=edited)


def probe(source: Source, stop: Stop) -> list[tuple[str, bool, str]]:
    """What a file is as each container: its name, whether it opens, and what it holds or why not.

    Raises:
        Cancelled: ``stop`` said so.
    """
    found = []
    for container in CONTAINERS:
        if stop():
            raise Cancelled
        base = source.options.base if container == "raw" else None
        try:
            space = open_source(source.path, base=base, container=container)
        except KhotoolError as error:
            found.append((container, False, str(error).removeprefix(f"{source.path}: ")))
            continue
        if isinstance(space, AddressSpace):
            found.append((container, True, _memory_text(space)))
            space.close()
        else:
            found.append((container, True, "device trees, no memory"))
    return found


def _memory_text(space: AddressSpace) -> str:
    """Extent of captured memory in words."""
    extents = space.extents()
    size = int((extents[:, 1] - extents[:, 0]).sum()) if len(extents) else 0
    text = f"{size_text(size)} in {count_text(len(extents), 'piece')}"
    if len(extents):
        text += f" from {int(extents[0, 0]):#x} to {int(extents[-1, 1]):#x}"
    release = space.info.osrelease
    return f"{text}, Linux {release}" if release else text


def progress_text(what: str, done: int, total: int | None) -> str:
    """Progress in a few words."""
    if total:
        return f"{what}  {min(done * 100 // total, 100)} %"
    return f"{what}  {count_text(done, 'record')} so far" if done else what


def index_image(image: Image, stop: Stop) -> tuple[ByteIndex, PathList, Identifier]:
    """What lookups by byte, by path and by pointer need."""
    identifier = Identifier(image)
    places = identifier.places
    if sum(len(node.table) for node in places.tables if node.table is not None) > MOST_ROWS:
        # Rows are looked up by scanning their columns, which would be felt at every key.
        places.tables = []
    return ByteIndex(image, stop), PathList(image.tree), identifier


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
