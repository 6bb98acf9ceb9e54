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
    found: list[str] = []
    if options.root is not None:
        root = options.root
        found += ["--root", hex(root) if isinstance(root, int) else root]
    if options.page_size is not None:
        found += ["--page-size", str(options.page_size)]
    if options.byteorder is not None:
        found += ["--endian", ENDIAN[options.byteorder]]
    if options.base is not None:
        found += ["--base", hex(options.base)]
    for address, size in options.scratch:
        found += ["--scratch", f"{address:#x}+{size:#x}"]
    if options.debugfs is not None:
        found += ["--debugfs", options.debugfs]
    for name, layout in options.abi.items():
        found += ["--abi", name if layout is None else f"{name}={layout}"]
    for folder in options.formats:
        found += ["--formats", folder]
    return found + _limits(options.limits)


def _limits(limits: Limits) -> list[str]:
    names = ("nodes", "depth", "bytes", "chain", "scan")
    plain = Limits()
    changed = [n for n in names if getattr(limits, n) != getattr(plain, n)]
    return ["--limit", ",".join(f"{n}={getattr(limits, n)}" for n in changed)] if changed else []


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
