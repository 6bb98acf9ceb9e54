"""Memory of the running kernel: /proc/kcore by its program headers, /dev/mem by /proc/iomem."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import numpy as np

from khotool.errors import InputError
from khotool.memory.elf import (
    ELFCLASS64,
    HEADER_SIZE,
    MAGIC,
    PROGRAM_HEADER_SIZE,
    PT_LOAD,
    PT_NOTE,
    read_headers,
)
from khotool.memory.live import LiveSpace, ReadAt
from khotool.memory.segments import Ranges
from khotool.memory.space import ADDRESS_LIMIT, U64, SourceInfo

#: Bytes at the beginning of /proc/kcore that are read: headers, and the notes after them.
HEAD_LIMIT = 8 << 20
#: Lines of /proc/iomem that are looked at.
LINE_LIMIT = 65536
_TOP = np.uint64(ADDRESS_LIMIT - 1)
_RESOURCE = re.compile(r"^ *([0-9a-f]{1,16})-([0-9a-f]{1,16}) : System RAM\b")
_PIECE = 1 << 20


def open_kcore(
    info: SourceInfo,
    read_at: ReadAt,
    *,
    page_size: int = 4096,
    release: Callable[[], None] | None = None,
) -> LiveSpace:
    """Physical memory as /proc/kcore shows it.

    Its segments are kernel virtual; ``p_paddr`` says which physical memory the direct map and
    the kernel's own image show, and is 0 or -1 for the others. Nothing but headers and notes is
    read here, whatever size the headers claim.

    Args:
        info: gets byte order, machine, VMCOREINFO and notes.
        read_at: reads the file.
        page_size: bytes per page where no VMCOREINFO note says it (before Linux 4.19).
        release: called when the space is closed.

    Raises:
        InputError: no 64-bit core, or no segment with a physical address.
        OSError: the headers cannot be read.
    """
    headers = read_headers(info, memoryview(_head(read_at)))
    info.container = "live"
    return LiveSpace(
        info,
        read_at,
        _direct_map(info, headers),
        page_size=info.page_size or page_size,
        release=release,
    )


def _head(read_at: ReadAt) -> bytes:
    """The beginning of the file, up to the end of its notes."""
    head = read_at(HEADER_SIZE, 0)
    if len(head) < HEADER_SIZE or head[:4] != MAGIC or head[4] != ELFCLASS64:
        return head
    order = ">" if head[5] == 2 else "<"
    (phoff,) = struct.unpack_from(f"{order}Q", head, 32)
    phentsize, phnum = struct.unpack_from(f"{order}HH", head, 54)
    end = min(phoff + phentsize * phnum, HEAD_LIMIT)
    data = _read_to(read_at, end)
    entry = struct.Struct(f"{order}II QQQQ")
    for at in range(phoff, len(data) - PROGRAM_HEADER_SIZE + 1, max(phentsize, 1)):
        kind, _, offset, _, _, size = entry.unpack_from(data, at)
        if kind == PT_NOTE and phentsize >= PROGRAM_HEADER_SIZE:
            return _read_to(read_at, min(max(offset + size, end), HEAD_LIMIT))
    return data


def _read_to(read_at: ReadAt, end: int) -> bytes:
    data = bytearray()
    while len(data) < end:
        piece = read_at(min(_PIECE, end - len(data)), len(data))
        if not piece:
            break
        data += piece
    return bytes(data)


def _direct_map(info: SourceInfo, headers: dict[str, U64]) -> Ranges:
    wanted = (headers["type"] == PT_LOAD) & (headers["filesz"] > 0) & (headers["paddr"] != _TOP)
    table = {name: values[wanted] for name, values in headers.items()}
    delta = table["vaddr"] - table["paddr"]
    # Kernels before 4.11 have 0 for all segments; with the others, 0 is a place like any.
    placed = table["paddr"] != 0
    sound = placed | np.isin(delta, delta[placed]) | (len(delta) == 1)
    # An offset that no file can have belongs to headers that nothing is known about.
    room = np.uint64(1 << 63) - np.minimum(table["offset"], np.uint64(1 << 63))
    sound &= room > 0
    if not sound.any():
        raise InputError(
            f"{info.path}: no segment has a physical address; kernels from 4.11 on give them"
        )
    start, offset, delta = table["paddr"][sound], table["offset"][sound], delta[sound]
    size = np.minimum(np.minimum(table["filesz"][sound], room[sound]), _TOP - start)
    # All of the direct map lies at one distance. Pages that the kernel frees inside its own
    # image vanish from the image's mapping, but not from the direct map: it goes first.
    kinds, which = np.unique(delta, return_inverse=True)
    weight = np.zeros(len(kinds), dtype=np.float64)
    np.add.at(weight, which, size.astype(np.float64))
    order = np.argsort(-weight[which], kind="stable")
    start, size, offset = start[order], size[order], offset[order]
    keep = size > 0
    return Ranges(start[keep], (start + size)[keep], offset[keep])


def system_ram(iomem: str) -> list[tuple[int, int]]:
    """Ranges of System RAM in the text of /proc/iomem: first byte and the one after the last.

    Without CAP_SYS_ADMIN all addresses are 0: then there are none.
    """
    found = []
    for line in iomem.split("\n")[:LINE_LIMIT]:
        match = _RESOURCE.match(line)
        if match:
            start, last = int(match[1], 16), int(match[2], 16)
            if last > start and last < ADDRESS_LIMIT - 1:
                found.append((start, last + 1))
    return found


def open_devmem(
    info: SourceInfo,
    read_at: ReadAt,
    ram: list[tuple[int, int]],
    *,
    page_size: int = 4096,
    release: Callable[[], None] | None = None,
) -> LiveSpace:
    """Physical memory through /dev/mem, where an offset is an address; registers are left alone.

    Args:
        info: gets the container.
        ram: ranges of memory, as ``system_ram`` gives them; nothing else is ever read.
        page_size: bytes.

    Raises:
        OSError: the kernel refuses memory, as ``CONFIG_STRICT_DEVMEM`` makes it.
        InputError: there is no memory in ``ram``.
    """
    info.container = "live"
    starts = np.array([start for start, _ in ram], dtype=np.uint64)
    ends = np.array([end for _, end in ram], dtype=np.uint64)
    space = LiveSpace(
        info, read_at, Ranges(starts, ends, starts.copy()), page_size=page_size, release=release
    )
    table = space.extents()
    if not len(table):
        raise InputError(f"{info.path}: /proc/iomem shows no System RAM; read it as root")
    # The first megabyte is zeros under CONFIG_STRICT_DEVMEM; the last page decides.
    read_at(page_size, int(table[-1, 1]) - page_size)
    return space
