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
