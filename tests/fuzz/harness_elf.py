"""An ELF core of memory."""

from __future__ import annotations

from collections.abc import Iterable

from khotool.memory.elf import open_elf
from khotool.memory.space import SourceInfo
from tests.fuzz.containers import cores
from tests.fuzz.look import look_around, nothing

KIND = "binary"
RUNS = 8000


def seeds() -> Iterable[bytes]:
    """Cores of a few pages."""
    return cores()


def one_input(data: bytes) -> None:
    """Memory is what the segments say, as far as the file reaches."""
    look_around(open_elf(SourceInfo("fuzz", "elf"), memoryview(data), nothing))
