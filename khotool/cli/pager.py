"""A pager for text that is longer than the terminal."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

LESS = "FRX"
"""Options of less, unless LESS is set: leave when it fits, keep colours, do not clear."""


@contextmanager
def paged(args: argparse.Namespace) -> Iterator[Callable[[str], object] | None]:
    """A function that writes to a pager; None if none is to be used.

    Only text on a terminal goes to one. It is ``KHOTOOL_PAGER``, else ``PAGER``, else less; an
    empty name or ``cat`` is none.
    """
    words = _wanted(args)
    if not words:
        yield None
        return
    import subprocess

    sys.stdout.flush()
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, env={"LESS": LESS, "LV": "-c", **os.environ}
        )
    except OSError:
        yield None
        return
    assert process.stdin is not None
    pipe = process.stdin
    try:
        yield lambda text: pipe.write(text.encode("utf-8", "backslashreplace"))
        pipe.close()
    except BrokenPipeError:
        # Left with q before the end.
        pass
    finally:
        _wait(process)


def _wanted(args: argparse.Namespace) -> list[str]:
    """The words that start a pager; none if it is not wanted here."""
    if not getattr(args, "pager", False) or getattr(args, "output", None) is not None:
        return []
    if not sys.stdout.isatty() or not sys.stdin or os.environ.get("TERM", "dumb") == "dumb":
        return []
    import shlex
    import shutil

    chosen = os.environ.get("KHOTOOL_PAGER", os.environ.get("PAGER", "less"))
    try:
        words = shlex.split(chosen)
    except ValueError:
        return []
    return words if words and words[0] != "cat" and shutil.which(words[0]) else []


def _wait(process: object) -> None:
    import signal
    import subprocess

    assert isinstance(process, subprocess.Popen)
    # While the pager shows text, Ctrl-C goes to the pager.
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.wait()
    finally:
        signal.signal(signal.SIGINT, old)
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()
