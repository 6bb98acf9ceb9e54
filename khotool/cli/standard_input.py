"""``-`` in the place of a capture: standard input."""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import sys

from khotool.errors import InputError, UsageError

NAMES = ("image", "images", "old", "new", "model")
"""Arguments that are files to read."""
PATH = "/dev/stdin"


def take_standard_input(args: argparse.Namespace) -> None:
    """Put the path of standard input in the place of ``-``.

    A capture is read at any place of it, so that a pipe is first copied to a temporary file.
    """
    found = 0
    for name in NAMES:
        value = getattr(args, name, None)
        if value == "-":
            setattr(args, name, PATH)
            found += 1
        elif isinstance(value, list) and "-" in value:
            found += value.count("-")
            setattr(args, name, [PATH if item == "-" else item for item in value])
    if found > 1:
        raise UsageError("-: standard input can be read once")
    if found:
        _copy()


def _copy() -> None:
    try:
        kind = os.fstat(0).st_mode
    except OSError:
        raise InputError("-: standard input is closed") from None
    if stat.S_ISREG(kind):
        return
    if os.isatty(0):
        raise InputError("-: standard input is a terminal; redirect a file or a pipe to it")
    import tempfile

    with tempfile.TemporaryFile(prefix="khotool-") as copy, open(0, "rb", closefd=False) as pipe:
        shutil.copyfileobj(pipe, copy, 1 << 20)
        copy.flush()
        os.dup2(copy.fileno(), 0)
    os.lseek(0, 0, os.SEEK_SET)
    sys.stdin = None
