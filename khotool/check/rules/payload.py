"""What handlers carry beside folios: regions, the kernel's own test."""

from __future__ import annotations

import numpy as np

from khotool.absent import Absent
from khotool.check.context import Context
from khotool.check.rule import rule
from khotool.model.image import Image, Node
from khotool.pages.around import range_around
from khotool.pages.owners import Ownership

MAX_REGION_NAME = 15


@rule("HND608", "HND610")
def check_regions(context: Context) -> None:
    """reserve_mem regions: shape, name, and what is preserved for them."""
    for region in region_nodes(context.image):
        start, size, name = (region.value_of(key) for key in ("start", "size", "name"))
        if not isinstance(start, int) or not isinstance(size, int):
            continue
        page = context.image.geometry.page_size
        if not size or size % page or start % page:
            text = f"{start:#x}+{size:#x} is empty or not page aligned"
            context.report("HND608", region, text, start)
            continue
        if not name or len(name.encode("utf-8", "surrogateescape")) > MAX_REGION_NAME:
            text = f"the name {name!r} is not 1 to {MAX_REGION_NAME} bytes long"
            context.report("HND608", region, text)
        preserved = region_extent(context, region)
        if preserved and preserved != size:
            text = f"size is {size:#x}, but {preserved:#x} bytes are preserved at {start:#x}"
            context.report("HND610", region, text, start)
        elif preserved == 0 and _is_preserved(context, start):
            place = f"what is preserved at {start:#x}"
            text = f"{place} belongs to another owner, or is part of a larger block"
            context.report("HND610", region, text, start)


def region_nodes(image: Image) -> list[Node]:
    """The regions that the memblock entry lists, in stored order."""
    memblock = image.entry("memblock")
    return memblock.elements_of("regions") if memblock is not None else []


def _is_preserved(context: Context, address: int) -> bool:
    found = context.image.map
    return not isinstance(found, Absent) and found.blocks.block_of(address) is not None


def region_extent(context: Context, region: Node) -> int | None:
    """Bytes that are preserved for a region, from its start; None if the map is not known.

    The kernel preserves exactly the region, in blocks that do not reach over its ends. 0 where
    the start is not in one of them, or belongs to another owner.
    """
    found, owned = context.image.map, context.image.ownership()
    start, size = int(region.value_of("start")), int(region.value_of("size"))
    if isinstance(found, Absent) or owned is None:
        return None
    head = found.blocks.block_of(start)
    page = context.image.geometry.page_size
    if head is None or head[0] != start:
        return 0
    rival = _rival(owned, region.path, start, page)
    if rival.startswith("/memblock") or (rival and _leaked(owned, size, page)):
        return 0
    around = range_around(found.blocks, start)
    assert around is not None
    end = around[1]
    if start + size > end:
        return end - start
    last = found.blocks.block_of(start + max(size, 1) - 1)
    assert last is not None
    reach = last[0] + (page << last[1])
    if reach == start + size < end:
        tail = owned.around(reach)
        # A tail of smaller blocks without an owner; an equal block may be any owner's.
        if tail.owner < 0 <= tail.order < last[1]:
            reach = tail.end
    return reach - start


def _rival(owned: Ownership, path: str, address: int, page: int) -> str:
    """Another owner of the page at an address, or nothing."""
    double = owned.double_owned
    row = int(np.searchsorted(double.start, np.uint64(address), side="right")) - 1
    if row < 0 or address >= int(double.start[row]) + int(double.pages[row]) * page:
        return ""
    paths = {owned.owners[int(double.first[row])], owned.owners[int(double.second[row])]}
    return next(iter(paths - {path}), "")


def _leaked(owned: Ownership, size: int, page: int) -> bool:
    """True if memory of this size is preserved and has no owner."""
    return any(bool((part.pages[part.owner < 0] * page >= size).any()) for part in owned.pieces())


@rule("HND609")
def check_kho_test(context: Context) -> None:
    """The checksum over the folios of the kernel's own test, where they were captured."""
    entry = context.image.entry("kho_test")
    folios = entry.get("folios") if entry is not None else None
    csum = entry.value_of("csum") if entry is not None else None
    if folios is None or folios.table is None or not isinstance(csum, int):
        return
    page = context.image.geometry.page_size
    total = 0
    rows = zip(
        folios.table.column("address").tolist(), folios.table.column("order").tolist(), strict=True
    )
    for address, order in rows:
        raw = context.read(address, page << order) if order < 16 else None
        if raw is None:
            context.skip("HND609", folios, "the folios' contents are not captured")
            return
        words = np.frombuffer(raw, f"{context.image.geometry.prefix}u4")
        total += int(words.sum(dtype=np.uint64))
    # Architectures fold the sum to 32 or to 16 bits; modulo 2^16 - 1 they agree.
    if len(folios.table) and total % 0xFFFF != csum % 0xFFFF:
        context.report("HND609", folios, f"csum is {csum:#x}, which is not the sum of the folios")
