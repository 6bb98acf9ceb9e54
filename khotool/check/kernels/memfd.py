"""memfd_luo_retrieve: one file, check by check."""

from __future__ import annotations

import numpy as np

from khotool.absent import Absent
from khotool.check.context import Context
from khotool.check.rules.folios import covered_pages, folio_extents
from khotool.check.rules.lists import check_list_ends
from khotool.image.model import Node

DIRTY_UPTODATE = 3
VMALLOC_FAULTS = {"REC402", "REC406", "REC407", "REC408", "MEM301"}
"""Faults with which kho_restore_vmalloc gives NULL."""
Result = tuple[str, str]
"""What retrieve gives, and the line the kernel prints."""


def retrieve_memfd(context: Context, file: Node) -> Result:
    """What retrieving a file gives.

    Args:
        file: a file record whose handler the kernel has.
    """
    data = file.get("data")
    if data is None or not data.value:
        return "EINVAL", ""
    folios = data.get("folios")
    if folios is None or folios.table is None:
        return "EIO", "the record is not captured"
    seals = data.get("seals")
    if seals is not None and seals.field is not None and isinstance(seals.value, int):
        known = sum(seals.field.flags.values())
        if seals.value & ~known:
            return "EOPNOTSUPP", ""
    number = data.value_of("nr_folios")
    if number and vmalloc_broken(context, folios):
        return "EINVAL", ""
    return restore_folios(context, data, folios)


def vmalloc_broken(context: Context, folios: Node) -> bool:
    """kho_restore_vmalloc: pages must add up, and each must be preserved."""
    rules = {f.rule for f in context.image.findings if f.path == folios.path}
    if rules & VMALLOC_FAULTS:
        return True
    if isinstance(context.image.map, Absent) or folios.table is None:
        return False
    blocks = context.image.map.blocks
    for start, size in folios.table.extents.tolist():
        page = context.image.geometry.page_size
        addresses = np.arange(start, start + size, page, dtype=np.uint64)
        if bool((blocks.find(addresses) < 0).any()):
            return True
    return False


def restore_folios(context: Context, data: Node, folios: Node) -> Result:
    """memfd_luo_retrieve_folios: restore each, insert it into the page cache."""
    table = folios.table
    assert table is not None
    size = data.value_of("size")
    if not len(table):
        if not size:
            return "ok", ""
        return ("other-data", "the file comes back without contents")
    image = context.image
    frames = table.column("pfn")
    used = frames != 0
    addresses = frames[used] << np.uint64(image.geometry.page_shift)
    if not isinstance(image.map, Absent):
        starts, orders = image.map.blocks.blocks_of(addresses)
        bad = (orders < 0) | (starts != addresses)
        if bool(bad.any()):
            place = int(addresses[int(bad.argmax())])
            text = f"memfd_luo: Unable to restore folio at physical address: {place:x}"
            return "EIO", text
    if len(np.unique(addresses)) != len(addresses):
        # The first restore takes the mark from the page, so the second finds none.
        return "EIO", "memfd_luo: Unable to restore folio"
    found = folio_extents(context, folios)
    if found is None or not isinstance(size, int):
        return "ok", ""
    places, pages = found
    again = np.flatnonzero(places[1:] < (places + pages)[:-1])
    if len(again):
        # Rows go in as they stand, so the clash shows where the later of the two stands.
        row = clash_row(table.column("index")[used])
        return "EEXIST", (f"memfd_luo: shmem: failed to add to page cache folio index {row}: -17")
    if bool((places & (pages - np.uint64(1))).any()):
        return "EINVAL", ""
    flags = table.column("flags")[used]
    if bool(((flags & np.uint64(DIRTY_UPTODATE)) != DIRTY_UPTODATE).any()):
        return "other-data", ""
    return contents(context, folios, (places, pages), size)


def clash_row(indexes: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> int:
    """Row at which an index occurs again; 0 where large folios overlap."""
    _, first = np.unique(indexes, return_index=True)
    again = np.setdiff1d(np.arange(len(indexes)), first)
    return int(again[0]) if len(again) else 0


def contents(
    context: Context,
    folios: Node,
    found: tuple[np.ndarray[tuple[int], np.dtype[np.uint64]], ...],
    size: int,
) -> Result:
    """Whether the file holds what was preserved."""
    places, pages = found
    wanted = -(-size // context.image.geometry.page_size)
    covered = covered_pages(places, pages, wanted)
    if len(places) and int(places[-1]) >= wanted:
        return "other-data", "folios behind the end of the file cannot be read"
    if covered >= wanted:
        return "ok", ""
    probe = Context(context.image)
    check_list_ends(probe)
    cut = any(finding.path == folios.path for finding in probe.findings)
    if cut and (wanted - covered) * 2 < wanted:
        # Folios behind the count are left out; whether they held anything does not show.
        return "ok", ""
    return "other-data", "part of the file reads as zeros"
