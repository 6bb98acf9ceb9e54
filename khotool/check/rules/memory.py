"""Who owns what: leaks, dangling references, double owners, scratch, impossible blocks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from khotool.absent import Absent
from khotool.check.context import Context
from khotool.model.image import Image, Phase
from khotool.pages.owners import DoubleOwned
from khotool.pages.runs import TOP, intersect

PHYSICAL_END = 1 << 52
MAX_PAGE_ORDER = {4096: 10, 16384: 11, 65536: 13}
SETTLED = (Phase.FROZEN, Phase.FINALIZED, Phase.INCOMING)
"""Phases in which every page has found its place; before, producers are still at work."""


def check_ownership(context: Context) -> None:
    """Owners against the map."""
    image = context.image
    owned = image.ownership()
    if owned is None or image.phase not in SETTLED:
        context.skip("MEM302", "/", f"phase {image.phase} has no whole map of preserved pages")
        return
    page = image.geometry.page_size
    by_owner: dict[int, tuple[int, int]] = {}
    lost = owned.unpreserved
    for start, pages, owner in zip(
        lost.start.tolist(), lost.pages.tolist(), lost.owner.tolist(), strict=True
    ):
        first, total = by_owner.get(owner, (start, 0))
        by_owner[owner] = (first, total + pages)
    for owner, (start, pages) in by_owner.items():
        text = f"{pages} pages are referenced but not preserved, the first at {start:#x}"
        context.report("MEM302", owned.owners[owner], text, start, pages=pages)
    doubles = owned.double_owned
    pairs = _pairs(doubles) if not ranges_are_bytes(image) or shared_bytes(image) else {}
    for (first, second), (pages, start) in pairs.items():
        text = f"{pages} pages belong to {owned.owners[second]} too, the first at {start:#x}"
        context.report("MEM303", owned.owners[first], text, start, pages=pages)
    _leaks(context, page)


def ranges_are_bytes(image: Image) -> bool:
    """True where what is preserved are ranges of bytes, so that owners can share a page."""
    definition = image.registry.definitions.get(image.tree.format)
    return definition is not None and bool(definition.ranges)


def shared_bytes(image: Image) -> bool:
    """True if two owners claim the same byte."""
    claims = image.claims.build().flat(image.geometry.page_shift)
    order = np.argsort(claims.start, kind="stable")
    start, end, owner = claims.start[order], claims.end[order], claims.owner[order]
    reach = np.maximum.accumulate(end)
    farthest = np.maximum.accumulate(np.where(end == reach, np.arange(len(end)), 0))
    meets = start[1:] < reach[:-1]
    return bool((meets & (owner[1:] != owner[farthest[:-1]])).any())


def _pairs(doubles: DoubleOwned) -> dict[tuple[int, int], tuple[int, int]]:
    pairs: dict[tuple[int, int], tuple[int, int]] = {}
    rows = zip(
        doubles.first.tolist(),
        doubles.second.tolist(),
        doubles.pages.tolist(),
        doubles.start.tolist(),
        strict=True,
    )
    for first, second, pages, start in rows:
        total, at = pairs.get((first, second), (0, start))
        pairs[first, second] = (total + pages, at)
    return pairs


def _leaks(context: Context, page: int) -> None:
    owned = context.image.ownership()
    assert owned is not None
    if not owned.unowned_pages:
        return
    ranges = owned.ranges
    free = np.flatnonzero(ranges.owner < 0)
    if not len(free):
        return
    nodes = context.image.tree.walk()
    unknown = [node for node in nodes if node.state is not None and node.state.is_unknown]
    if unknown:
        text = (
            f"{owned.unowned_pages} preserved pages have no owner; they may belong to "
            f"{unknown[0].path}, whose format is unknown"
        )
        context.report("MEM307", unknown[0], text, int(ranges.start[free[0]]))
        return
    for row in free.tolist():
        start, pages = int(ranges.start[row]), int(ranges.pages[row])
        text = f"{start:#x}-{start + pages * page - 1:#x}, {pages} pages, belong to nothing"
        context.report("MEM305", "/memory_map", text, start, pages=pages)


def check_blocks(context: Context) -> None:
    """Blocks that overlap, lie nowhere, or are larger than the kernel's own."""
    found = context.image.map
    if isinstance(found, Absent):
        return
    blocks = found.blocks
    if blocks.overlapping:
        text = "blocks of different orders cover the same pages"
        context.report("MEM308", "/memory_map", text)
    if not blocks.clipped:
        # Single pages beyond the end are the bitmaps near it; any other need not be listed.
        blocks = blocks.near(np.array([[PHYSICAL_END, TOP]], np.uint64))
    end = blocks.end
    if (len(blocks) and bool((end > np.uint64(PHYSICAL_END)).any())) or blocks.clipped:
        at = int(blocks.start[np.argmax(end)]) if len(blocks) else 0
        text = f"a block ends beyond {PHYSICAL_END:#x}, the end of physical addresses"
        context.report("MEM318", "/memory_map", text, at)
    most = MAX_PAGE_ORDER.get(context.image.geometry.page_size, 10)
    large = [order for order in found.blocks.orders() if order > most]
    if large:
        text = f"blocks of order {max(large)}; the kernel's largest is {most}"
        context.report("MEM309", "/memory_map", text)


def check_scratch(context: Context) -> None:
    """Scratch areas themselves, and what is preserved inside them."""
    image = context.image
    scratch = image.scratch
    if isinstance(scratch, Absent):
        context.skip("MEM304", "/", scratch.detail)
        return
    page = image.geometry.page_size
    spans = sorted((span.address, span.end) for span in scratch.areas)
    for start, end in spans:
        if start % page or end % page or start == end:
            text = f"{start:#x}+{end - start:#x} is empty or not page aligned"
            context.report("MEM306", "/", text, start)
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            context.report("MEM306", "/", f"two areas share {start:#x}", start)
    if isinstance(image.map, Absent) or image.phase not in SETTLED:
        return
    areas = np.array(spans, np.uint64).reshape(-1, 2)
    inside = intersect(image.map.blocks.near(areas).ranges(), areas)
    for start, end in inside.tolist():
        text = f"{start:#x}-{end - 1:#x} is preserved inside scratch"
        context.report("MEM304", "/memory_map", text, start)
    pages = image.map.pages
    rows = np.stack([pages.address, pages.address + pages.size.astype(np.uint64)], axis=1)
    if len(rows) and len(intersect(rows[np.argsort(rows[:, 0])], areas)):
        context.report("MEM304", "/memory_map", "pages of the map itself lie inside scratch")
