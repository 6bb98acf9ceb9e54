"""What decoding looked at and could not explain: a copy of a damaged image needs it, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.abi.definition import Field, Shape
from khotool.maps.preserved import PreservedMap
from khotool.model.image import UNPLACED, Image, Span
from khotool.model.node import Table
from khotool.pages.runs import contains, normalise

if TYPE_CHECKING:
    from khotool.pages.runs import Ranges

MOST = 16 << 20
"""Bytes that are kept of one image; a damaged map may have led anywhere."""
LARGEST = 1 << 20
"""Bytes of one read at most; what is larger is not metadata."""
PAYLOAD = frozenset({Shape.FOLIO, Shape.RANGE, Shape.OPAQUE})


def looked_at(image: Image, reads: Iterable[tuple[int, int]]) -> list[Span]:
    """Reads whose bytes no region explains, in an image that has findings.

    A tree that is none, a node of the map out of order, the target of a pointer that told one
    format from another: without them a copy would say "not captured" instead.
    Payload is left out, whatever else leads to it.

    Args:
        reads: physical address and bytes of each, ascending.
    """
    if not image.findings:
        return []
    spans = _ranges((a, n) for a, n in reads if n <= LARGEST)
    regions = (extent for region in image.regions for extent in region.extents())
    spans = spans[~contains(normalise(_ranges(regions)), spans[:, 0])]
    payload = payload_of(image)
    page = np.uint64(image.geometry.page_size)
    hit = contains(payload, spans[:, 0] // page * page)
    hit |= contains(payload, (spans[:, 1] - np.uint64(1)) // page * page)
    kept = normalise(spans[~hit])
    kept = kept[np.cumsum(kept[:, 1] - kept[:, 0]) <= MOST]
    return [Span(start, end - start) for start, end in kept.tolist()]


def _ranges(extents: Iterable[tuple[int, int]]) -> Ranges:
    """Ranges of addresses and sizes; those of blobs without a place are left out."""
    rows = [(a, a + n) for a, n in extents if n > 0 and a + n < UNPLACED]
    return np.array(rows, np.uint64).reshape(-1, 2)


def payload_of(image: Image) -> Ranges:
    """Memory that pointers to payload lead to: normalised ranges of whole blocks."""
    starts: list[Any] = [np.empty(0, np.uint64)]
    spans = []
    for node in image.tree.walk():
        if node.table is not None:
            starts += _columns(image, node.table)
        elif node.target is not None and leads_to_payload(node.field):
            spans.append((node.target.address, node.target.size))
    first = np.concatenate(starts)
    size = np.full(len(first), image.geometry.page_size, np.uint64)
    if isinstance(image.map, PreservedMap):
        blocks, orders = image.map.blocks.blocks_of(first)
        known = orders >= 0
        first = np.where(known, blocks, first)
        size <<= np.maximum(orders, 0).astype(np.uint64)
    rows = np.stack([first, np.maximum(first + size, first)], axis=1)
    return normalise(np.concatenate([rows, _ranges(spans)]))


def _columns(image: Image, table: Table) -> Iterator[Any]:
    """Physical addresses, uint64, of the payload that the rows of a table point to."""
    for field in filter(leads_to_payload, table.fields()):
        column = table.column(field.label)
        column = column[column != 0]
        yield column << np.uint64(image.geometry.page_shift) if field.role == "pfn" else column


def leads_to_payload(field: Field | None) -> bool:
    """True for a pointer to memory that is handed over as it is."""
    return field is not None and field.points_to is not None and field.points_to.shape in PAYLOAD
