"""Kernel virtual addresses in a capture: a walk of the kernel's own page tables.

Where the tables are follows from VMCOREINFO, as crash and drgn take it. Nothing of it is trusted:
a table is read only where the capture has it, and a walk has as many steps as there are levels.
"""

from __future__ import annotations

from collections.abc import Iterator

from khotool.memory.space import AddressSpace, MemoryFault, SourceInfo
from khotool.records import dataclass

X86_KERNEL_MAP = 0xFFFFFFFF80000000
"""__START_KERNEL_map of x86-64: where the kernel's image is mapped, less ``phys_base``."""
X86_PRESENT, X86_LARGE = 1 << 0, 1 << 7
ARM_VALID, ARM_TABLE = 1 << 0, 1 << 1
ARM_PAGES = (4096, 16384, 65536)
ARM_ADDRESS_BITS = 50
"""Bits of a physical address that are in their place; those above are used otherwise."""
ENTRY = 8
"""Bytes of an entry of a page table, on both machines."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Contiguous physical memory behind contiguous virtual addresses.

    Args:
        virtual: first virtual address; physical: its physical address; size: bytes.
    """

    virtual: int
    physical: int
    size: int


@dataclass(frozen=True, slots=True)
class KernelTables:
    """The page tables of the kernel whose memory a capture is.

    Args:
        root: physical address of the top table.
        bits: bits of a virtual address that select entries; those above are all ones.
        levels: tables on the way to a page.
        page_shift: log2 of the bytes of a page and of a table.
        valid: bits that an entry must have to be followed.
        table: bits that tell a table from a block above the last level; 0 where ``block`` does.
        block: bit that an entry of a block has above the last level; 0 where ``table`` does.
        address: bits of an entry that are a physical address.
        order: byte order of the entries, a numpy prefix.
    """

    space: AddressSpace
    root: int
    bits: int
    levels: int
    page_shift: int
    valid: int
    table: int
    block: int
    address: int
    order: str = "<"

    def pieces(self, start: int, end: int, steps: int) -> Iterator[Piece]:
        """What is mapped in ``[start, end)`` of virtual addresses, ascending; the rest is left out.

        A range that a whole entry maps is one piece, however large it is.

        Args:
            steps: entries to look at before giving up silently.
        """
        at = start
        for _ in range(steps):
            if at >= end:
                return
            step = self._entry(at)
            stop = min(end, (at // step.size + 1) * step.size)
            if step.physical >= 0:
                yield Piece(at, step.physical + at % step.size, stop - at)
            at = stop

    def _entry(self, virtual: int) -> Piece:
        """The entry that decides on an address: the piece it maps, at -1 for none."""
        bits = self.page_shift - 3
        table = self.root
        for level in range(self.levels - 1, -1, -1):
            shift = self.page_shift + level * bits
            index = (virtual & ((1 << self.bits) - 1)) >> shift & ((1 << bits) - 1)
            word = self._word(table + index * ENTRY)
            if not word & self.valid:
                return Piece(virtual, -1, 1 << shift)
            target = word & self.address
            if level == 0 or self._is_block(word):
                return Piece(virtual, target & ~((1 << shift) - 1), 1 << shift)
            table = target
        raise AssertionError("the last level ends the walk")

    def _is_block(self, word: int) -> bool:
        return bool(word & self.block) if self.block else not word & self.table

    def _word(self, address: int) -> int:
        try:
            data = self.space.read(address, ENTRY)
        except MemoryFault:
            return 0
        return int.from_bytes(data, "little" if self.order == "<" else "big")


def kernel_tables(space: AddressSpace) -> KernelTables | None:
    """The page tables that VMCOREINFO leads to; None where it does not say enough."""
    info = space.info
    if info.machine == "x86_64":
        return _x86(space, info)
    if info.machine == "aarch64":
        return _arm64(space, info)
    return None


def number(info: SourceInfo, key: str) -> int | None:
    """A number of VMCOREINFO: ``SYMBOL`` is hexadecimal, others decimal or with 0x."""
    text = info.vmcoreinfo.get(key)
    if text is None or len(text) > 32:
        return None
    try:
        return int(text, 16 if key.startswith("SYMBOL(") else 0)
    except ValueError:
        return None


def _x86(space: AddressSpace, info: SourceInfo) -> KernelTables | None:
    base = number(info, "NUMBER(phys_base)")
    top = number(info, "SYMBOL(init_top_pgt)") or number(info, "SYMBOL(swapper_pg_dir)")
    if base is None or top is None or top < X86_KERNEL_MAP:
        return None
    secret = number(info, "NUMBER(sme_mask)") or 0
    levels = 5 if number(info, "NUMBER(pgtable_l5_enabled)") else 4
    return KernelTables(
        space,
        top - X86_KERNEL_MAP + base,
        levels * 9 + 12,
        levels,
        12,
        X86_PRESENT,
        0,
        X86_LARGE,
        ((1 << 52) - 1) & ~0xFFF & ~secret,
    )


def _arm64(space: AddressSpace, info: SourceInfo) -> KernelTables | None:
    offset = number(info, "NUMBER(kimage_voffset)")
    top = number(info, "SYMBOL(swapper_pg_dir)")
    bits = number(info, "NUMBER(VA_BITS)")
    page = info.page_size
    if offset is None or top is None or bits is None or page is None:
        return None
    # A kernel built for 52 bits may run on a machine that has 48.
    unused = number(info, "NUMBER(TCR_EL1_T1SZ)")
    actual = 64 - unused if unused is not None else bits
    shift = page.bit_length() - 1
    if not shift < actual <= bits <= 52 or page not in ARM_PAGES:
        return None
    levels = -(-(actual - shift) // (shift - 3))
    # Where both have as many levels, the top table is that of the larger one.
    same = levels == -(-(bits - shift) // (shift - 3))
    return KernelTables(
        space,
        (top - offset) & ((1 << 64) - 1),
        bits if same else actual,
        levels,
        shift,
        ARM_VALID,
        ARM_TABLE,
        0,
        ((1 << ARM_ADDRESS_BITS) - 1) & ~(page - 1),
        "<" if info.endian != "big" else ">",
    )
