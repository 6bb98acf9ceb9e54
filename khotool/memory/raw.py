"""Raw memory: one range whose first physical address the user names."""

from __future__ import annotations

from collections.abc import Callable

from khotool.errors import InputError
from khotool.memory.segments import Segment, SegmentedSpace
from khotool.memory.space import ADDRESS_LIMIT, SourceInfo


def open_raw(
    info: SourceInfo, data: memoryview, base: int, release: Callable[[], None] | None = None
) -> SegmentedSpace:
    """Take a file as the memory from ``base`` on, a physical address in bytes.

    Raises:
        InputError: ``base`` is not a physical address.
    """
    if not 0 <= base < ADDRESS_LIMIT - 1:
        raise InputError(f"{info.path}: base address {base:#x} is not a 64-bit physical address")
    info.container = "raw"
    return SegmentedSpace(info, [Segment(base, base + len(data), data)], release)
