"""A picture of physical memory as cells: which owner holds most of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from khotool.absent import Absent
from khotool.model.image import Image
from khotool.model.path import parse_path
from khotool.pages.frames import expand
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
class Total:
    """A group by its name, and the bytes that it has."""

    name: str
    size: int


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

    groups: list[Total]
    size: int
    windows: list[Window]


class Layer:
    """Ranges with the sum of bytes below each.

    Args:
        ranges: (n, 2) uint64 physical start and end in bytes, ascending, disjoint.
    """

    def __init__(self, ranges: Array) -> None:
        self.start = ranges[:, 0].astype(np.float64)
        self.length = (ranges[:, 1] - ranges[:, 0]).astype(np.float64)
        self.before = np.concatenate(([0.0], np.cumsum(self.length)))

    def held(self, edges: Array) -> Array:
        """Bytes between neighbouring edges."""
        if not len(self.start):
            return np.zeros(len(edges) - 1)
        row = np.searchsorted(self.start, edges, side="right") - 1
        at = np.maximum(row, 0)
        inside = np.minimum(edges - self.start[at], self.length[at])
        return np.diff(np.where(row >= 0, self.before[at] + inside, 0.0))


def largest(held: Array, names: list[str], size: int) -> tuple[Array, Array]:
    """The group that holds most of each cell, -1 for none, and the part of it that any holds.

    Args:
        held: bytes of each group (rows) in each cell (columns).
        names: of the groups.
        size: bytes of a cell.
    """
    total = held.sum(axis=0)
    best = np.where(total > 0, held.argmax(axis=0), -1)
    # What is wrong is seen even where it is the smallest part of a cell.
    for number, name in enumerate(names):
        if name in (LEAK, UNPRESERVED):
            best = np.where(held[number] > 0, number, best)
    return best, np.minimum(total / size, 1.0)


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
    names = _names(image)
    found: list[list[Array]] = [[np.zeros((0, 2), np.uint64)] for _ in names.shown]
    for number, ranges in _parts(image, names):
        found[number].append(ranges)
    groups = [Group(*one) for one in zip(names.shown, map(np.concatenate, found), strict=True)]
    return [group for group in groups if group.size]


@dataclass(frozen=True, slots=True)
class _Names:
    """What may be drawn.

    Args:
        shown: names of the groups.
        of_owner: int64, group of each owner, and in the last place that of no owner.
    """

    shown: list[str]
    of_owner: Array


def _names(image: Image) -> _Names:
    owned = image.ownership()
    if owned is None:
        return _Names([SCRATCH], np.zeros(0, np.int64))
    names = [owner_group(path) for path in owned.owners]
    index = {name: number for number, name in enumerate(dict.fromkeys(names))}
    of_owner = np.array([index[name] for name in names], np.int64)
    sizes = np.bincount(of_owner, owned.pages_by_owner()[1:], len(index))
    order = sorted(index, key=lambda name: (-int(sizes[index[name]]), name))
    first = order[:MAX_GROUPS]
    place = {name: at for at, name in enumerate(first)}
    # Pages without an owner have the owner -1, which is the last place.
    group_of = [*(place.get(name, len(first)) for name in names), len(first) + 1]
    return _Names([*first, OTHERS, LEAK, UNPRESERVED, SCRATCH], np.array(group_of, np.int64))


def _parts(image: Image, names: _Names) -> Iterator[tuple[int, Array]]:
    """Number of a group and some of its byte ranges, ascending for each group.

    What touches in a part is one range. None of it is kept.
    """
    owned = image.ownership()
    if owned is not None:
        page = np.uint64(image.geometry.page_size)
        for rows in owned.pieces():
            group = names.of_owner[rows.owner]
            end = rows.start + rows.pages.astype(np.uint64) * page
            head, tail = joints(rows.start.view(np.int64), end.view(np.int64), (group,))
            table = np.stack([rows.start[head], end[tail]], axis=1)
            group = group[head]
            for number in np.flatnonzero(np.bincount(group)).tolist():
                yield number, table[group == number]
        lost = owned.unpreserved
        if len(lost):
            ends = lost.start + lost.pages.astype(np.uint64) * page
            yield names.shown.index(UNPRESERVED), np.stack([lost.start, ends], axis=1)
    if not isinstance(image.scratch, Absent) and image.scratch.areas:
        spans = sorted((span.address, span.end) for span in image.scratch.areas)
        yield len(names.shown) - 1, np.array(spans, np.uint64)


def cells_of(image: Image) -> Cells:
    """The picture of an image; no windows where nothing is known to be anywhere.

    The ranges are looked at twice and never kept, as fragmented memory has millions.
    """
    names = _names(image)
    sizes = [0] * len(names.shown)
    size = image.geometry.page_size
    # Numbers of the cells that any group touches: the first of each range, and the one past it.
    low = high = np.zeros(0, np.uint64)
    for number, ranges in _parts(image, names):
        sizes[number] += int((ranges[:, 1] - ranges[:, 0]).sum())
        ends = (ranges[:, 1] - np.uint64(1)) // np.uint64(size) + np.uint64(1)
        first = np.concatenate([low, ranges[:, 0] // np.uint64(size)])
        low, high = merge_columns(first, np.concatenate([high, ends]))
        while int((high - low).sum()) > MAX_CELLS:
            size *= 2
            low, high = merge_columns(low >> np.uint64(1), (high + np.uint64(1)) >> np.uint64(1))
    kept = [number for number, held in enumerate(sizes) if held]
    if not kept:
        return Cells([], image.geometry.page_size, [])
    starts = expand(low.astype(np.int64), high.astype(np.int64))
    breaks = np.flatnonzero(np.diff(starts) > GAP_CELLS) + 1
    edges = [
        np.arange(int(part[0]), int(part[-1]) + 2, dtype=np.float64) * size
        for part in np.split(starts, breaks)
    ]
    held = [np.zeros((len(names.shown), len(edge) - 1)) for edge in edges]
    for number, ranges in _parts(image, names):
        for edge, sums in zip(edges, held, strict=True):
            near = np.searchsorted(ranges[:, 0], edge[[0, -1]].astype(np.uint64))
            inside = ranges[max(int(near[0]) - 1, 0) : int(near[1])]
            if len(inside):
                sums[number] += Layer(inside).held(edge)
    totals = [Total(names.shown[number], sizes[number]) for number in kept]
    windows = [
        _window(int(edge[0]), sums[kept], totals, size)
        for edge, sums in zip(edges, held, strict=True)
    ]
    return Cells(totals, size, windows)


def _window(start: int, held: Array, groups: list[Total], size: int) -> Window:
    """A window of which ``held`` has the bytes of each group (rows) in each cell (columns)."""
    best, filled = largest(held, [group.name for group in groups], size)
    return Window(start, best.tolist(), filled.tolist())
