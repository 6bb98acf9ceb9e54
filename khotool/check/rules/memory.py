"""Who owns what: leaks, dangling references, double owners, scratch, impossible blocks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from khotool.absent import Absent
from khotool.check.context import Context
from khotool.check.rule import rule
from khotool.model.image import Image
from khotool.pages.owners import DoubleOwned
from khotool.pages.runs import TOP, intersect

PHYSICAL_END = 1 << 52
MAX_PAGE_ORDER = {4096: 10, 16384: 11, 65536: 13}


@rule("MEM302", "MEM303", "MEM305", "MEM307", needs=("map", "settled"))
def check_ownership(context: Context) -> None:
    """Owners against the map."""
    image = context.image
    owned = image.ownership()
    if owned is None:
        return
    by_owner: dict[int, tuple[int, int]] = {}
    lost = owned.unpreserved
    columns = (lost.start, lost.pages, lost.owner)
    for start, pages, owner in zip(*(c.tolist() for c in columns), strict=True):
        first, total = by_owner.get(owner, (start, 0))
        by_owner[owner] = (first, total + pages)
    for owner, (start, pages) in by_owner.items():
        number = counted(pages, "referenced page")
        text = f"{number} {be(pages)} not preserved, the first at {start:#x}"
        context.report("MEM302", owned.owners[owner], text, start, pages=pages)
    doubles = owned.double_owned
    pairs = _pairs(doubles) if not ranges_are_bytes(image) or shared_bytes(image) else {}
    for (first, second), (pages, start) in pairs.items():
        text = (
            f"{counted(pages, 'page')} also {'belongs' if pages == 1 else 'belong'} to "
            f"{owned.owners[second]}, the first at {start:#x}"
        )
        context.report("MEM303", owned.owners[first], text, start, pages=pages)
    _leaks(context)


def counted(number: int, noun: str) -> str:
    """A number and what it counts."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def have(number: int) -> str:
    """The verb to a number."""
    return "has" if number == 1 else "have"


def be(number: int) -> str:
    """The verb to a number."""
    return "is" if number == 1 else "are"


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
    """Pages that two owners share, and the first of them, by the owners."""
    pairs: dict[tuple[int, int], tuple[int, int]] = {}
    columns = (doubles.first, doubles.second, doubles.pages, doubles.start)
    for first, second, pages, start in zip(*(c.tolist() for c in columns), strict=True):
        total, at = pairs.get((first, second), (0, start))
        pairs[first, second] = (total + pages, at)
    return pairs


def _leaks(context: Context) -> None:
    owned = context.image.ownership()
    assert owned is not None
    if not owned.unowned_pages:
        return
    unknown = [node for node in context.nodes if node.state is not None and node.state.is_unknown]
    for part in owned.pieces():
        free = np.flatnonzero(part.owner < 0)
        if unknown and len(free):
            total = owned.unowned_pages
            text = (
                f"{counted(total, 'preserved page')} {have(total)} no owner; possibly part of "
                f"{unknown[0].path}, whose format is unknown"
            )
            context.report("MEM307", unknown[0], text, int(part.start[free[0]]))
            return
        listed = free[: context.room("MEM305")]
        for start, pages in zip(
            *(c[listed].tolist() for c in (part.start, part.pages)), strict=True
        ):
            text = f"{counted(pages, 'preserved page')} at {start:#x} {have(pages)} no owner"
            context.report("MEM305", "/memory_map", text, start, pages=pages)
        context.leave_out("MEM305", len(free) - len(listed))


@rule("MEM308", "MEM309", also=("MEM318",), needs=("map",))
def check_blocks(context: Context) -> None:
    """Blocks that overlap, lie nowhere, or are larger than the kernel's own."""
    found = context.image.map
    assert not isinstance(found, Absent)
    blocks = found.blocks
    if blocks.overlapping:
        context.report("MEM308", "/memory_map", "blocks of different orders cover the same pages")
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
        text = f"blocks of order {max(large)} exceed the kernel's largest, {most}"
        context.report("MEM309", "/memory_map", text)


@rule("MEM306", needs=("scratch",))
def check_scratch(context: Context) -> None:
    """Scratch areas by themselves."""
    page = context.image.geometry.page_size
    spans = scratch_spans(context.image)
    for start, end in spans:
        if start % page or end % page:
            context.report("MEM306", "/", f"{start:#x}+{end - start:#x} is not page aligned", start)
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            context.report("MEM306", "/", f"two areas share {start:#x}", start)


@rule("MEM304", needs=("scratch", "map", "settled"))
def check_inside_scratch(context: Context) -> None:
    """What is preserved inside scratch areas."""
    image = context.image
    assert not isinstance(image.map, Absent)
    areas = np.array(scratch_spans(image), np.uint64).reshape(-1, 2)
    inside = intersect(image.map.blocks.near(areas).ranges(), areas)
    for start, end in inside.tolist():
        text = f"{start:#x}-{end - 1:#x} is preserved inside scratch"
        context.report("MEM304", "/memory_map", text, start, bytes=end - start)
    pages = image.map.pages
    rows = np.stack([pages.address, pages.address + pages.size.astype(np.uint64)], axis=1)
    if len(rows) and len(intersect(rows[np.argsort(rows[:, 0])], areas)):
        context.report("MEM304", "/memory_map", "pages of the map itself lie inside scratch")


def scratch_spans(image: Image) -> list[tuple[int, int]]:
    """Start and end of the scratch areas, ascending; none where they are not known.

    An area that a kernel found no memory for is listed with 0 bytes, and is left out.
    """
    if isinstance(image.scratch, Absent):
        return []
    return sorted((span.address, span.end) for span in image.scratch.areas if span.size)
