"""Preserved memory by session, handler, owner or entry: how much, and for what."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from khotool.model.image import UNPLACED, Image
from khotool.pages.runs import intersect_columns, merge_columns
from khotool.records import dataclass, field
from khotool.view.luo import Luo

Frames = NDArray[np.int64]


class By(StrEnum):
    """What memory is added up by."""

    SESSION = "session"
    HANDLER = "handler"
    OWNER = "owner"
    ENTRY = "entry"


@dataclass(slots=True)
class Usage:
    """Preserved memory of one session, handler, owner or entry.

    Args:
        name: untrusted text; None for memory that belongs to none.
        folios: preserved blocks.
        pages: distinct preserved pages.
        metadata: of these, pages with records, lists and trees; the others are payload.
    """

    name: str | None
    folios: int = 0
    pages: int = 0
    metadata: int = 0

    @property
    def payload(self) -> int:
        """Pages with the contents of files and regions."""
        return self.pages - self.metadata


@dataclass(slots=True)
class _Below:
    """Names by path, for what is below one of the paths; paths are not below each other."""

    names: dict[str, str]
    paths: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.paths = sorted(self.names)

    def find(self, path: str) -> str | None:
        """The name of the path that is, or is above, this one."""
        at = bisect_right(self.paths, path) - 1
        top = self.paths[at] if at >= 0 else ""
        below = top and (path == top or path[len(top) : len(top) + 1] in ("/", "["))
        return self.names[top] if below and path.startswith(top) else None


def usage(image: Image, by: By) -> list[Usage] | None:
    """Preserved memory in groups, the largest first; None where the map is absent.

    A page with several owners counts for the first of them.
    """
    found = image.ownership()
    if found is None:
        return None
    names = [*_names(image, found.owners, by), None]
    number = {name: at for at, name in enumerate(dict.fromkeys(names))}
    # Pages without an owner have the owner -1, which is the last place.
    of_owner = np.array([number[name] for name in names], np.int64)
    spans = _metadata(image)
    totals = np.zeros((3, len(number)), np.int64)
    for rows in found.pieces():
        group = of_owner[rows.owner]
        first = (rows.start >> np.uint64(found.blocks.page_shift)).astype(np.int64)
        folios = -(-rows.pages >> rows.order)
        metadata = _within(spans, first, rows.pages)
        for total, counts in zip(totals, (folios, rows.pages, metadata), strict=True):
            total += np.bincount(group, counts, len(number)).astype(np.int64)
    groups = [Usage(name, *counts) for name, counts in zip(number, totals.T.tolist(), strict=True)]
    used = [group for group in groups if group.pages]
    return sorted(used, key=lambda group: (-group.pages, group.name or ""))


def _names(image: Image, owners: list[str], by: By) -> Iterator[str | None]:
    """The group of each owner."""
    if by is By.OWNER:
        yield from owners
        return
    below = _Below(dict(_tops(image, by)))
    for path in owners:
        yield below.find(path)


def _tops(image: Image, by: By) -> Iterator[tuple[str, str]]:
    """Paths, and the name of what is at and below each."""
    luo = Luo(image)
    if by is By.ENTRY:
        yield from ((entry.path, entry.name) for entry in image.entries)
    elif by is By.SESSION:
        yield from ((session.path, session.path) for session in luo.sessions)
    else:
        yield from ((file.path, str(file.handler)) for file in luo.all_files())
        yield from ((flb.path, str(flb.name)) for flb in luo.flbs)


def _metadata(image: Image) -> tuple[Frames, Frames]:
    """Page frames of metadata: the first of each range, and the one past its end."""
    page = image.geometry.page_size
    spans = [
        (address // page, -(-(address + size) // page))
        for region in image.regions
        for address, size in region.extents()
        if address < UNPLACED and size
    ]
    both = np.array(spans, np.int64).reshape(-1, 2)
    return merge_columns(both[:, 0], both[:, 1])


def _within(spans: tuple[Frames, Frames], first: Frames, pages: Frames) -> Frames:
    """Pages of each range that lie in spans."""
    counts = np.zeros(first.size, np.int64)
    low, high, row, _ = intersect_columns(first, first + pages, *spans)
    np.add.at(counts, row, high - low)
    return counts
