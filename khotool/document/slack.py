"""Bytes of metadata that no region explains, found window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from khotool.memory.space import AddressSpace, MemoryFault
from khotool.model.image import UNPLACED, Image
from khotool.model.region import MapRegion, Write
from khotool.records import dataclass

SLACK_GAP = 16
"""Runs of unexplained bytes closer than this are one run."""
WINDOW = 4 << 20
"""Bytes of memory that are compared together."""

Contents = bytes | memoryview


@dataclass(frozen=True, slots=True)
class _Source:
    """What is written at an address: its bytes, or what makes them when they are needed."""

    start: int
    size: int
    number: int
    contents: Contents | Callable[[], Contents]

    def part(self, low: int, high: int) -> tuple[int, Contents]:
        """Where the part inside ``low..high`` begins, and its bytes."""
        made = self.contents
        data = made if isinstance(made, bytes | memoryview) else made()
        first = max(low, self.start)
        return first, data[first - self.start : high - self.start]


def slack(image: Image, pages: np.ndarray[Any, Any]) -> Iterator[Write]:
    """Bytes of pages that differ from what the regions write; zeros are what is expected.

    Args:
        pages: (n, 2) uint64, ascending disjoint ranges of physical addresses in bytes.
    """
    waiting = sorted(_sources(image), key=lambda source: source.start, reverse=True)
    active: list[_Source] = []
    for start, end in pages.tolist():
        found: list[tuple[int, int]] = []
        for low in range(start, end, WINDOW):
            high = min(low + WINDOW, end)
            while waiting and waiting[-1].start < high:
                active.append(waiting.pop())
            active = [source for source in active if source.start + source.size > low]
            # Where regions overlap, the last one in the order of the walk is what counts.
            active.sort(key=lambda source: source.number)
            found += _differences(image.space, low, high, active)
        for low, high in _joined(found):
            yield low, bytes(image.space.read(low, high - low))


def _sources(image: Image) -> Iterator[_Source]:
    """What all regions write; pages of maps, which are large, are made when needed."""
    number = 0
    for region in image.regions:
        if isinstance(region, MapRegion):
            page_of = region.page_maker()
            for row, (start, size) in enumerate(region.extents()):
                if start < UNPLACED:
                    yield _Source(start, size, number + row, partial(page_of, row))
            number += len(region.map.pages)
            continue
        for start, data in region.writes():
            if start < UNPLACED:
                yield _Source(start, len(data), number, data)
                number += 1


def _differences(
    space: AddressSpace, low: int, high: int, active: list[_Source]
) -> list[tuple[int, int]]:
    """Ranges of bytes in ``low..high`` that no source explains."""
    buffer = bytearray(high - low)
    for source in active:
        first, data = source.part(low, high)
        buffer[first - low : first - low + len(data)] = data
    try:
        given = np.frombuffer(space.read(low, high - low), np.uint8)
    except MemoryFault:
        return []
    changed = np.flatnonzero(given != np.frombuffer(buffer, np.uint8))
    if not changed.size:
        return []
    breaks = np.flatnonzero(np.diff(changed) > SLACK_GAP)
    first_of = changed[np.append(0, breaks + 1)] + low
    past = changed[np.append(breaks, changed.size - 1)] + low + 1
    return list(zip(first_of.tolist(), past.tolist(), strict=True))


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ascending ranges; those that a window has cut are one again."""
    held: tuple[int, int] | None = None
    for low, high in ranges:
        if held is not None and low - (held[1] - 1) <= SLACK_GAP:
            held = held[0], high
            continue
        if held is not None:
            yield held
        held = low, high
    if held is not None:
        yield held
