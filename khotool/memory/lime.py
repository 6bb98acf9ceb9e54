"""LiME version 1: ranges of memory, each after a header of 32 bytes (little endian)."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from khotool.absent import Reason
from khotool.errors import InputError
from khotool.memory.elf import CUT_OFF
from khotool.memory.segments import Holes, Ranges, SegmentedSpace
from khotool.memory.space import ADDRESS_LIMIT, Part, SourceInfo

#: Magic 0x4C694D45 as it is in the file.
MAGIC = b"EMiL"
VERSION = 1
_HEADER = struct.Struct("<IIQQ8x")


def open_lime(
    info: SourceInfo, data: memoryview, release: Callable[[], None] | None = None
) -> SegmentedSpace:
    """Read the range headers of a LiME file; s_addr and e_addr are physical, e_addr inclusive.

    Raises:
        InputError: no range at all, or a version that is not 1.
    """
    info.container = "lime"
    starts: list[int] = []
    ends: list[int] = []
    offsets: list[int] = []
    lost: list[tuple[int, int]] = []
    position = 0
    while position < len(data):
        if position + _HEADER.size > len(data):
            info.lack(f"the file is cut off inside the header at byte {position}", Part.HEADERS)
            break
        _, version, first, last = _HEADER.unpack_from(data, position)
        if bytes(data[position : position + 4]) != MAGIC or version != VERSION or last < first:
            if not position:
                raise InputError(f"{info.path}: LiME header of version {version} is not valid")
            info.lack(
                f"no valid LiME header at byte {position}: the rest is left out", Part.HEADERS
            )
            break
        position += _HEADER.size
        end = min(last + 1, ADDRESS_LIMIT - 1)
        size = min(end - first, len(data) - position)
        if size:
            starts.append(first)
            ends.append(first + size)
            offsets.append(position)
        if first + size < end:
            lost.append((first + size, end))
            info.lack(f"the file is cut off inside the range at {first:#x}", Part.RANGES)
        position += last + 1 - first
    if not starts:
        raise InputError(f"{info.path}: this LiME file holds no memory")
    hole = np.array(lost, dtype=np.uint64).reshape(-1, 2)
    return SegmentedSpace.from_ranges(
        info,
        data,
        Ranges(
            np.array(starts, dtype=np.uint64),
            np.array(ends, dtype=np.uint64),
            np.array(offsets, dtype=np.uint64),
        ),
        [Holes(hole[:, 0], hole[:, 1], CUT_OFF, Reason.TRUNCATED)],
        release,
    )
