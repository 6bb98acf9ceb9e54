"""What handlers carry beside folios: regions, the kernel's own test."""

from __future__ import annotations

import numpy as np

from khotool.absent import Absent
from khotool.check.context import Context

MAX_REGION_NAME = 15


def check_regions(context: Context) -> None:
    """reserve_mem regions: shape, name, and what is preserved for them."""
    memblock = context.image.entry("memblock")
    regions = memblock.get("regions") if memblock is not None else None
    for region in regions.elements() if regions is not None else []:
        start, size, name = (region.value_of(key) for key in ("start", "size", "name"))
        if not isinstance(start, int) or not isinstance(size, int):
            continue
        page = context.image.geometry.page_size
        if not size or size % page or start % page:
            text = f"{start:#x}+{size:#x} is empty or not made of whole pages"
            context.report("HND608", region, text, start)
            continue
        if not name or len(name.encode("utf-8", "surrogateescape")) > MAX_REGION_NAME:
            text = f"the name {name!r} is not 1 to {MAX_REGION_NAME} bytes"
            context.report("HND608", region, text)
        preserved = preserved_size(context, start, size)
        if preserved is not None and preserved != size:
            text = f"size is {size:#x}, but {preserved:#x} bytes are preserved from {start:#x} on"
            context.report("HND610", region, text, start)


def preserved_size(context: Context, start: int, size: int) -> int | None:
    """Bytes of the blocks that hold a region, from its start; None if they say nothing else.

    The kernel preserves exactly the region, in blocks that do not reach over its ends.
    """
    if isinstance(context.image.map, Absent):
        return None
    block = context.image.map.blocks.block_of(start + size - 1)
    if block is None or context.image.map.blocks.block_of(start) is None:
        return None
    at, order = block
    return at + (context.image.geometry.page_size << order) - start


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
        context.report("HND609", folios, f"csum is {csum:#x}, the folios sum to another")
