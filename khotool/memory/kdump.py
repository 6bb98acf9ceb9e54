"""kdump-compressed dumps of makedumpfile and QEMU, plain or flattened."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable

import numpy as np

from khotool.errors import InputError
from khotool.memory.kdumpspace import DESCRIPTOR_SIZE, KdumpSpace
from khotool.memory.notes import TEXT_LIMIT, find_note, take_vmcoreinfo, valid_page_size
from khotool.memory.pagemap import PageMap
from khotool.memory.segments import Ranges, SegmentedSpace
from khotool.memory.space import Endian, MemoryFault, Part, SourceInfo

SIGNATURE = b"KDUMP   "
FLAT_SIGNATURE = b"makedumpfile\0"
#: What either form begins with.
MAGICS = (SIGNATURE, FLAT_SIGNATURE)

_FLAT_HEADER = 4096
_FLAT_RECORD = struct.Struct(">qq")
_LAST_VERSION = 6
#: status: the disk was full when the dump was written.
_INCOMPLETE = 0x8
_NOTES_LIMIT = 64 << 20


def open_kdump(
    info: SourceInfo, data: memoryview, release: Callable[[], None] | None = None
) -> KdumpSpace:
    """Read the headers and bitmap of a kdump-compressed dump with 64-bit headers.

    Args:
        info: gets container, byte order, page size, machine, VMCOREINFO and notes.
        data: the whole file.
        release: called when the space is closed.

    Raises:
        InputError: a header or the bitmap is damaged or cut off.
    """
    info.container = "kdump"
    file = _flattened(info, data) if bytes(data[:13]) == FLAT_SIGNATURE else _plain(info, data)
    try:
        return _open(info, file, release)
    except MemoryFault as fault:
        raise InputError(
            f"{info.path}: kdump file cut off: byte {fault.address} of its headers is missing"
        ) from None


def _plain(info: SourceInfo, data: memoryview) -> SegmentedSpace:
    end = np.array([len(data)], dtype=np.uint64)
    zero = np.zeros(1, dtype=np.uint64)
    return SegmentedSpace.from_ranges(SourceInfo(info.path, "kdump"), data, Ranges(zero, end, zero))


def _flattened(info: SourceInfo, data: memoryview) -> SegmentedSpace:
    """Index the records of a flattened file: the space of the file they would make."""
    starts, ends, offsets = array("Q"), array("Q"), array("Q")
    position = _FLAT_HEADER
    while True:
        if position + _FLAT_RECORD.size > len(data):
            info.lack("the flattened file is cut off: it has no end record", Part.RECORDS)
            break
        offset, size = _FLAT_RECORD.unpack_from(data, position)
        position += _FLAT_RECORD.size
        if offset == -1 and size == -1:
            break
        if offset < 0 or size < 0:
            info.lack(
                f"the flattened file has a bad record at byte {position - _FLAT_RECORD.size}: "
                f"the rest is left out",
                Part.RECORDS,
            )
            break
        there = min(size, len(data) - position)
        if there:
            starts.append(offset)
            ends.append(offset + there)
            offsets.append(position)
        position += size
    # Later records replace earlier ones.
    table = [np.frombuffer(a.tobytes(), dtype=np.uint64)[::-1] for a in (starts, ends, offsets)]
    return SegmentedSpace.from_ranges(SourceInfo(info.path, "kdump"), data, Ranges(*table))


def _open(info: SourceInfo, file: SegmentedSpace, release: Callable[[], None] | None) -> KdumpSpace:
    header = file.read(0, 464)
    if bytes(header[:8]) != SIGNATURE:
        raise InputError(f"{info.path}: not a kdump file: it does not begin with 'KDUMP   '")
    info.endian, version = _version(info, header)
    order = "<" if info.endian == "little" else ">"
    status, block_size, sub_blocks, bitmap_blocks, max_mapnr = struct.unpack_from(
        f"{order}IiiII", header, 424
    )
    if not valid_page_size(block_size) or not 0 < sub_blocks < 1 << 20:
        (narrow,) = struct.unpack_from(f"{order}i", header, 416)
        what = "32-bit kdump file" if valid_page_size(narrow) else "kdump file with a bad header"
        raise InputError(
            f"{info.path}: {what} (block size {block_size}); only 64-bit ones are read"
        )
    info.page_size = block_size
    info.osrelease = _text(header, 12 + 2 * 65)
    info.machine = _text(header, 12 + 4 * 65)
    if status & _INCOMPLETE:
        info.lack("the dump says it is incomplete: the disk was full", Part.DUMP)

    sub = struct.unpack_from(f"{order}QiiQQqQqQqQQQQ", file.read(block_size, 104))
    _, _, split, start_pfn, end_pfn, core_at, core_size, note_at, note_size = sub[:9]
    if version >= _LAST_VERSION:
        start_pfn, end_pfn, max_mapnr = sub[11:14]
    if version < 2 or not split:
        start_pfn, end_pfn = 0, max_mapnr
    else:
        info.lack(
            f"one file of a split dump: only PFN {start_pfn:#x} to {end_pfn:#x} is in it",
            Part.FILES,
        )
    _vmcoreinfo(
        info,
        file,
        (core_at, core_size) if version >= 3 else (0, 0),
        (note_at, note_size) if version >= 4 else (0, 0),
    )

    descriptors_at = (1 + sub_blocks + bitmap_blocks) * block_size
    bitmap = ((1 + sub_blocks) * block_size, bitmap_blocks * block_size)
    pages = _pages(info, file, block_size, bitmap, (start_pfn, end_pfn, max_mapnr))
    wanted = len(pages)
    there = file.backed(descriptors_at, wanted * DESCRIPTOR_SIZE) // DESCRIPTOR_SIZE
    if there < wanted:
        gone = wanted - there
        text = f"the file is cut off: {gone} of {wanted} pages are missing"
        info.lack(text, Part.PAGES, gone, wanted)
        pages.keep_first(there)
    if not len(pages):
        raise InputError(f"{info.path}: this kdump file holds no page")
    return KdumpSpace(info, file, block_size, pages, descriptors_at, release)


def _pages(
    info: SourceInfo,
    file: SegmentedSpace,
    block_size: int,
    bitmap: tuple[int, int],
    frames: tuple[int, int, int],
) -> PageMap:
    """Which pages are in the file.

    Args:
        block_size: bytes of a block, which is a page.
        bitmap: place in the file and size of the bitmaps, in bytes.
        frames: first page frame of this file, the frame after its last, frames of the machine.
    """
    start_pfn, end_pfn, max_mapnr = frames
    at, size = bitmap
    needed = -(-max_mapnr // (8 * block_size)) * block_size
    if size >= 2 * needed:
        # The first bitmap has the pages that exist, the second those in the file.
        size //= 2
        at += size
    if size * 8 < max_mapnr:
        info.notes.append(f"the bitmap covers {size * 8} of {max_mapnr} pages")
    return PageMap(file.read(at, min(size, needed)), start_pfn, min(end_pfn, max_mapnr))


def _version(info: SourceInfo, header: memoryview) -> tuple[Endian, int]:
    endian: Endian
    for endian, order in (("little", "<"), ("big", ">")):
        (version,) = struct.unpack_from(f"{order}i", header, 8)
        if 0 <= version < 1 << 16:
            if version > _LAST_VERSION:
                info.notes.append(f"kdump header version {version} is newer than 6")
            return endian, version
    raise InputError(f"{info.path}: kdump file with a bad header version")


def _text(header: memoryview, at: int) -> str | None:
    text = bytes(header[at : at + 65]).split(b"\0", 1)[0].decode("latin-1")
    return text or None


def _vmcoreinfo(
    info: SourceInfo, file: SegmentedSpace, text: tuple[int, int], notes: tuple[int, int]
) -> None:
    if info.endian is None:
        return
    try:
        if text[0] > 0 < text[1]:
            take_vmcoreinfo(info, file.read(text[0], min(text[1], TEXT_LIMIT)))
        elif notes[0] > 0 < notes[1]:
            raw = file.read(notes[0], min(notes[1], _NOTES_LIMIT))
            found, _ = find_note(raw, b"VMCOREINFO", info.endian)
            if found is not None:
                take_vmcoreinfo(info, found)
    except MemoryFault:
        info.notes.append("the VMCOREINFO of the dump is cut off")
