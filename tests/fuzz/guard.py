"""One input within the limits of time and memory; what goes beyond is a fault."""

from __future__ import annotations

import mmap
import re
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.fuzz.discover import DECLARED

#: Processor seconds of one input.
SECONDS = 5.0
#: Bytes that one input may allocate, touched or not.
MEMORY = 1 << 30
#: Inputs that are larger may take more.
LARGEST = 1_000_000

ROOT = Path(__file__).parents[2]
#: Limits are met wherever the program happens to be.
_ANYWHERE = ("TooSlow", "MemoryError")


class TooSlow(BaseException):
    """An input takes longer than it may; no handler of exceptions of the program catches it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What an input brought about.

    Args:
        kind: name of the exception.
        place: file and function of the program or the harness that raised it.
        text: the traceback.
    """

    kind: str
    place: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """Faults of one key are one fault."""
        return self.kind, "" if self.kind in _ANYWHERE else self.place

    @property
    def slug(self) -> str:
        """A part of a file name."""
        words = self.kind if self.kind in _ANYWHERE else f"{self.kind}-{self.place}"
        return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def attempt(
    one_input: Callable[[bytes], None],
    data: bytes,
    seconds: float = SECONDS,
    memory: int = MEMORY,
) -> Fault | None:
    """Run one input within the limits of ``limits``."""
    with limits(seconds, memory):
        return within(one_input, data, seconds)


def within(
    one_input: Callable[[bytes], None], data: bytes, seconds: float = SECONDS
) -> Fault | None:
    """Run one of many inputs inside of ``limits``; each has its own seconds."""
    began = time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        one_input(data)
    except DECLARED:
        pass
    except (Exception, TooSlow) as error:
        return fault_of(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if time.process_time() - began > seconds:
        # A finalizer or a callback of C may have lost the exception.
        return Fault("TooSlow", "", f"{time.process_time() - began:.1f} s for one input\n")
    return None


@contextmanager
def limits(seconds: float = SECONDS, memory: int = MEMORY) -> Iterator[None]:
    """Limits of what is done inside: beyond them TooSlow or MemoryError is raised.

    Args:
        seconds: of the processor, so that a busy machine changes nothing.
        memory: bytes beyond those that the process holds already.

    Memory is what the process may write to, so that numpy's arrays count as they are made; files
    that are mapped to be read do not.
    """
    previous = signal.signal(signal.SIGPROF, _too_slow)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_within(allocated() + memory, hard), hard))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _within(value: int, hard: int) -> int:
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def allocated() -> int:
    """Bytes of data and stack of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[5]) * mmap.PAGESIZE
    except OSError:
        return 0


def _too_slow(_number: int, _frame: FrameType | None) -> None:
    raise TooSlow("more than its time for one input")


def fault_of(error: BaseException) -> Fault:
    """An exception by its type and its place in this repository."""
    place = "outside"
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename)
        if file.is_relative_to(ROOT / "khotool") or file.name.startswith("harness_"):
            place = f"{file.stem}-{frame.name}"
    return Fault(type(error).__name__, place, "".join(traceback.format_exception(error)))
