"""Compare preserved memory: pages of each owner, ranges, scratch areas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from khotool.absent import Absent
from khotool.diff.changes import Change, ChangeKind, Comparison, DiffOptions, OwnerChange
from khotool.diff.gaps import not_compared
from khotool.diff.paths import PathFilter
from khotool.model.image import Image, Span
from khotool.model.path import paths_above
from khotool.pages.runs import subtract
from khotool.view.memory import memory_of

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
        renamed: paths of the second image whose path in the first one differs.
        comparable: whether both images show all memory of an owner.
        shown: whether an owner is reported.
    """
    memories = memory_of(old), memory_of(new)
    first, second = memories
    if isinstance(first, Absent) or isinstance(second, Absent):
        # The pointer to the map may lead nowhere; the absent value has the reason.
        lost = [found.reason if isinstance(found, Absent) else None for found in memories]
        kept = [gap for gap in result.not_compared if gap.path != MAP]
        result.not_compared = [*kept, not_compared(MAP, *lost)] if shown.whole(MAP) else kept
        return
    result.totals = first.pages, second.pages
    owners = _owners(first.pages_by_owner, _renamed(second.pages_by_owner, renamed))
    result.owners = [one for one in owners if comparable(one.path) and shown(one.path or "/")]
    if options.pages or options.addresses:
        result.removed = _ranges(subtract(first.ranges, second.ranges))
        result.added = _ranges(subtract(second.ranges, first.ranges))
        result.more_ranges = MOST_RANGES in (len(result.removed), len(result.added))


def _owners(a: dict[str | None, int], b: dict[str | None, int]) -> Iterator[OwnerChange]:
    for path in sorted(a.keys() | b.keys(), key=lambda path: path or ""):
        before, after = a.get(path, 0), b.get(path, 0)
        if before != after:
            yield OwnerChange(path, before, after)


def _renamed(pages: dict[str | None, int], renamed: dict[str, str]) -> dict[str | None, int]:
    """Pages of owners by their path in the first image."""
    found: dict[str | None, int] = {}
    for path, number in pages.items():
        name = None if path is None else _old_path(path, renamed)
        found[name] = found.get(name, 0) + number
    return found


def _old_path(path: str, renamed: dict[str, str]) -> str:
    above = (path, *reversed(paths_above(path))) if renamed else ()
    found = next((one for one in above if one in renamed), None)
    return path if found is None else renamed[found] + path[len(found) :]


def _ranges(ranges: NDArray[np.uint64]) -> list[tuple[int, int]]:
    return [(start, end - start) for start, end in ranges[:MOST_RANGES].tolist()]


def compare_scratch(
    old: Image, new: Image, shown: PathFilter, result: Comparison, options: DiffOptions
) -> None:
    """Scratch areas by position, where both images have them.

    They are boot data and not part of the handover: most captures lack them and are complete.
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
