"""What decoding looked at and could not explain: a copy of a damaged image needs it, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.abi.definition import Shape
from khotool.maps.preserved import PreservedMap
from khotool.model.image import UNPLACED, Image, Span
from khotool.model.node import Table, leads_to
from khotool.pages.runs import contains, normalise

if TYPE_CHECKING:
    from khotool.pages.runs import Ranges

MOST = 16 << 20
"""Bytes that are kept of one image; a damaged map may have led anywhere."""
LARGEST = 1 << 20
"""Bytes of one read at most; what is larger is not metadata."""
ROWS = 1 << 18
"""Rows of a table that are looked at together."""
U64 = np.ndarray[Any, np.dtype[np.uint64]]
PAYLOAD = frozenset({Shape.FOLIO, Shape.RANGE, Shape.OPAQUE})


def looked_at(image: Image, reads: Iterable[tuple[int, int]]) -> list[Span]:
    """Reads whose bytes no region explains, in an image that has findings.

    What is not a tree, a node of the map out of order, the target of a pointer that distinguishes
    formats: without them a copy would say "not captured" instead.
    Payload is left out, whatever else leads to it.

    Args:
        reads: physical address and bytes of each, ascending.
    """
    if not image.findings:
        return []
    spans = _ranges((a, n) for a, n in reads if n <= LARGEST)
    regions = (extent for region in image.regions for extent in region.extents())
    explained, page = normalise(_ranges(regions)), np.uint64(image.geometry.page_size)
    # A read that begins in a region needs its further pages, which may hold no region.
    begun = contains(explained, spans[:, 0])
    spans[begun, 0] += page - spans[begun, 0] % page
    spans = spans[(spans[:, 0] < spans[:, 1]) & ~contains(explained, spans[:, 0])]
    if not len(spans):
        return []
    hit = is_payload(image, spans[:, 0]) | is_payload(image, spans[:, 1] - np.uint64(1))
    kept = normalise(spans[~hit])
    kept = kept[np.cumsum(kept[:, 1] - kept[:, 0]) <= MOST]
    return [Span(start, end - start) for start, end in kept.tolist()]


def _ranges(extents: Iterable[tuple[int, int]]) -> Ranges:
    """Ranges of addresses and sizes; those of blobs without a place are left out."""
    rows = [(a, a + n) for a, n in extents if n > 0 and a + n < UNPLACED]
    return np.array(rows, np.uint64).reshape(-1, 2)


def is_payload(image: Image, addresses: U64) -> Any:
    """Which addresses are in memory that a pointer to payload leads to.

    Args:
        addresses: uint64 (n,), physical addresses in bytes, few beside the rows of an image.

    Returns:
        bool (n,): true for every address in a block, or outside the map in a page, of payload.
    """
    page = np.uint64(image.geometry.page_size)
    first, size = addresses // page * page, np.full(len(addresses), page)
    if isinstance(image.map, PreservedMap) and len(addresses):
        blocks, orders = image.map.blocks.blocks_of(addresses)
        first = np.where(orders >= 0, blocks, first)
        size <<= np.maximum(orders, 0).astype(np.uint64)
    starts, place = np.unique(first, return_inverse=True)
    ends = np.zeros(len(starts), np.uint64)
    np.maximum.at(ends, place, first + size)
    hit = np.zeros(len(starts), bool)
    if not len(starts):
        return hit
    for node in image.tree.walk():
        if node.table is not None:
            for targets in _columns(image, node.table):
                row = np.searchsorted(starts, targets, side="right") - 1
                row = row[(row >= 0) & (targets < ends[row])]
                hit[row] = True
        elif node.target is not None and leads_to(node.field, *PAYLOAD):
            low, high = node.target.address, node.target.end
            hit |= (starts < np.uint64(min(high, UNPLACED))) & (ends > np.uint64(low))
    return hit[place]


def _columns(image: Image, table: Table) -> Iterator[U64]:
    """Physical addresses of the payload that the rows of a table point to, some rows at a time."""
    for field in table.pointers(*PAYLOAD):
        for start in range(0, len(table), ROWS):
            column = table.column(field.label, slice(start, start + ROWS))
            column = column[column != 0]
            yield column << np.uint64(image.geometry.page_shift) if field.role == "pfn" else column
