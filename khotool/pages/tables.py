"""Ranges of pages and what ownership says of them, as columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from khotool.pages.runs import distinct
from khotool.records import dataclass

Frames = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class OwnedRanges:
    """Preserved ranges, ascending; neighbours differ in order or owner.

    Where blocks overlap, a page counts once, with the order of the largest block.

    Args:
        start: uint64, physical address in bytes.
        pages: int64, number of pages.
        order: uint8, page order of the blocks.
        owner: int32, index of the owner, -1 for none; of several owners the lowest index.
    """

    start: NDArray[np.uint64]
    pages: NDArray[np.int64]
    order: NDArray[np.uint8]
    owner: NDArray[np.int32]

    def __len__(self) -> int:
        return int(self.start.size)


@dataclass(frozen=True, slots=True, eq=False)
class UnpreservedRanges:
    """Pages that are claimed and not preserved, ascending.

    Args:
        start: uint64, physical address in bytes.
        pages: int64, number of pages.
        owner: int32, index of the owner; of several owners the lowest index.
    """

    start: NDArray[np.uint64]
    pages: NDArray[np.int64]
    owner: NDArray[np.int32]

    def __len__(self) -> int:
        return int(self.start.size)


@dataclass(frozen=True, slots=True, eq=False)
class DoubleOwned:
    """Preserved pages with two owners or more, ascending.

    Args:
        start: uint64, physical address in bytes.
        pages: int64, number of pages.
        first: int32, lowest index among the owners.
        second: int32, highest index among the owners.
        owners: int64, number of owners.
    """

    start: NDArray[np.uint64]
    pages: NDArray[np.int64]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    owners: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.start.size)

    def pairs(self) -> list[tuple[int, int]]:
        """Distinct (lowest, highest) owners, ascending."""
        both = distinct(self.first.astype(np.int64) << 32 | self.second)
        return [(pair >> 32, pair & 0xFFFFFFFF) for pair in both.tolist()]


def joints(
    start: Frames, end: Frames, values: tuple[NDArray[np.int64] | NDArray[np.uint8], ...]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which ascending ranges begin, and which end, a stretch without gap and with equal values."""
    new = start[1:] != end[:-1]
    for value in values:
        new |= value[1:] != value[:-1]
    return np.append(True, new)[: start.size], np.append(new, True)[: start.size]


def frame_bytes(frame: Frames, page_shift: int) -> NDArray[np.uint64]:
    """Physical addresses in bytes of page frames."""
    return frame.astype(np.uint64) << np.uint64(page_shift)
