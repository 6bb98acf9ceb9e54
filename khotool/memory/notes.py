"""ELF notes and the VMCOREINFO text; all of it is untrusted."""

from __future__ import annotations

import struct

from khotool.memory.space import Endian, SourceInfo

#: ELF notes looked at in one file, and bytes of VMCOREINFO text taken.
NOTE_LIMIT = 1 << 20
TEXT_LIMIT = 1 << 20
#: Page sizes taken from files, in bytes.
SMALLEST_PAGE = 4096
LARGEST_PAGE = 1 << 20


def find_note(
    data: memoryview, name: bytes, endian: Endian, budget: int = NOTE_LIMIT
) -> tuple[memoryview | None, int]:
    """Find the first ELF note with a name.

    Args:
        data: the contents of a PT_NOTE segment.
        name: without the closing NUL.
        endian: byte order of the note headers.
        budget: notes to look at.

    Returns:
        The description of the note or None, and what is left of the budget.
    """
    header = struct.Struct("<III" if endian == "little" else ">III")
    position = 0
    while position + header.size <= len(data) and budget > 0:
        budget -= 1
        name_size, text_size, _ = header.unpack_from(data, position)
        name_at = position + header.size
        text_at = name_at + (name_size + 3) // 4 * 4
        position = text_at + (text_size + 3) // 4 * 4
        found = bytes(data[name_at : name_at + min(name_size, len(name) + 1)])
        if found.rstrip(b"\0") == name and text_at <= len(data):
            return data[text_at : text_at + text_size], budget
    return None, budget


def parse_vmcoreinfo(text: bytes | memoryview) -> dict[str, str]:
    """Split lines ``KEY=VALUE`` at the first ``=``; the first of equal keys counts."""
    result: dict[str, str] = {}
    for line in bytes(text[:TEXT_LIMIT]).split(b"\0", 1)[0].decode("latin-1").split("\n"):
        key, separator, value = line.partition("=")
        if separator and key:
            result.setdefault(key, value)
    return result


def valid_page_size(size: int) -> bool:
    """Whether a size in bytes is a power of two that some kernel could use."""
    return SMALLEST_PAGE <= size <= LARGEST_PAGE and not size & (size - 1)


def take_vmcoreinfo(info: SourceInfo, text: bytes | memoryview) -> None:
    """Put the VMCOREINFO lines, the release and the page size they tell into ``info``."""
    info.vmcoreinfo = parse_vmcoreinfo(text)
    release = info.vmcoreinfo.get("OSRELEASE")
    if release:
        info.osrelease = release
    size = info.vmcoreinfo.get("PAGESIZE", "").strip()
    if not size:
        return
    if len(size) <= 10 and size.isascii() and size.isdigit() and valid_page_size(int(size)):
        info.page_size = int(size)
    else:
        info.notes.append("VMCOREINFO: PAGESIZE is not a power of two from 4096 to 1048576")
