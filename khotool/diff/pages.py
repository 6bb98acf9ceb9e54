"""Compare preserved memory: pages of each owner, ranges, scratch areas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from khotool.absent import Absent
from khotool.diff.changes import Change, ChangeKind, Comparison, DiffOptions, OwnerChange
from khotool.model.image import Image
from khotool.pages.runs import subtract

MOST_RANGES = 100_000


def compare_pages(
    old: Image,
    new: Image,
    renamed: dict[str, str],
    comparable: Callable[[str | None], bool],
    shown: Callable[[str], bool],
    result: Comparison,
    options: DiffOptions,
) -> None:
    """Fill in totals, owners and ranges.

    Args:
        renamed: paths of the second image that have another one in the first.
        comparable: tells which owners have all of their memory in both images.
        shown: tells which owners are reported.
    """
    if isinstance(old.map, Absent) or isinstance(new.map, Absent):
        for side, image in (("first", old), ("second", new)):
            if isinstance(image.map, Absent):
                result.notes.append(
                    f"preserved pages are not compared: the map is {image.map.reason} in the "
                    f"{side} image"
                )
        return
    result.totals = old.map.blocks.pages, new.map.blocks.pages
    a, b = pages_by_owner(old, {}), pages_by_owner(new, renamed)
    for path in sorted(a.keys() | b.keys(), key=lambda path: path or ""):
        before, after = a.get(path, 0), b.get(path, 0)
        if before != after and comparable(path) and shown(path or "/"):
            result.owners.append(OwnerChange(path, before, after))
    if options.pages or options.addresses:
        left, right = old.map.blocks.ranges(), new.map.blocks.ranges()
        result.removed = _ranges(subtract(left, right))
        result.added = _ranges(subtract(right, left))
        if MOST_RANGES in (len(result.removed), len(result.added)):
            result.notes.append(f"only the first {MOST_RANGES} ranges are listed")


def pages_by_owner(image: Image, renamed: dict[str, str]) -> dict[str | None, int]:
    """Preserved pages of each owner; None for those without."""
    ownership = image.ownership()
    if ownership is None:
        return {}
    count = ownership.pages_by_owner()
    pages: dict[str | None, int] = {None: int(count[0])} if count[0] else {}
    for path, number in zip(ownership.owners, count[1:].tolist(), strict=True):
        name = _old_path(path, renamed)
        if number:
            pages[name] = pages.get(name, 0) + number
    return pages


def _old_path(path: str, renamed: dict[str, str]) -> str:
    at = len(path)
    while renamed and at > 0:
        if path[:at] in renamed:
            return renamed[path[:at]] + path[at:]
        at = max(path.rfind("/", 0, at), path.rfind("[", 0, at))
    return path


def _ranges(ranges: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> list[tuple[int, int]]:
    return [(start, end - start) for start, end in ranges[:MOST_RANGES].tolist()]


def compare_scratch(old: Image, new: Image, options: DiffOptions) -> list[Change]:
    """Scratch areas by position; nothing where one image does not tell them."""
    if isinstance(old.scratch, Absent) or isinstance(new.scratch, Absent):
        return []
    a, b = old.scratch.areas, new.scratch.areas
    changes = []
    for index in range(max(len(a), len(b))):
        path = f"/scratch[{index}]"
        if index >= len(b):
            text = (f"{a[index].size} bytes", "")
            changes.append(Change(ChangeKind.REMOVED, path, {"size": a[index].size}, None, text))
        elif index >= len(a):
            text = ("", f"{b[index].size} bytes")
            changes.append(Change(ChangeKind.ADDED, path, None, {"size": b[index].size}, text))
        else:
            if a[index].size != b[index].size:
                sizes = a[index].size, b[index].size
                shown = (str(sizes[0]), str(sizes[1]))
                changes.append(Change(ChangeKind.CHANGED, f"{path}/size", *sizes, shown))
            if options.addresses and a[index].address != b[index].address:
                places = hex(a[index].address), hex(b[index].address)
                where = f"{path}/address"
                changes.append(Change(ChangeKind.CHANGED, where, *places, places))
    return changes
