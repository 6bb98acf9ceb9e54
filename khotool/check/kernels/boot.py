"""The next boot as far as it has come: what was restored already, and what memory there is."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from khotool.abi.compile import CompiledStruct
from khotool.absent import Absent, Reason
from khotool.check.context import Context
from khotool.check.kernels.kernel import Kernel
from khotool.check.kernels.verdict import Outcome, Unseen, Verdict
from khotool.check.rules.lists import check_list_ends
from khotool.check.rules.sessions import session_nodes
from khotool.findings import Finding
from khotool.maps.preserved import PreservedMap
from khotool.memory.space import MemoryFault
from khotool.model.image import UNPLACED, Image, Node, Phase
from khotool.pages.blocks import Blocks
from khotool.pages.runs import normalise, subtract
from khotool.records import dataclass, field

MEMORY_MARGIN = 4
"""Memory may reach this many times as far as the last byte that the image shows."""
SANE_END = 1 << 46
MOST_BLOCKS = 1 << 28
MOST_STRAYS = 1 << 10
"""Pages without an owner that are looked at."""
U64 = NDArray[np.uint64]
Memory = tuple[tuple[int, int], ...]
"""Ranges of physical memory: first address, and the one after the last."""


@dataclass(slots=True)
class Boot:
    """One boot of one kernel.

    Args:
        context: the image, and a place for findings of rules that a verdict asks.
        cut: paths of lists with records after their end.
        blocks: preserved blocks; None where they are not known, and all counts as preserved.
        number: per run of blocks, the number of its first block.
        taken: per block, whether something has restored it. A page loses its mark then, so that
            it cannot be restored again. Empty where there are too many blocks to remember.
        claimed: how many files name a record, by its address.
        memory_end: physical address beyond which there is certainly no memory.
        memory: all of the machine's memory, first physical address and the one after the last;
            empty where it is not known.
        blank: memory that holds zeros as the kernel starts, wherever the image does not have it.
        found: what decoding found wrong, by the path of its place.
    """

    context: Context
    kernel: Kernel
    verdict: Verdict
    cut: set[str]
    blocks: Blocks | None
    number: NDArray[np.int64]
    taken: NDArray[np.bool_]
    memory_end: int
    found: dict[str, list[Finding]]
    memory: Memory = ()
    blank: Memory = ()
    claimed: Counter[object] = field(default_factory=Counter)

    @property
    def image(self) -> Image:
        """The image."""
        return self.context.image

    @property
    def unseen(self) -> tuple[Unseen, str] | None:
        """Why nothing that pointers lead to can be judged, and the same in words."""
        if self.image.phase is Phase.CONSUMED:
            return Unseen.CONSUMED, "a kernel has booted from this handover and used it up"
        span = self.image.tree.span
        if span is None or span.address >= UNPLACED:
            return Unseen.NOT_CAPTURED, "only trees were captured, not the memory they point to"
        return None

    def map_unseen(self) -> Unseen:
        """Why the map is not known, where it is not."""
        if self.unseen is not None:
            return self.unseen[0]
        found = self.image.map
        return Unseen(found.reason) if isinstance(found, Absent) else Unseen.NOT_CAPTURED

    def gap(self, address: object) -> Unseen | None:
        """Why the image lacks memory that the kernel will find as it was left.

        None where the image has it, where there is no memory at all, and where it is not
        preserved: by then such memory may hold anything, whatever the image shows.
        """
        if not isinstance(address, int) or self.beyond(address):
            return None
        try:
            self.image.space.read(address, 1)
        except (MemoryFault, OverflowError) as fault:
            found = self.image.map
            whole = isinstance(found, PreservedMap) and found.complete
            if whole and self.blocks is not None and self.blocks.block_of(address) is None:
                return None
            reason = fault.reason if isinstance(fault, MemoryFault) else Reason.UNREADABLE
            return Unseen(reason)
        return None

    def is_blank(self, address: int, size: int) -> bool:
        """True if bytes that the image does not have are zeros as the kernel starts."""
        return any(start <= address and address + size <= end for start, end in self.blank)

    def strays(self) -> U64:
        """Addresses of captured pages that nothing of the handover explains, (n,) uint64.

        Where only metadata was captured, a pointer that was changed leaves a page that nothing
        explains; a page that was not captured leaves nothing.
        """
        page = self.image.geometry.page_size
        known = [
            (address // page * page, -(-(address + size) // page) * page)
            for region in self.image.regions
            for address, size in region.extents()
            if size and address + size < UNPLACED
        ]
        explained = normalise(np.array(known, np.uint64).reshape(-1, 2))
        left = subtract(self.image.space.extents(), explained)
        pages = [
            np.arange(start, min(end, start + page * MOST_STRAYS), page) for start, end in left
        ]
        return np.concatenate([np.zeros(0, np.uint64), *pages])[:MOST_STRAYS].astype(np.uint64)

    def readers(self, address: int) -> int:
        """For how many things a byte was read."""
        return sum(
            start <= address < start + size
            for region in self.image.regions
            for start, size in region.extents()
        )

    @property
    def something_lost(self) -> bool:
        """True if pages are preserved that nothing reaches: what named them is gone.

        An entry without its address has lost a page, and says itself what becomes of it.
        """
        owned = self.image.ownership()
        cut = sum(not isinstance(entry.value_of("address"), int) for entry in self.image.entries)
        return owned is not None and owned.unowned_pages > cut

    @property
    def regions(self) -> list[Node]:
        """The reserve_mem regions."""
        memblock = self.image.entry("memblock")
        regions = memblock.get("regions") if memblock is not None else None
        return regions.elements() if regions is not None else []

    def struct(self, identifier: str, name: str = "") -> CompiledStruct:
        """A struct of a definition; by default that of its records."""
        registry = self.image.registry
        definition = registry.get(identifier)
        return registry.compile(definition, name or definition.content, self.image.geometry)

    def tree_bytes(self, entry: Node) -> bytes:
        """The device tree that an entry names, as far as it was captured."""
        blob = self.image.blob_of(entry.path)
        if blob is not None:
            return blob.data
        address = entry.value_of("address")
        if not isinstance(address, int):
            return b""
        page = self.image.geometry.page_size
        return self.context.read(address, page - address % page) or b""

    def rules_at(self, path: str) -> set[str]:
        """Rules that decoding found broken at a place."""
        return {finding.rule for finding in self.found.get(path, [])}

    def take(self, addresses: NDArray[np.uint64]) -> int | None:
        """kho_restore_page for each address: row of the first that fails, or None.

        A page is restored from the head of its block, and once. Rows after a failure are
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

    def beyond(self, address: object, offset: int = 0) -> bool:
        """True if a pointer leads where there is no memory, so that following it faults.

        Args:
            offset: bytes from there to what is read first; at the end of all addresses they
                begin again.
        """
        if not isinstance(address, int) or not address:
            return False
        address = (address + offset) % (1 << 64)
        if self.memory:
            return not any(start <= address < end for start, end in self.memory)
        return address >= self.memory_end

    @property
    def most_memory(self) -> int:
        """Bytes of memory that the machine has at most."""
        return sum(end - start for start, end in self.memory) or self.memory_end

    def stray_region(self, start: int) -> bool:
        """True if a region of reserve_mem is revived where it stops the boot."""
        known = bool(self.memory) and self.kernel.does.stray_region_faults
        return known and self.beyond(start)

    def astray(self, blocks: Blocks) -> int | None:
        """Physical address of a preserved block where there is no memory; None for none."""
        if blocks.clipped:
            return int(blocks.start[-1])
        if self.memory and len(blocks):
            left = subtract(blocks.ranges(), np.array(self.memory, np.uint64))
            return int(left[0, 0]) if len(left) else None
        beyond = len(blocks) and int(blocks.end.max()) > self.memory_end
        return int(blocks.start[-1]) if beyond else None

    def panics_beyond(self, stage: str, path: str, address: object, offset: int = 0) -> bool:
        """Record a panic if a pointer leads where there is no memory."""
        if not self.beyond(address, offset):
            return False
        why = f"{path} is {address:#x}, where there is no memory"
        self.verdict.add(stage, Outcome.PANIC, why=why)
        return True


def new_boot(
    image: Image, kernel: Kernel, verdict: Verdict, *, memory: Memory, blank: Memory
) -> Boot:
    """The state at power-on.

    Args:
        memory: of the machine; empty where it is not known.
        blank: as in ``Boot``.
    """
    context = Context(image)
    probe = Context(image)
    check_list_ends(probe)
    blocks = None if isinstance(image.map, Absent) else image.map.blocks
    counts = np.zeros(0, np.int64) if blocks is None else blocks.count
    total = int(counts.sum())
    places: dict[str, list[Finding]] = {}
    for finding in image.findings:
        places.setdefault(finding.path, []).append(finding)
    return Boot(
        context=context,
        kernel=kernel,
        verdict=verdict,
        cut={finding.path for finding in probe.findings},
        blocks=blocks,
        number=np.cumsum(counts) - counts,
        taken=np.zeros(total if total <= MOST_BLOCKS else 0, bool),
        memory_end=memory_end(image),
        found=places,
        memory=memory,
        blank=blank,
        claimed=Counter(
            file.value_of("data")
            for session in session_nodes(image.entry("LUO"))
            for file in _elements(session.get("files"))
        ),
    )


def _elements(node: Node | None) -> list[Node]:
    return [] if node is None else node.elements()


def memory_end(image: Image) -> int:
    """Physical address that no memory of this machine reaches, as far as the image shows.

    A preserved page that nothing owns does not count: it may be damage of the map.
    """
    ends = [end for start, end in image.space.extents().tolist() if start < UNPLACED]
    owned = image.ownership()
    for part in owned.pieces() if owned is not None else ():
        kept = part.owner >= 0
        size = part.pages[kept].astype(np.uint64) << np.uint64(image.geometry.page_shift)
        places = part.start[kept] + size
        places = places[places <= np.uint64(SANE_END)]
        if places.size:
            ends.append(int(places.max()))
    if not isinstance(image.scratch, Absent):
        ends += [area.end for area in image.scratch.areas if area.end <= SANE_END]
    last = max(ends, default=SANE_END)
    return MEMORY_MARGIN << (last - 1).bit_length()
