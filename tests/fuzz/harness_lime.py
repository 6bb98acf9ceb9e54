"""A LiME file."""

from __future__ import annotations

from collections.abc import Iterable

from khotool.memory.lime import open_lime
from khotool.memory.space import SourceInfo
from tests.fuzz.containers import limes
from tests.fuzz.look import look_around, nothing

KIND = "binary"
RUNS = 12000


def seeds() -> Iterable[bytes]:
    """A file of two ranges."""
    return limes()


def one_input(data: bytes) -> None:
    """Ranges are believed as far as the file reaches."""
    look_around(open_lime(SourceInfo("fuzz", "lime"), memoryview(data), nothing))
