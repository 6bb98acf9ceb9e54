"""The next boot as far as it has come: what was restored already, and what memory there is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from khotool.absent import Absent
from khotool.check.context import Context
from khotool.check.kernels.kernel import Kernel
from khotool.check.kernels.verdict import Verdict
from khotool.check.rules.lists import check_list_ends
from khotool.model.image import UNPLACED, Image, Node, Phase
from khotool.pages.blocks import Blocks

MEMORY_MARGIN = 4
"""Memory may reach this many times as far as the last byte that the image shows."""
SANE_END = 1 << 46
MOST_BLOCKS = 1 << 28


@dataclass(slots=True)
class Boot:
    """One boot of one kernel.

    Args:
        context: the image, and a place for findings of rules that a verdict asks.
        cut: paths of lists with records behind their end.
        blocks: preserved blocks; None where they are not known, and all counts as preserved.
        number: per run of blocks, the number of its first block.
        taken: per block, whether something has restored it. A page loses its mark then, so that
            it cannot be restored again. Empty where there are too many blocks to remember.
        records: addresses of the records that were read and freed.
        memory_end: physical address behind which there is certainly no memory.
    """

    context: Context
    kernel: Kernel
    verdict: Verdict
    cut: set[str]
    blocks: Blocks | None
    number: NDArray[np.int64]
    taken: NDArray[np.bool_]
    memory_end: int
    records: set[int] = field(default_factory=set)

    @property
    def image(self) -> Image:
        """The image."""
        return self.context.image

    @property
    def unseen(self) -> str:
        """Why what pointers lead to cannot be judged; empty where it can."""
        if self.image.phase is Phase.CONSUMED:
            return "not judged: a kernel has booted from it and used it up"
        span = self.image.tree.span
        if span is None or span.address >= UNPLACED:
            return "not judged: trees alone, without the memory they point to"
        return ""

    @property
    def regions(self) -> list[Node]:
        """The reserve_mem regions."""
        memblock = self.image.entry("memblock")
        regions = memblock.get("regions") if memblock is not None else None
        return regions.elements() if regions is not None else []

    def take(self, addresses: NDArray[np.uint64]) -> int | None:
        """kho_restore_page for each address: row of the first that fails, or None.

        A page is restored from the head of its block, and once. Rows behind a failure are
        restored all the same, as the error paths do to free them.
        """
        if self.blocks is None or not len(addresses):
            return None
        rows = self.blocks.find(addresses)
        starts, orders = self.blocks.blocks_of(addresses)
        places = np.flatnonzero((orders >= 0) & (starts == addresses))
        row = rows[places]
        shift = orders[places].astype(np.uint64) + np.uint64(self.blocks.page_shift)
        offset = (addresses[places] - self.blocks.start[row]) >> shift
        number = self.number[row] + offset.astype(np.int64)
        fine = np.zeros(len(addresses), bool)
        if len(self.taken):
            again = np.ones(len(number), bool)
            again[np.unique(number, return_index=True)[1]] = False
            fresh = ~again & ~self.taken[number]
            self.taken[number] = True
            fine[places[fresh]] = True
        else:
            fine[places] = True
        return None if bool(fine.all()) else int(np.argmin(fine))

    def take_pages(self, addresses: list[int]) -> int | None:
        """As ``take``, for a few addresses."""
        return self.take(np.array(addresses, np.uint64))

    def beyond(self, address: object) -> bool:
        """True if a pointer leads where there is no memory, so that following it faults."""
        return isinstance(address, int) and address >= self.memory_end


def new_boot(image: Image, kernel: Kernel, verdict: Verdict) -> Boot:
    """The state at power-on."""
    context = Context(image)
    probe = Context(image)
    check_list_ends(probe)
    blocks = None if isinstance(image.map, Absent) else image.map.blocks
    counts = np.zeros(0, np.int64) if blocks is None else blocks.count
    total = int(counts.sum())
    return Boot(
        context,
        kernel,
        verdict,
        {finding.path for finding in probe.findings},
        blocks,
        np.cumsum(counts) - counts,
        np.zeros(total if total <= MOST_BLOCKS else 0, bool),
        memory_end(image, blocks),
    )


def memory_end(image: Image, blocks: Blocks | None) -> int:
    """Physical address that no memory of this machine reaches."""
    ends = [end for start, end in image.space.extents().tolist() if start < UNPLACED]
    if blocks is not None and len(blocks):
        ends += [end for end in (int(blocks.end[-1]),) if end <= SANE_END]
    if not isinstance(image.scratch, Absent):
        ends += [area.end for area in image.scratch.areas if area.end <= SANE_END]
    last = max(ends, default=SANE_END)
    return MEMORY_MARGIN << (last - 1).bit_length()
