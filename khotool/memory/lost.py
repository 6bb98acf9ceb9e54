"""A mapped file that is cut shorter while it is read.

The kernel answers such a read with SIGBUS, and Python cannot go on from there. The program, which
asks for it, says so in one line and ends; as a library khotool leaves the signal alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

_EXIT = 3
_names: list[str] = []
_cleanups: list[Callable[[], None]] = []
_handler: Any = None
_wanted = False
_opened: dict[str, os.stat_result] = {}


def end_with_a_line() -> None:
    """From now on a mapped file that is cut ends the process with exit code 3 and one line."""
    global _wanted
    _wanted = True


def watch(name: object) -> None:
    """A file was mapped; called for every one."""
    if not _wanted:
        return
    global _handler
    # A temporary file has a number for a name, and nobody cuts it.
    if isinstance(name, (str, bytes, os.PathLike)):
        _names.append(os.fsdecode(name))
    if _handler is None:
        import ctypes

        # A handler of Python's own runs between two instructions of Python, and the failed one
        # is never over; one of C's runs at once.
        _handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(_lost)
        library = ctypes.CDLL(None)
        library.signal.restype = ctypes.c_void_p
        library.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        library.signal(int(signal.SIGBUS), ctypes.cast(_handler, ctypes.c_void_p))


def opened(name: str | os.PathLike[str], status: os.stat_result) -> None:
    """A file was opened, with this status; ``changes`` compares it with what is there later."""
    if _wanted:
        _opened[os.fsdecode(name)] = status


def changes() -> Iterator[str]:
    """What happened to files since they were opened, one sentence each."""
    for name, before in _opened.items():
        try:
            now = os.stat(name)
        except OSError:
            yield f"{name}: was removed while it was read; the answer is of the file that was there"
            continue
        if (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino):
            yield f"{name}: was replaced while it was read; the answer is of the file before"
        elif now.st_size > before.st_size:
            more = now.st_size - before.st_size
            yield f"{name}: grew by {more} bytes while it was read; read it again when it is whole"
        elif now.st_mtime_ns != before.st_mtime_ns:
            yield f"{name}: was written to while it was read; the answer may mix old and new"
    _opened.clear()


@contextlib.contextmanager
def cleaned_up(cleanup: Callable[[], None]) -> Iterator[None]:
    """Call ``cleanup`` if the process ends in this block because a file was cut."""
    _cleanups.append(cleanup)
    try:
        yield
    finally:
        _cleanups.remove(cleanup)


def _lost(_: int) -> None:
    for cleanup in reversed(_cleanups):
        with contextlib.suppress(Exception):
            cleanup()
    names = ", ".join(dict.fromkeys(_names)) or "the input"
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in names)
    text = f"khotool: error: {shown}: became shorter while it was read; copy or capture it again\n"
    with contextlib.suppress(OSError):
        os.write(2, text.encode("utf-8", "backslashreplace"))
    os._exit(_EXIT)
