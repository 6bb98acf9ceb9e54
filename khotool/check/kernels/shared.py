"""Folios that two owners name: which of the two is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from khotool.check.kernels.boot import Boot
from khotool.check.rules.payload import region_extent, region_nodes
from khotool.model.image import Image, Node
from khotool.model.region import MapRegion
from khotool.pages.owners import Ownership

U64 = NDArray[np.uint64]


ROWS = 16
"""Shared folios of one file that are looked at."""


def is_foreign(boot: Boot, folios: Node) -> bool:
    """True if a file that was given all its folios holds one that is another owner's.

    Args:
        folios: the table of the file.
    """
    owned = boot.image.ownership()
    if owned is None or not len(owned.double_owned) or folios.table is None:
        return False
    frames = folios.table.column("pfn")
    addresses = frames[frames != 0] << np.uint64(boot.image.geometry.page_shift)
    double = owned.double_owned
    place = np.searchsorted(double.start, addresses, side="right") - 1
    page = np.uint64(boot.image.geometry.page_size)
    ends = double.start + double.pages.astype(np.uint64) * page
    shared = (place >= 0) & (addresses < ends[np.maximum(place, 0)])
    for row in np.flatnonzero(shared).tolist()[:ROWS]:
        at = int(place[row])
        paths = {owned.owners[int(double.first[at])], owned.owners[int(double.second[at])]}
        for other in paths:
            if not folios.path.startswith(other) and _is_others(boot, owned, addresses, row, other):
                return True
    return False


def _is_others(boot: Boot, owned: Ownership, addresses: U64, row: int, other: str) -> bool:
    """True if a shared folio is more likely the other owner's."""
    address = int(addresses[row])
    leaks = owned.ranges.start[owned.ranges.owner < 0]
    node = tables(boot.image).get(other)
    if node is not None and node.table is not None:
        frames = node.table.column("pfn")
        rivals = frames[frames != 0] << np.uint64(boot.image.geometry.page_shift)
        rows = np.flatnonzero(rivals == np.uint64(address))
        return len(rows) > 0 and gain(addresses, row, leaks) > gain(rivals, int(rows[0]), leaks)
    region = next((r for r in region_nodes(boot.image) if r.path == other), None)
    if region is not None:
        return bool(region_extent(boot.context, region) == region.value_of("size"))
    page = boot.image.geometry.page_size
    # A count that is too large claims what is not its owner's: only what was read counts.
    return any(
        not isinstance(part, MapRegion)
        and part.path.startswith(other)
        and address <= start < address + page
        for part in boot.image.regions
        for start, _ in part.extents()
    )


def tables(image: Image) -> dict[str, Node]:
    """Folio tables by the path of the file that owns them."""
    luo = image.entry("LUO")
    found: dict[str, Node] = {}
    for node in luo.walk() if luo is not None else []:
        if node.table is not None and node.parent is not None and node.parent.parent is not None:
            found[node.parent.parent.path] = node
    return found


def gain(addresses: U64, row: int, leaks: U64) -> int:
    """How many bytes nearer to the rest of a file a page without owner is than one folio of it.

    Files are allocated in runs. Of two files that name one folio, the wrong one has lost its own,
    which then has no owner and lies near the others.
    """
    rest = np.sort(np.delete(addresses, row))
    if not len(rest) or not len(leaks):
        return 0
    return int(nearest(rest, addresses[row : row + 1])) - int(nearest(rest, leaks))


def nearest(places: U64, points: U64) -> int:
    """Smallest distance in bytes between sorted places and any of the points."""
    after = np.minimum(np.searchsorted(places, points), len(places) - 1)
    before = np.maximum(after - 1, 0)
    high = np.maximum(places[after], points) - np.minimum(places[after], points)
    low = np.maximum(places[before], points) - np.minimum(places[before], points)
    return int(np.minimum(high, low).min())
