"""A kdump-compressed dump, flattened or not."""

from __future__ import annotations

from collections.abc import Iterable

from khotool.memory.kdump import open_kdump
from khotool.memory.space import SourceInfo
from tests.fuzz.containers import kdumps
from tests.fuzz.look import look_around, nothing

KIND = "binary"
RUNS = 12000


def seeds() -> Iterable[bytes]:
    """Dumps of four pages."""
    return kdumps()


def one_input(data: bytes) -> None:
    """Bitmaps and page descriptors are believed as far as the file reaches."""
    look_around(open_kdump(SourceInfo("fuzz", "kdump"), memoryview(data), nothing))
