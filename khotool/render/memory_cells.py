"""A picture of physical memory as cells: which owner holds most of each."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.absent import Absent
from khotool.model.image import Image
from khotool.model.path import parse_path
from khotool.pages.frames import expand
from khotool.pages.owners import Ownership
from khotool.pages.runs import merge_columns
from khotool.pages.tables import joints
from khotool.records import dataclass

Array = np.ndarray[Any, Any]
LEAK = "preserved, no owner"
UNPRESERVED = "referenced, not preserved"
SCRATCH = "scratch"
OTHERS = "other owners"
MAX_GROUPS = 10
MAX_CELLS = 3000
GAP_CELLS = 64
"""Empty cells in a row from which on a gap is folded."""


@dataclass(frozen=True, slots=True)
class Group:
    """Ranges drawn in one colour.

    Args:
        name: owner as a person would call it, or one of the constants here.
        ranges: (n, 2) uint64 physical start and end in bytes, ascending, disjoint.
    """

    name: str
    ranges: Array

    @property
    def size(self) -> int:
        """Bytes in all."""
        return int((self.ranges[:, 1] - self.ranges[:, 0]).sum()) if len(self.ranges) else 0


@dataclass(frozen=True, slots=True)
class Window:
    """Neighbouring cells between two folded gaps.

    Args:
        start: physical address of the first cell.
        group: for each cell the index of the group that holds most of it, -1 for none.
        filled: part of each cell that any group holds, 0 to 1.
    """

    start: int
    group: list[int]
    filled: list[float]


@dataclass(frozen=True, slots=True)
class Cells:
    """The picture: groups, bytes of a cell, and windows in ascending order."""

    groups: list[Group]
    size: int
    windows: list[Window]


def owner_group(path: str) -> str:
    """The part of the handover that an owner belongs to: its session, region or entry."""
    steps = parse_path(path) if path != "/" else []
    if not steps:
        return "KHO root"
    kept = [steps[0]]
    if steps[0].text == "LUO" and len(steps) > 2 and steps[2].is_key:
        return f"session {steps[2].text}"
    if len(steps) > 2 and steps[2].is_key:
        return f"{steps[0].text} {steps[2].text}"
    return kept[0].text


def groups_of(image: Image) -> list[Group]:
    """Owners by size, the largest on their own, then leaks, dangling references, scratch."""
    owned = image.ownership()
    groups: list[Group] = []
    if owned is not None:
        page = np.uint64(image.geometry.page_size)
        names = [owner_group(path) for path in owned.owners]
        index = {name: number for number, name in enumerate(dict.fromkeys(names))}
        of_owner = np.array([index[name] for name in names], np.int64)
        sizes = np.bincount(of_owner, owned.pages_by_owner()[1:], len(index))
        order = sorted(index, key=lambda name: (-int(sizes[index[name]]), name))
        shown = [*order[:MAX_GROUPS], OTHERS, LEAK]
        place = {name: at for at, name in enumerate(order[:MAX_GROUPS])}
        # Pages without an owner have the owner -1, which is the last place.
        group_of = np.array([*(place.get(n, len(place)) for n in names), len(shown) - 1], np.int64)
        groups += map(Group, shown, _ranges_by(owned, group_of, len(shown), page))
        lost = owned.unpreserved
        ends = lost.start + lost.pages.astype(np.uint64) * page
        groups.append(Group(UNPRESERVED, np.stack([lost.start, ends], axis=1)))
    if not isinstance(image.scratch, Absent):
        spans = sorted((span.address, span.end) for span in image.scratch.areas)
        groups.append(Group(SCRATCH, np.array(spans, np.uint64).reshape(-1, 2)))
    return [group for group in groups if group.size]


def _ranges_by(owned: Ownership, group_of: Array, groups: int, page: np.uint64) -> list[Array]:
    """Byte ranges of each group of owners, ascending; what touches is one range."""
    found: list[list[Array]] = [[np.zeros((0, 2), np.uint64)] for _ in range(groups)]
    for rows in owned.pieces():
        group = group_of[rows.owner]
        end = rows.start + rows.pages.astype(np.uint64) * page
        head, tail = joints(rows.start.view(np.int64), end.view(np.int64), (group,))
        table = np.stack([rows.start[head], end[tail]], axis=1)
        group = group[head]
        for number in np.flatnonzero(np.bincount(group)).tolist():
            found[number].append(table[group == number])
    return [np.concatenate(parts) for parts in found]


def cells_of(image: Image) -> Cells:
    """The picture of an image; no windows where nothing is known to be anywhere."""
    groups = groups_of(image)
    if not groups:
        return Cells([], image.geometry.page_size, [])
    size = image.geometry.page_size
    # Those of a group are ascending already, so that a stable sort has little to do.
    ranges = np.sort(np.concatenate([group.ranges for group in groups]), axis=0, kind="stable")
    # Numbers of the cells that any group touches: the first of each range, and the one past it.
    ends = (ranges[:, 1] - np.uint64(1)) // np.uint64(size) + np.uint64(1)
    low, high = merge_columns(ranges[:, 0] // np.uint64(size), ends)
    while int((high - low).sum()) > MAX_CELLS:
        size *= 2
        low, high = merge_columns(low >> np.uint64(1), (high + np.uint64(1)) >> np.uint64(1))
    starts = expand(low.astype(np.int64), high.astype(np.int64))
    windows = []
    breaks = np.flatnonzero(np.diff(starts) > GAP_CELLS) + 1
    for part in np.split(starts, breaks):
        first, last = int(part[0]), int(part[-1]) + 1
        edges = np.arange(first, last + 1, dtype=np.float64) * size
        held = np.stack([_held(group.ranges, edges) for group in groups])
        best = held.argmax(axis=0)
        # What is wrong is seen even where it is the smallest part of a cell.
        for number, group in enumerate(groups):
            if group.name in (LEAK, UNPRESERVED):
                best = np.where(held[number] > 0, number, best)
        total = held.sum(axis=0)
        best = np.where(total > 0, best, -1)
        windows.append(Window(first * size, best.tolist(), np.minimum(total / size, 1).tolist()))
    return Cells(groups, size, windows)


def _held(ranges: Array, edges: Array) -> Array:
    """Bytes of ``ranges`` between neighbouring edges."""
    start = ranges[:, 0].astype(np.float64)
    length = (ranges[:, 1] - ranges[:, 0]).astype(np.float64)
    before = np.concatenate(([0.0], np.cumsum(length)))
    row = np.searchsorted(start, edges, side="right") - 1
    inside = np.where(row >= 0, np.minimum(edges - start[row], length[row]), 0.0)
    below = np.where(row >= 0, before[np.maximum(row, 0)] + inside, 0.0)
    return np.diff(below)
