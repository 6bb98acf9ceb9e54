"""memfd_luo_retrieve: one file, check by check."""

from __future__ import annotations

from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from khotool.absent import Absent
from khotool.check.kernels.boot import Boot
from khotool.check.kernels.shared import is_foreign
from khotool.check.rules.folios import column_pieces, covered_between, rows_after_end
from khotool.codec.vmalloc import CHUNK
from khotool.model.image import UNPLACED, Node, Table
from khotool.records import dataclass

UPTODATE = "_UPTODATE"
"""End of the name of the flag of a folio whose contents are valid."""
NOT_JUDGED = "not-judged"
"""Result of a retrieve that depends on memory which is not in the image."""
FAULT = "fault"
"""Result of a retrieve that runs into memory that is not mapped: the kernel stops there."""
POINTER = 8
"""Bytes that the kernel allocates for each page of a vmalloc area, before it reads the first."""
U64 = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What retrieving something gives.

    Args:
        status: ``ok``, ``other-data``, ``not-judged``, ``fault`` or the name of an errno.
        why: how it comes to this; empty where the status says it all.
        console: the line that the kernel prints; empty for none.
    """

    status: str
    why: str = ""
    console: str = ""


OK = Retrieved("ok")


def retrieve_memfd(boot: Boot, file: Node) -> Retrieved:
    """What retrieving something gives.

    Args:
        file: a file record whose handler the kernel has.
    """
    data = file.get("data")
    if data is None or isinstance(data.value, Absent):
        return Retrieved(NOT_JUDGED, "its record is not in the image")
    early = _record_result(boot, data)
    if early is not None:
        return early
    folios = data.get("folios")
    if folios is None or folios.table is None:
        # Memory that was not kept may hold anything, zeros for example: an empty file.
        return Retrieved("other-data", f"the record at {data.value:#x} is not one of the handover")
    if _has_unknown_seals(data):
        return Retrieved("EOPNOTSUPP")
    boot.take_pages([data.value])
    number = data.value_of("nr_folios")
    if number:
        fault = restore_vmalloc(boot, folios)
        capacity = _capacity(boot, folios, folios.table)
        if fault is None and isinstance(number, int) and number > capacity:
            fault = Retrieved(FAULT, f"nr_folios is {number}, the array ends after {capacity}")
        if fault is not None:
            return fault
    return restore_folios(boot, data, folios, folios.table)


def _has_unknown_seals(data: Node) -> bool:
    seals = data.get("seals")
    if seals is None or seals.field is None or not isinstance(seals.value, int):
        return False
    return bool(seals.value & ~sum(seals.field.flags.values()))


def _capacity(boot: Boot, folios: Node, table: Table) -> int:
    """Rows that fit the pages of a vmalloc area."""
    pages: int = folios.value_of("total_pages") or 0
    return pages * boot.image.geometry.page_size // table.compiled.size


def _record_result(boot: Boot, data: Node) -> Retrieved | None:
    """What retrieve gives where the record itself cannot be read as one; None where it can."""
    if boot.beyond(data.value):
        return Retrieved(FAULT, f"data is {data.value:#x}, where there is no memory")
    if not data.value:
        return page_zero(boot)
    if boot.gap(data.value) is not None:
        return Retrieved(NOT_JUDGED, f"its record at {data.value:#x} is not in the image")
    if boot.blocks is not None and boot.blocks.block_of(data.value) is None:
        return Retrieved(
            NOT_JUDGED, f"its record at {data.value:#x} is in memory that is not preserved"
        )
    if boot.claimed[data.value] > 1 or boot.readers(data.value) > 1:
        return Retrieved(
            NOT_JUDGED,
            "something else has this memory as well, and one of the two has lost its own",
        )
    return None


def page_zero(boot: Boot) -> Retrieved:
    """A payload of 0 passes the kernel's test, and physical page 0 is read as the record."""
    if "memfd-v1" in boot.kernel.abi.files:
        return Retrieved("EINVAL", "physical page 0 is read as the record")
    handler = next(name for name in boot.kernel.abi.files if name.startswith("memfd-"))
    seals = boot.struct(handler).by_label("seals")
    raw = boot.context.read(seals.offset, seals.size)
    known = sum(seals.field.flags.values())
    if raw is not None and not int.from_bytes(raw, boot.image.geometry.byteorder) & ~known:
        return Retrieved("other-data", "physical page 0 is read as the record")
    # The interrupt vectors of the firmware are there; their words are not valid seals.
    return Retrieved("EOPNOTSUPP", "physical page 0 is read as the record")


def restore_vmalloc(boot: Boot, node: Node) -> Retrieved | None:
    """kho_restore_vmalloc: None if the area comes back, or what retrieve gives instead."""
    first, rules = node.value_of("first"), boot.rules_at(node.path)
    total = node.value_of("total_pages")
    if isinstance(total, int) and total * POINTER >= boot.most_memory:
        return Retrieved("EINVAL", f"total_pages is {total}, for which no array can be allocated")
    # Of a chunk, its pages are read first, then the link in front of them.
    pages = boot.struct("kho_vmalloc", CHUNK).by_label("phys").offset
    if boot.beyond(first, pages):
        return Retrieved(FAULT, f"first is {first:#x}, where there is no memory")
    chunks = [child for child in node.children if child.name == "chunks"]
    place = _missing(boot, chunks, first) if "MEM301" in rules else None
    if place is not None:
        return Retrieved(
            NOT_JUDGED, f"a part of its list of folios, at {place:#x}, is not in the image"
        )
    short = _missing_pages(boot, node, chunks)
    if short is None or short < 0:
        return Retrieved("EINVAL")
    last = chunks[-1].value_of("next") if chunks else None
    if boot.beyond(last, pages):
        # The next chunk is read before the pages are counted.
        return Retrieved(FAULT, f"a chunk leads to {last:#x}, where there is no memory")
    return Retrieved("EINVAL") if short or last or rules & {"REC402", "REC408"} else None


def _missing_pages(boot: Boot, node: Node, chunks: list[Node]) -> int | None:
    """Restore the pages of a vmalloc area and of its chunks; how many less than declared.

    None where one of them cannot be restored.
    """
    pages = [page for chunk in chunks for page in _pages_of(chunk)]
    heads = [chunk.span.address for chunk in chunks if chunk.span is not None]
    taken = boot.take_pages(pages), boot.take_pages(heads)
    order, total = node.value_of("order"), node.value_of("total_pages")
    if taken != (None, None) or not isinstance(order, int):
        return None
    # The processor takes the lowest bits of a shift of 32 bits.
    return total - (len(pages) << (order & 31)) if isinstance(total, int) else None


def _pages_of(chunk: Node) -> list[int]:
    """Addresses that a chunk lists, up to the terminating 0."""
    phys = chunk.value_of("phys")
    return list(takewhile(bool, phys)) if isinstance(phys, list) else []


def _missing(boot: Boot, chunks: list[Node], first: object) -> int | None:
    """Address of a part of a vmalloc area that the image lacks and the kernel finds."""
    places = [first]
    for chunk in chunks:
        places += [chunk.value_of("next"), *_pages_of(chunk)]
    return next((p for p in places if isinstance(p, int) and p and boot.gap(p) is not None), None)


@dataclass(slots=True)
class Survey:
    """What restoring the rows of a table one by one comes to.

    Args:
        first: first row that names a folio.
        bad: physical address of the first folio that is not restored, and its row.
        clash: first row that finds its place in the page cache taken.
        stale: a folio is not up to date.
        ascending: rows are in the order of the file.
        reach: page of the file after the last folio.
        beyond: a folio starts beyond the end of the file.
        covered: pages of the file that have a folio.
    """

    first: int | None = None
    bad: tuple[int, int] | None = None
    clash: int | None = None
    stale: bool = False
    ascending: bool = True
    reach: int = 0
    last: int = 0
    beyond: bool = False
    covered: int = 0


def survey(boot: Boot, table: Table, wanted: int) -> Survey:
    """Restore every folio and find its place, piece by piece: a table can have millions of rows."""
    result = Survey()
    shift = np.uint64(boot.image.geometry.page_shift)
    names = next(field.flags for field in table.fields() if field.label == "flags")
    uptodate = np.uint64(next(bit for name, bit in names.items() if name.endswith(UPTODATE)))
    columns = (column_pieces(table, label) for label in ("pfn", "index", "flags"))
    for (first, frames), (_, index), (_, flags) in zip(*columns, strict=True):
        rows = np.flatnonzero(frames)
        if not len(rows):
            continue
        addresses, places = frames[rows] << shift, index[rows]
        result.first = first + int(rows[0]) if result.first is None else result.first
        failed = boot.take(addresses)
        if failed is not None and result.bad is None:
            result.bad = int(addresses[failed]), first + int(rows[failed])
        result.stale |= bool((flags[rows] & uptodate == 0).any())
        if places[0] < result.last or bool((places[1:] < places[:-1]).any()):
            result.ascending = False
        result.last = int(places[-1])
        starts, ends = extents(boot, addresses, places)
        before = np.maximum.accumulate(np.concatenate(([np.uint64(result.reach)], ends)))[:-1]
        hit = starts < before
        if result.clash is None and bool(hit.any()):
            result.clash = first + int(rows[int(hit.argmax())])
        result.covered += covered_between(np.maximum(starts, before), ends, wanted)
        result.beyond |= bool((starts >= np.uint64(min(wanted, UNPLACED))).any())
        result.reach = max(result.reach, int(ends.max()))
    return result


def extents(boot: Boot, addresses: U64, places: U64) -> tuple[U64, U64]:
    """First page in the file of each folio, and the page after it.

    The page cache keeps a large folio at the multiple of its size.
    """
    if boot.blocks is None:
        return places, places + np.uint64(1)
    _, orders = boot.blocks.blocks_of(addresses)
    pages = np.uint64(1) << np.maximum(orders, 0).astype(np.uint64)
    starts = places & ~(pages - np.uint64(1))
    return starts, starts + pages


def restore_folios(boot: Boot, data: Node, folios: Node, table: Table) -> Retrieved:
    """memfd_luo_retrieve_folios: restore each, insert it into the page cache."""
    size = data.value_of("size")
    if not len(table):
        return Retrieved("other-data", "the file is restored without contents") if size else OK
    wanted = -(-size // boot.image.geometry.page_size) if isinstance(size, int) else 0
    found = survey(boot, table, wanted)
    fault = _insert_fault(boot, table, found)
    if fault is not None:
        return fault
    other = _other_data(boot, folios, found)
    if other:
        return Retrieved("other-data", other)
    if boot.blocks is None or not isinstance(size, int):
        return OK
    if found.beyond:
        return Retrieved("other-data", "folios beyond the end of the file cannot be read")
    # Kernels fill holes as they preserve; where none but holes are missing, the writer left them.
    sparse = found.covered < min(found.reach, wanted) and not boot.something_lost
    cut = folios.path in boot.cut
    if found.covered >= wanted or (lost_are_holes(boot, folios) if cut else sparse):
        return OK
    return Retrieved("other-data", "part of the file reads as zeros")


def _insert_fault(boot: Boot, table: Table, found: Survey) -> Retrieved | None:
    """What retrieve gives where a folio is not restored, or its place in the file is taken."""
    clash = found.clash if found.ascending else clash_row(boot, table)
    if found.bad is not None and (clash is None or found.bad[1] <= clash):
        forgotten = boot.kernel.does.forgets_folio_errors and found.bad[1] != found.first
        line = f"memfd_luo: Unable to restore folio at physical address: {found.bad[0]:x}"
        return Retrieved("other-data" if forgotten else "EIO", console=line)
    if clash is not None:
        line = f"memfd_luo: shmem: failed to add to page cache folio index {clash}: -17"
        return Retrieved("EEXIST", console=line)
    return None


def _other_data(boot: Boot, folios: Node, found: Survey) -> str:
    """Why a file whose folios are all restored has other contents, or nothing."""
    if found.stale:
        return "a folio that is not up to date is cleared when it is read"
    if is_foreign(boot, folios):
        return "a folio belongs to another owner"
    return "" if found.ascending else "folios are not in the order in which they were written down"


def clash_row(boot: Boot, table: Table) -> int | None:
    """First row, of rows in any order, that finds its place in the page cache taken."""
    frames = table.column("pfn")
    used = np.flatnonzero(frames)
    addresses = frames[used] << np.uint64(boot.image.geometry.page_shift)
    starts, ends = extents(boot, addresses, table.column("index")[used])
    order = np.argsort(starts, kind="stable")
    hit = np.flatnonzero(starts[order][1:] < np.maximum.accumulate(ends[order])[:-1])
    if not len(hit):
        return None
    # Of two that want one place the later row fails.
    return int(used[np.maximum(order[hit], order[hit + 1]).min()])


def lost_are_holes(boot: Boot, folios: Node) -> bool:
    """True if the folios after the counted ones hold nothing, as far as that shows.

    Where their contents are not captured, their order tells: preserving a file fills its holes,
    with folios as large as fit, whereas pages that were written one by one are of order 0.
    """
    lost = rows_after_end(boot.context, folios)
    if lost is None or boot.blocks is None:
        return False
    addresses = lost << np.uint64(boot.image.geometry.page_shift)
    _, orders = boot.blocks.blocks_of(addresses)
    for address, order in zip(addresses.tolist(), orders.tolist(), strict=True):
        raw = boot.context.read(address, boot.image.geometry.page_size << max(order, 0))
        if any(raw) if raw is not None else order <= 0:
            return False
    return True
