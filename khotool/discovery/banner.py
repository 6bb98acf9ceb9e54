"""The kernel release from ``linux_banner``, for a capture that does not record it.

The banner is in the kernel's read-only data, and is the first line of its log.
"""

from __future__ import annotations

import re

from khotool.limits import Limits
from khotool.memory.space import AddressSpace, MemoryFault
from khotool.records import dataclass

TEXT = b"Linux version "
BANNER = re.compile(
    rb"Linux version (?P<release>[0-9]+\.[0-9]+[!-~]{0,56}) \([!-~]+@[!-~]+\) \([ -~]*\) "
    rb"(?P<build>#[0-9]+ [ -~]*)"
)
LONGEST = 512
"""Bytes of a banner."""
MOST = 64
"""Banners that are read; a kernel, its log and copies of them hold a few."""
WRITER_NOTE = "KHOTOOL_WRITER"
"""Line of VMCOREINFO with the release that wrote the incoming handover."""


@dataclass(frozen=True, slots=True)
class Banner:
    """The release of a kernel, and the number, options and date of its build."""

    release: str
    build: str


def find_banner(space: AddressSpace, limits: Limits) -> Banner | None:
    """The banner of the kernel in memory; None without one, or with several releases."""
    found: set[Banner] = set()
    left, number = limits.scan, 0
    for start, end in space.extents().tolist():
        if left <= 0:
            break
        for at in space.find(TEXT, start, end, left):
            number += 1
            match = BANNER.match(_read(space, at, end))
            if match is not None:
                build = match["build"].decode("ascii").strip()
                found.add(Banner(match["release"].decode("ascii"), build))
            if number == MOST:
                return _only(found)
        left -= end - start
    return _only(found)


def _only(found: set[Banner]) -> Banner | None:
    return min(found, key=lambda item: item.build) if len({b.release for b in found}) == 1 else None


def _read(space: AddressSpace, at: int, end: int) -> bytes:
    try:
        return bytes(space.read(at, min(LONGEST, end - at)))
    except MemoryFault:
        return b""
