"""Preserved memory by session, handler, owner or entry: how much, and for what."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import numpy as np

from khotool.model.image import UNPLACED, Image
from khotool.pages.runs import intersect_columns, merge_columns
from khotool.records import dataclass, field
from khotool.view.luo import Luo


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
    names = list(_names(image, found.owners, by))
    groups: dict[str | None, Usage] = {}
    rows: Any = found.ranges
    columns = zip(
        rows.owner.tolist(),
        rows.pages.tolist(),
        rows.order.tolist(),
        _metadata(image, rows).tolist(),
        strict=True,
    )
    for owner, pages, order, metadata in columns:
        name = names[owner] if owner >= 0 else None
        group = groups.setdefault(name, Usage(name))
        group.pages += pages
        group.metadata += metadata
        group.folios += -(-pages >> order)
    return sorted(groups.values(), key=lambda group: (-group.pages, group.name or ""))


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


def _metadata(image: Image, rows: Any) -> Any:
    """Pages of each range that hold metadata."""
    page = image.geometry.page_size
    spans = [
        (address // page, -(-(address + size) // page))
        for region in image.regions
        for address, size in region.extents()
        if address < UNPLACED and size
    ]
    counts = np.zeros(len(rows), np.int64)
    if not spans or not len(rows):
        return counts
    starts, ends = (np.array(column, np.int64) for column in zip(*spans, strict=True))
    first = (rows.start // np.uint64(page)).astype(np.int64)
    low, high, row, _ = intersect_columns(first, first + rows.pages, *merge_columns(starts, ends))
    np.add.at(counts, row, high - low)
    return counts
