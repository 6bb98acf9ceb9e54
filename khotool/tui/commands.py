"""What is on the screen as a command line, and how an image is read as flags."""

from __future__ import annotations

import shlex

from khotool.limits import Limits, OpenOptions
from khotool.model.image import UNPLACED
from khotool.tui.session import Session
from khotool.tui.work import Source

ENDIAN = {"little": "le", "big": "be"}


def flags_of(options: OpenOptions) -> list[str]:
    """The flags of the command line that give these options."""
    root, order = options.root, options.byteorder
    size, base = options.page_size, options.base
    given = [
        ("--root", hex(root) if isinstance(root, int) else root),
        ("--page-size", None if size is None else str(size)),
        ("--endian", None if order is None else ENDIAN[order]),
        ("--base", None if base is None else hex(base)),
        *(("--scratch", f"{address:#x}+{size:#x}") for address, size in options.scratch),
        ("--debugfs", options.debugfs),
        *(("--abi", n if layout is None else f"{n}={layout}") for n, layout in options.abi.items()),
        *(("--formats", folder) for folder in options.formats),
        ("--limit", _limits(options.limits)),
    ]
    return [word for name, value in given if value is not None for word in (name, value)]


def _limits(limits: Limits) -> str | None:
    names = ("nodes", "depth", "bytes", "chain", "scan")
    changed = [n for n in names if getattr(limits, n) != getattr(Limits(), n)]
    return ",".join(f"{n}={getattr(limits, n)}" for n in changed) or None


def check_command(source: Source, *words: str) -> str:
    """The command that checks an image; empty where staged changes are in the way.

    Args:
        words: flags; the value of the last one is a FILE.
    """
    if source.edits:
        return ""
    file = ["FILE"] if words else []
    return shlex.join(["khotool", "check", source.path, *flags_of(source.options), *words, *file])


def command_of(session: Session, path: str, options: OpenOptions) -> str:
    """The command that prints what is under the cursor: a part of the model, or bytes.

    Args:
        path: of the image, as it was given.
    """
    cursor = session.cursor
    if cursor.place is not None:
        words = ["khotool", "dump", path, cursor.place.path]
    elif cursor.address is not None and cursor.address < UNPLACED:
        words = ["khotool", "identify", path, hex(cursor.address)]
    else:
        words = ["khotool", "dump", path]
    return shlex.join([*words, *flags_of(options)])
