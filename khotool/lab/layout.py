"""Where a kernel is put beside a handover: RAM large enough, and room that nothing else needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from khotool.errors import InputError
from khotool.lab.bridge import Memory, Range
from khotool.lab.guest import MIB, Area, Handed
from khotool.lab.kernelfile import KernelFile
from khotool.lab.machines import Board, board
from khotool.lab.ram import Bank
from khotool.records import dataclass

LEAST = 128 * MIB
"""Bytes of RAM that a guest has at least; the less there is, the sooner it is overwritten."""
STEP = 128 * MIB
"""RAM is a multiple of this, as sections of x86-64 memory are."""
MOST = 64 << 30
"""Bytes of RAM that a guest gets without being asked for more."""
EARLY = 16 * MIB
"""Bytes that any kernel allocates before it knows what is preserved; a large one as many as it has.
"""
MEMMAP = 32
"""RAM for each byte that describes it, and the like."""
LOWEST = 16 * MIB
"""Offset from the beginning of RAM below which no kernel is put; small machines are low."""
HIGHEST = 1 << 52
"""Physical addresses end here on both machines."""
ADAPTERS = Area(0xA0000, 0x60000)
"""Where a PC has adapters and its ROM instead of RAM."""
MARGIN = 4
"""Preserved pages that nothing owns are memory of the machine up to this many times the rest."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A guest's memory: bytes of RAM, its banks, and the room of the kernel."""

    size: int
    banks: list[Bank]
    room: Area
    handed: Handed | None = None

    def used(self) -> list[Range]:
        """Memory that is not empty as the kernel reads its map: its own, and what is no RAM."""
        areas = [self.room, *(self.handed.scratch if self.handed is not None else []), ADAPTERS]
        return [(area.start, area.end) for area in areas]


def fresh(kernel: KernelFile, initrd: int, size: int | None) -> Layout:
    """Memory of a kernel that starts without a handover.

    Args:
        initrd: its bytes.
        size: bytes of RAM that are wanted; None for what is needed.

    Raises:
        InputError: the kernel does not fit.
    """
    machine = board(kernel.machine)
    need = room_for(kernel, initrd, 0)
    # Scratch areas are as large as a pageblock at least, and there are three.
    blocks = 8 * machine.alignment(kernel)
    size = size or max(LEAST, blocks, _round(2 * need + LOWEST, STEP))
    banks = machine.banks(size)
    start = banks[0].start + LOWEST
    if start + need > banks[0].end:
        raise InputError(
            f"{kernel.path}: needs {-(-(need + LOWEST) // MIB)} MiB of RAM; raise --memory"
        )
    return Layout(size, banks, Area(start, banks[0].end - start))


def beside(memory: Memory, kernel: KernelFile, initrd: int, size: int | None) -> Layout:
    """Memory of a kernel that starts on a handover.

    Args:
        initrd: its bytes.
        size: bytes of RAM that are wanted; None for what is needed.

    Raises:
        InputError: the image lies where this machine has no memory, or RAM would be too large.
    """
    machine = board(kernel.machine)
    needed = sorted([*memory.captured, *memory.metadata, *memory.kept])
    lowest, top = needed[0][0], reach(memory)
    if lowest < machine.BASE:
        raise InputError(
            f"the image has memory at {lowest:#x}, but the RAM of this machine begins at "
            f"{machine.BASE:#x}; encode it with --memory"
        )
    if size is not None:
        found = _fit(machine, memory, kernel, initrd, size)
        if found is None or not _has(found.banks, top):
            raise InputError(
                f"the image reaches to {top:#x}, and the kernel needs "
                f"{room_for(kernel, initrd, size) // MIB} MiB beside it; raise --memory"
            )
        return found
    size = max(LEAST, _round(top - machine.BASE, STEP))
    while size <= MOST:
        found = _fit(machine, memory, kernel, initrd, size)
        if found is not None and _has(found.banks, top):
            return found
        size += max(STEP, _round(size // 8, STEP))
    raise InputError(f"the image reaches to {top:#x}; say --memory SIZE for a machine as large")


def reach(memory: Memory) -> int:
    """Physical address that RAM has to reach.

    A stray block far away from everything else is taken for damage of the map, which no machine
    has memory for.
    """
    kept = [area for area in memory.kept if area[1] <= HIGHEST]
    top = max((end for _, end in [*memory.captured, *memory.metadata, *kept]), default=0)
    limit = MARGIN * top
    return max([top, *(end for _, end in memory.stray if end <= limit)])


def room_for(kernel: KernelFile, initrd: int, size: int) -> int:
    """Bytes that a kernel needs until it knows what is preserved."""
    own = board(kernel.machine).room_needed(kernel)
    return own + max(own, EARLY) + initrd + size // MEMMAP


def _fit(
    machine: Board, memory: Memory, kernel: KernelFile, initrd: int, size: int
) -> Layout | None:
    banks = machine.banks(size)
    need, align = room_for(kernel, initrd, size), machine.alignment(kernel)
    bank = (banks[0].start, banks[0].end)
    own = list(_joined(area for area in memory.scratch if area[1] > area[0]))
    parts = [*memory.metadata, *memory.kept]
    for inside, avoid in (
        (own, [*parts, *memory.captured]),
        ([bank], [*parts, *memory.stray, *memory.captured, *own]),
        ([bank], [*parts, *memory.stray, *own]),
    ):
        gaps = [g for area in inside for g in _free(_clip(area, bank), avoid, align)]
        gaps = [(max(start, bank[0] + _round(LOWEST, align)), end) for start, end in gaps]
        best = max(gaps, key=lambda gap: gap[1] - gap[0], default=(0, 0))
        if best[1] - best[0] >= need:
            room = Area(best[0], best[1] - best[0])
            # The kernel takes early memory from them, whether or not it is there.
            scratch = [
                Area(start, end - start)
                for start, end in memory.scratch
                if any(one.start <= start and end <= one.end for one in banks)
            ]
            if inside is not own:
                scratch.append(room)
            handed = Handed(memory.root, memory.page_size, scratch)
            return Layout(size, banks, room, handed)
    return None


def _free(area: Range, avoid: Iterable[Range], align: int) -> Iterator[Range]:
    """Aligned gaps that ranges leave of an area."""
    at = area[0]
    for start, end in [*sorted(avoid), (area[1], area[1])]:
        low, high = _round(at, align), min(start, area[1]) // align * align
        if low < high:
            yield low, high
        at = max(at, end)


def _joined(areas: Iterable[Range]) -> Iterator[Range]:
    """Areas in order, those that touch as one."""
    start, end = 0, 0
    for low, high in sorted(areas):
        if low > end:
            if end > start:
                yield start, end
            start = low
        end = max(end, high)
    if end > start:
        yield start, end


def _clip(area: Range, bank: Range) -> Range:
    return max(area[0], bank[0]), min(area[1], bank[1])


def _has(banks: list[Bank], top: int) -> bool:
    return any(bank.start < top <= bank.end for bank in banks)


def _round(value: int, align: int) -> int:
    return -(-value // align) * align
