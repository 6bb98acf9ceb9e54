"""What is known about a piece of memory: preserved, by whom, scratch, or outside the capture."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from khotool.absent import Absent
from khotool.errors import KhotoolError
from khotool.memory.space import MemoryFault
from khotool.model.image import UNPLACED, Image, Span
from khotool.pages.claims import ClaimsBuilder
from khotool.pages.owners import Ownership, find_owners
from khotool.records import dataclass

TOP = 1 << 64


class Use(StrEnum):
    """What a page is to the handover."""

    OWNED = "owned"
    UNOWNED = "unowned"
    UNPRESERVED = "unpreserved"
    SCRATCH = "scratch"
    PRESERVED = "preserved"
    FREE = "free"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Section:
    """A range of memory that is one thing to the handover.

    Args:
        start, end: physical addresses in bytes, end exclusive.
        use: ``preserved`` while the owners are not known yet, ``unknown`` without a map.
        order: page order of the blocks, -1 where nothing is preserved.
        owner: path of the owner, empty for none.
    """

    start: int
    end: int
    use: Use
    order: int = -1
    owner: str = ""


class MemoryView:
    """Sections of the memory of an image.

    Args:
        ownership: None while it is not computed, or where the map is absent.
    """

    def __init__(self, image: Image, ownership: Ownership | None = None) -> None:
        self.image = image
        self.ownership = ownership
        self._held = ownership
        if ownership is None and not isinstance(image.map, Absent):
            # Without owners, but asked in the same way: the runs of a large map are never listed.
            self._held = find_owners(image.map.blocks, ClaimsBuilder().build())
        areas = [] if isinstance(image.scratch, Absent) else image.scratch.areas
        self.scratch: list[Span] = sorted(areas, key=lambda area: area.address)

    def section(self, address: int) -> Section:
        """The section around a physical address in bytes."""
        if address >= UNPLACED:
            return Section(UNPLACED, TOP, Use.UNKNOWN)
        found = self._preserved(address)
        if found.order >= 0:
            return found
        start, end = found.start, found.end
        claimed = self._claimed(address)
        if claimed is not None and claimed.use is Use.UNPRESERVED:
            return claimed
        if claimed is not None:
            start, end = max(start, claimed.start), min(end, claimed.end)
        for area in self.scratch:
            if area.address <= address < area.end:
                return Section(max(start, area.address), min(end, area.end), Use.SCRATCH)
            if area.end <= address:
                start = max(start, area.end)
            if area.address > address:
                end = min(end, area.address)
        return Section(start, end, found.use)

    def _preserved(self, address: int) -> Section:
        if self._held is None:
            return Section(0, UNPLACED, Use.UNKNOWN)
        around = self._held.around(address)
        if around.order < 0:
            return Section(around.start, min(around.end, UNPLACED), Use.FREE)
        use = Use.PRESERVED if self.ownership is None else Use.UNOWNED
        if around.owner < 0:
            return Section(around.start, around.end, use, around.order)
        path = self._held.owners[around.owner]
        return Section(around.start, around.end, Use.OWNED, around.order, path)

    def _claimed(self, address: int) -> Section | None:
        """Claimed memory that is not preserved, or the gap between two such pieces."""
        if self.ownership is None:
            return None
        found = self.ownership.unpreserved
        at = int(np.searchsorted(found.start, np.uint64(max(address, 0)), side="right")) - 1
        start, end = 0, TOP
        if at >= 0:
            first = int(found.start[at])
            past = first + (int(found.pages[at]) << self.ownership.blocks.page_shift)
            if address < past:
                owner = self.ownership.owners[int(found.owner[at])]
                return Section(first, past, Use.UNPRESERVED, -1, owner)
            start = past
        if at + 1 < len(found):
            end = int(found.start[at + 1])
        return Section(start, end, Use.FREE)

    def owners(self, address: int) -> list[str]:
        """Paths of all owners of the page around an address."""
        if self.ownership is None:
            return []
        return [self.ownership.owners[index] for index in self.ownership.owners_of(address)]


def section_text(section: Section, page_size: int) -> str:
    """A section in words, without its place: ``512 pages of order 9, owner /LUO/...``."""
    if section.use is Use.SCRATCH:
        return "scratch"
    if section.use is Use.FREE:
        return "not preserved"
    if section.use is Use.UNKNOWN:
        return "no map of preserved memory"
    if section.use is Use.UNPRESERVED:
        return f"referenced, not preserved  {section.owner}"
    owner = {Use.UNOWNED: "no owner", Use.PRESERVED: "preserved"}.get(section.use, section.owner)
    return f"order {section.order}  {owner}"


def address_text(address: int) -> str:
    """A physical address in hexadecimal; of a blob without a place, the offset in it."""
    return f"?+{address - UNPLACED:#x}" if address >= UNPLACED else f"{address:#x}"


def read_span(image: Image, span: Span) -> bytes:
    """Bytes of a span.

    Raises:
        KhotoolError: some are not in the capture.
    """
    try:
        return bytes(image.space.read(span.address, span.size))
    except MemoryFault as fault:
        raise KhotoolError(f"{fault.address:#x} is not captured") from None
