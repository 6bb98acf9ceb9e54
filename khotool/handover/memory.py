"""Where the memory of a handover is: what a fresh layout may use."""

from __future__ import annotations

from collections.abc import Iterable

from khotool.abi.geometry import Geometry
from khotool.absent import Absent
from khotool.handover.values import Handover
from khotool.model.image import UNPLACED, Image, Span

BASES = {"aarch64": 0x4000_0000}
"""Physical address at which memory begins, by machine: QEMU's virt machine has none below it."""
LOWEST = 1 << 20
"""Where memory begins on any other machine: what is below is left to firmware."""
HIGHEST = 1 << 46
"""End of memory where nothing limits it."""
PHYSICAL = 1 << 52
"""End of any physical memory."""
MAX_ORDER = 10
"""Page order of the largest block that the buddy allocator of most kernels has."""


def source_memory(image: Image) -> list[Span]:
    """The stretch of memory that a handover is in, from its first page to its last.

    Everything that was preserved, all metadata and the scratch areas are inside; the ends are
    rounded out to blocks of ``MAX_ORDER``. Empty where nothing has a place.
    """
    block = image.geometry.page_size << MAX_ORDER
    ends = [(low, high) for low, high in _extents(image) if low < high <= PHYSICAL]
    if not ends:
        return []
    low = min(start for start, _ in ends)
    start = max(low // block * block, min(low, LOWEST))
    end = min(-(-max(end for _, end in ends) // block) * block, PHYSICAL)
    return [Span(start, end - start)]


def _extents(image: Image) -> Iterable[tuple[int, int]]:
    if not isinstance(image.map, Absent):
        ranges = image.map.blocks.ranges()
        yield from ranges[[0, -1]].tolist() if len(ranges) else ()
    if not isinstance(image.scratch, Absent):
        yield from ((area.address, area.end) for area in image.scratch.areas)
    for region in image.regions:
        for address, size in region.extents():
            if address < UNPLACED:
                yield address, address + size


def usable_memory(handover: Handover) -> list[tuple[int, int]]:
    """Start and end in bytes of each range that a layout may use."""
    if handover.memory:
        return [(span.address, span.end) for span in handover.memory]
    return [(memory_base(handover.machine) or LOWEST, HIGHEST)]


def memory_base(machine: str | None) -> int:
    """Physical address at which the memory of a machine begins; 0 if unknown."""
    return BASES.get(machine or "", 0)


def default_scratch(geometry: Geometry, base: int) -> list[Span]:
    """Low memory, global and one node: a pageblock or 16 MiB each, from the top down.

    Args:
        base: physical address at which memory begins.
    """
    unit = max(
        16 << 20,
        geometry.page_size << 11 if geometry.page_size == 16384 else 0,
        geometry.page_size << 13 if geometry.page_size == 65536 else 0,
    )
    start = base // unit * unit
    return [Span(start + unit * number, unit) for number in (6, 5, 4)]
