"""The part of ``--limit`` that holds for a whole command: seconds, memory, bytes written."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator
from types import FrameType

from khotool.cli.streams import Stopped
from khotool.limits import Limits


@contextlib.contextmanager
def within(limits: Limits) -> Iterator[None]:
    """Run a command within its limits; those that are 0 are not set.

    Memory that is not to be had is a MemoryError, a file that grows too large an OSError.

    Raises:
        Stopped: the CPU time is used up.
    """
    with contextlib.ExitStack() as stack:
        if limits.memory:
            stack.enter_context(_lowered(resource.RLIMIT_DATA, limits.memory))
        if limits.written:
            stack.enter_context(_lowered(resource.RLIMIT_FSIZE, limits.written))
        if limits.seconds:
            stack.enter_context(_timed(limits.seconds))
        try:
            yield
        except SystemError as error:
            # The interpreter's own C code does not always say that it found no memory.
            if not limits.memory:
                raise
            raise MemoryError from error


@contextlib.contextmanager
def _lowered(kind: int, value: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(kind)
    least = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (least, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


@contextlib.contextmanager
def _timed(seconds: int) -> Iterator[None]:
    def late(_number: int, _frame: FrameType | None) -> None:
        raise Stopped(
            f"stopped after {seconds} s of CPU time, before the end; "
            "raise --limit seconds=N, or ask for less with PATH or --summary"
        )

    previous = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
