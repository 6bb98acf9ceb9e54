"""Standard streams and signals: a full disk, a closed stream or a TERM ends in one line.

Imported before everything else, so it imports little itself.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
from types import FrameType

from khotool.errors import KhotoolError
from khotool.memory import lost

READERS = {0: os.O_RDONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}
"""Modes of /dev/null in place of a closed stream: writes to stdout fail, to stderr do not."""

SELDOM = 100_000
"""Allocations, less deallocations, between two garbage collections."""

PATIENCE = 5.0
"""Seconds that cleaning up may take before the signal is sent again."""


class StreamError(KhotoolError):
    """Standard output cannot be written."""


class Terminated(BaseException):
    """The process received TERM or HUP.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stopped(BaseException):
    """A command has used up its CPU time. Not an ``Exception``, so that a batch does not go on."""


class _Output(io.FileIO):
    """Standard output whose failures name it."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StreamError(f"standard output: cannot be written: {error.strerror}") from error


class _Messages(io.FileIO):
    """Standard error: a message that cannot be written changes nothing else."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return len(memoryview(data).cast("B"))  # type: ignore[arg-type]


def prepare() -> None:
    """Make streams and signals of the process safe to use; called once, by the program.

    Descriptors of closed streams are taken, so that no file gets one. Garbage is collected less
    often: there is little of it, and a collection costs more the more of an image is loaded.
    """
    gc.set_threshold(SELDOM, 20, 20)
    for number, mode in READERS.items():
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, mode)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
    sys.stdout = _text(_Output(1, "wb", closefd=False), sys.stdout, line=False)
    sys.stderr = _text(_Messages(2, "wb", closefd=False), sys.stderr, line=True)
    lost.end_with_a_line()
    for wanted in (signal.SIGTERM, signal.SIGHUP):
        # Under nohup, HUP is ignored already.
        if signal.getsignal(wanted) is signal.SIG_DFL:
            signal.signal(wanted, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _text(raw: io.FileIO, old: object, *, line: bool) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(old, "encoding", None) or "utf-8",
        errors=getattr(old, "errors", None) or "backslashreplace",
        line_buffering=line or raw.isatty(),
        write_through=line,
    )


def _terminate(number: int, _: FrameType | None) -> None:
    _ask_again(number)
    raise Terminated(number)


def _interrupt(number: int, _: FrameType | None) -> None:
    _ask_again(number)
    raise KeyboardInterrupt


def _ask_again(number: int) -> None:
    """Repeat a signal later: an exception inside a finalizer or a callback of C code is dropped."""
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), number))
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)


def silence_stdout() -> None:
    """Discard what is still buffered, so that the interpreter exits without a complaint."""
    if not isinstance(getattr(getattr(sys.stdout, "buffer", None), "raw", None), _Output):
        return
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
