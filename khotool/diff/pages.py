"""Compare preserved memory: pages of each owner, ranges, scratch areas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest

import numpy as np

from khotool.absent import Absent
from khotool.diff.changes import Change, ChangeKind, Comparison, DiffOptions, OwnerChange
from khotool.diff.gaps import not_compared
from khotool.diff.paths import PathFilter
from khotool.model.image import Image, Span
from khotool.pages.runs import subtract
from khotool.view.memory import pages_by_owner

MOST_RANGES = 100_000
MAP = "/memory_map"
SCRATCH = "/scratch"


def compare_pages(
    old: Image,
    new: Image,
    renamed: dict[str, str],
    comparable: Callable[[str | None], bool],
    shown: PathFilter,
    result: Comparison,
    options: DiffOptions,
) -> None:
    """Fill in totals, owners and ranges.

    Args:
        renamed: paths of the second image that have another one in the first.
        comparable: tells which owners have all of their memory in both images.
        shown: tells which owners are reported.
    """
    lost = [found.reason if isinstance(found, Absent) else None for found in (old.map, new.map)]
    if isinstance(old.map, Absent) or isinstance(new.map, Absent):
        # The pointer to the map may have led nowhere; this says why.
        kept = [gap for gap in result.not_compared if gap.path != MAP]
        result.not_compared = [*kept, not_compared(MAP, *lost)] if shown.whole(MAP) else kept
        return
    result.totals = old.map.blocks.pages, new.map.blocks.pages
    a, b = _by_owner(old, {}), _by_owner(new, renamed)
    for path in sorted(a.keys() | b.keys(), key=lambda path: path or ""):
        before, after = a.get(path, 0), b.get(path, 0)
        if before != after and comparable(path) and shown(path or "/"):
            result.owners.append(OwnerChange(path, before, after))
    if options.pages or options.addresses:
        left, right = old.map.blocks.ranges(), new.map.blocks.ranges()
        result.removed = _ranges(subtract(left, right))
        result.added = _ranges(subtract(right, left))
        result.more_ranges = MOST_RANGES in (len(result.removed), len(result.added))


def _by_owner(image: Image, renamed: dict[str, str]) -> dict[str | None, int]:
    """Preserved pages of each owner, by its path in the first image; None for those without."""
    ownership = image.ownership()
    pages: dict[str | None, int] = {}
    for path, number in ({} if ownership is None else pages_by_owner(ownership)).items():
        name = None if path is None else _old_path(path, renamed)
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


def compare_scratch(
    old: Image, new: Image, shown: PathFilter, result: Comparison, options: DiffOptions
) -> None:
    """Scratch areas by position, where both images tell them.

    They are boot data and not part of the handover: most captures are without, and are whole.
    """
    if isinstance(old.scratch, Absent) or isinstance(new.scratch, Absent):
        return
    pairs = zip_longest(old.scratch.areas, new.scratch.areas)
    changes = [
        change
        for index, (a, b) in enumerate(pairs)
        for change in _area(f"{SCRATCH}[{index}]", a, b, addresses=options.addresses)
    ]
    result.changes += [change for change in changes if shown(change.path)]


def _area(path: str, a: Span | None, b: Span | None, *, addresses: bool) -> Iterator[Change]:
    if a is None or b is None:
        kind = ChangeKind.REMOVED if b is None else ChangeKind.ADDED
        old, new = ({"size": area.size} if area is not None else None for area in (a, b))
        text = [f"{area.size} bytes" if area is not None else "" for area in (a, b)]
        yield Change(kind, path, old, new, (text[0], text[1]))
        return
    if a.size != b.size:
        shown = (str(a.size), str(b.size))
        yield Change(ChangeKind.CHANGED, f"{path}/size", a.size, b.size, shown)
    if addresses and a.address != b.address:
        places = hex(a.address), hex(b.address)
        yield Change(ChangeKind.CHANGED, f"{path}/address", *places, places)
