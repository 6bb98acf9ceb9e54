"""ELF64 cores: /proc/vmcore, makedumpfile -E, QEMU dump-guest-memory, khotool's own."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from khotool.absent import Reason
from khotool.errors import InputError
from khotool.memory.notes import NOTE_LIMIT, find_note, take_vmcoreinfo
from khotool.memory.segments import Holes, Ranges, SegmentedSpace
from khotool.memory.space import ADDRESS_LIMIT, U64, Part, SourceInfo

MAGIC = b"\x7fELF"
ELFCLASS32, ELFCLASS64 = 1, 2
ET_CORE = 4
PT_LOAD, PT_NOTE = 1, 4
PN_XNUM = 0xFFFF
HEADER_SIZE = 64
PROGRAM_HEADER_SIZE = 56

#: e_machine to the name of ``uname -m``. QEMU says EM_386 for a vCPU in real mode.
MACHINES = {
    3: "x86_64",
    21: "ppc64",
    22: "s390x",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
_TYPES = {1: "an object file", 2: "a program", 3: "a program or shared library"}
_TOP = np.uint64(ADDRESS_LIMIT - 1)

CUT_OFF = "cut off: the file ends before this part of the segment"
EXCLUDED = "excluded from the dump or zero"


def open_elf(
    info: SourceInfo, data: memoryview, release: Callable[[], None] | None = None
) -> SegmentedSpace:
    """Read the headers of an ELF64 core.

    Segments lie at ``p_paddr``. The part of ``p_memsz`` beyond ``p_filesz`` is a hole: it was
    zero or left out, and the file does not tell which.

    Args:
        info: gets container, byte order, machine, VMCOREINFO and notes.
        data: the whole file.
        release: called when the space is closed.

    Raises:
        InputError: not a 64-bit core, or its headers lie outside the file.
    """
    space = _load(info, data, read_headers(info, data), release)
    if not len(space.extents()):
        raise InputError(
            f"{info.path}: this ELF core holds no memory (no PT_LOAD bytes in the file)"
        )
    return space


def read_headers(info: SourceInfo, data: memoryview) -> dict[str, U64]:
    """Read the header, the program headers and the VMCOREINFO note of an ELF64 core.

    Args:
        info: gets container, byte order, machine, VMCOREINFO and notes.
        data: the file, or as much of its beginning as holds the headers and the note.

    Returns:
        Columns of the program headers, each uint64 (n,): ``type``, ``offset``, ``vaddr``,
        ``paddr``, ``filesz``, ``memsz``.

    Raises:
        InputError: not a 64-bit core, or its headers lie outside ``data``.
    """
    where = info.path
    if len(data) < HEADER_SIZE:
        raise InputError(f"{where}: ELF file cut off inside its header ({len(data)} bytes)")
    if bytes(data[:4]) != MAGIC:
        raise InputError(f"{where}: not an ELF file")
    if data[4] != ELFCLASS64:
        kind = "32-bit" if data[4] == ELFCLASS32 else f"class {data[4]}"
        raise InputError(f"{where}: {kind} ELF file; KHO images are 64-bit cores")
    if data[5] not in (1, 2):
        raise InputError(f"{where}: ELF file with unknown byte order {data[5]}")
    info.container = "elf"
    info.endian = "little" if data[5] == 1 else "big"
    order = "<" if info.endian == "little" else ">"
    # e_ehsize is not looked at: QEMU writes a wrong one.
    kind, machine, _, _, phoff, shoff, _, _, phentsize, phnum = struct.unpack_from(
        f"{order}HHIQQQIHHH", data, 16
    )
    if kind != ET_CORE:
        what = _TYPES.get(kind, f"of type {kind}")
        raise InputError(f"{where}: ELF file is {what}, not a core: give a dump of memory")
    info.machine = MACHINES.get(machine)
    if info.machine == "ppc64" and info.endian == "little":
        info.machine = "ppc64le"
    if phnum == PN_XNUM:
        if shoff + HEADER_SIZE > len(data):
            raise InputError(f"{where}: the section header with the segment count is cut off")
        (phnum,) = struct.unpack_from(f"{order}I", data, shoff + 44)
    headers = _program_headers(info, data, phoff, phentsize, phnum)
    _read_notes(info, data, headers)
    return headers


def _program_headers(
    info: SourceInfo, data: memoryview, phoff: int, phentsize: int, phnum: int
) -> dict[str, U64]:
    if phentsize < PROGRAM_HEADER_SIZE:
        raise InputError(f"{info.path}: ELF program headers of {phentsize} bytes, expected 56")
    room = max(len(data) - phoff, 0) // phentsize
    if not room or not phnum:
        raise InputError(f"{info.path}: this ELF core has no program headers inside the file")
    if phnum > room:
        text = f"only {room} of {phnum} program headers are inside the file"
        info.lack(text, Part.HEADERS, phnum - room, phnum)
        phnum = room
    order = "<" if info.endian == "little" else ">"
    fields = {"type": ("u4", 0), "offset": ("u8", 8), "vaddr": ("u8", 16), "paddr": ("u8", 24)}
    fields |= {"filesz": ("u8", 32), "memsz": ("u8", 40)}
    layout = np.dtype(
        {
            "names": list(fields),
            "formats": [order + kind for kind, _ in fields.values()],
            "offsets": [at for _, at in fields.values()],
            "itemsize": phentsize,
        }
    )
    table = np.frombuffer(data, dtype=layout, count=phnum, offset=phoff)
    return {name: table[name].astype(np.uint64) for name in fields}


def _read_notes(info: SourceInfo, data: memoryview, headers: dict[str, U64]) -> None:
    budget = NOTE_LIMIT
    chosen = np.flatnonzero(headers["type"] == PT_NOTE)[:1024]
    for index in chosen.tolist():
        offset, size = int(headers["offset"][index]), int(headers["filesz"][index])
        if info.endian is None or offset >= len(data):
            continue
        text, budget = find_note(data[offset : offset + size], b"VMCOREINFO", info.endian, budget)
        if text is not None:
            take_vmcoreinfo(info, text)
            return


def _load(
    info: SourceInfo, data: memoryview, headers: dict[str, U64], release: Callable[[], None] | None
) -> SegmentedSpace:
    wanted = headers["type"] == PT_LOAD
    if np.count_nonzero(wanted) > 1 and not headers["paddr"][wanted].any():
        info.notes.append(
            "every segment has physical address 0, as in a process core or an old /proc/kcore: "
            "the addresses are not physical"
        )
    nowhere = wanted & (headers["paddr"] == _TOP)
    if nowhere.any():
        count = np.count_nonzero(nowhere)
        info.notes.append(f"{count} segments without a physical address are left out")
        wanted &= ~nowhere
    offset, paddr = headers["offset"][wanted], headers["paddr"][wanted]
    filesz, memsz = headers["filesz"][wanted], headers["memsz"][wanted]

    size = np.uint64(len(data))
    inside = np.where(offset < size, size - np.minimum(offset, size), np.uint64(0))
    length = np.minimum(filesz, inside)
    cut = np.count_nonzero(length < filesz)
    if cut:
        text = f"the file is cut off: {cut} segments reach past its end"
        info.lack(text, Part.SEGMENTS, int(cut), len(filesz))
    room = _TOP - paddr
    clipped = np.count_nonzero(np.maximum(filesz, memsz) > room)
    if clipped:
        info.notes.append(f"{clipped} segments pass the end of the address space: clipped")
    length = np.minimum(length, room)
    present = length > 0
    ends = paddr + length
    promised = paddr + np.minimum(filesz, room)
    whole = paddr + np.minimum(np.maximum(filesz, memsz), room)
    lost, left_out = promised > ends, whole > promised
    return SegmentedSpace.from_ranges(
        info,
        data,
        Ranges(paddr[present], ends[present], offset[present]),
        [
            Holes(ends[lost], promised[lost], CUT_OFF, Reason.TRUNCATED),
            Holes(promised[left_out], whole[left_out], EXCLUDED),
        ],
        release,
    )
