"""Small kdump-compressed dumps for tests."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

PAGE = 4096


def build_kdump(
    pages: dict[int, bytes],
    *,
    order: str = "<",
    version: int = 6,
    block_size: int = PAGE,
    compress: Callable[[bytes], bytes] = zlib.compress,
    flags: int = 1,
    split: tuple[int, int] | None = None,
    vmcoreinfo: bytes = b"",
    note: bytes = b"",
    max_mapnr: int | None = None,
    release: bytes = b"7.3.4",
    status: int = 0,
) -> bytes:
    """Write a dump.

    Args:
        pages: PFN to contents of ``block_size`` bytes. With ``split``, the bitmap names all of
            them and the file holds those of the range.
        order: ``<`` or ``>``.
        version: of the header.
        block_size: bytes of a page.
        compress: how pages are compressed; a page that does not shrink is stored.
        flags: of the compressed pages.
        split: first PFN and PFN after the last one of a split dump.
        vmcoreinfo: text named by ``offset_vmcoreinfo``.
        note: ELF notes named by ``offset_note``.
        max_mapnr: PFNs covered by the bitmaps.
        release: of the utsname.
        status: of the header.
    """
    top = max(pages, default=0) + 1 if max_mapnr is None else max_mapnr
    bitmap_blocks = -(-top // (8 * block_size))
    bitmap = bytearray(bitmap_blocks * block_size)
    for pfn in pages:
        bitmap[pfn // 8] |= 1 << pfn % 8
    sub_blocks = 1 + -(-(len(vmcoreinfo) + len(note)) // block_size)
    core_at = 2 * block_size if vmcoreinfo else 0
    note_at = 2 * block_size + len(vmcoreinfo) if note else 0

    names = (b"Linux", b"host", release, b"#1", b"x86_64", b"")
    utsname = b"".join(name.ljust(65, b"\0") for name in names)
    header = b"KDUMP   " + struct.pack(f"{order}i", version) + utsname + bytes(22)
    header += struct.pack(
        f"{order}IiiIIIIIIi",
        status,
        block_size,
        sub_blocks,
        2 * bitmap_blocks,
        min(top, 0xFFFFFFFF),
        0,
        0,
        0,
        0,
        1,
    )
    first, last = split or (0, 0)
    sub = struct.pack(
        f"{order}QiiQQqQqQqQQQQ",
        0,
        0,
        split is not None,
        first,
        last,
        core_at,
        len(vmcoreinfo),
        note_at,
        len(note),
        0,
        0,
        first,
        last,
        top,
    )
    result = bytearray(header.ljust(block_size, b"\0"))
    result += sub.ljust(block_size, b"\0")
    result += (vmcoreinfo + note).ljust((sub_blocks - 1) * block_size, b"\0")
    result += bitmap + bitmap

    held = [pfn for pfn in sorted(pages) if split is None or split[0] <= pfn < split[1]]
    offset = len(result) + 24 * len(held)
    descriptors, data = bytearray(), bytearray()
    where: dict[bytes, int] = {}
    for pfn in held:
        packed = compress(pages[pfn])
        kind = flags if len(packed) < block_size else 0
        stored = packed if kind else pages[pfn]
        if stored not in where:
            where[stored] = offset + len(data)
            data += stored
        descriptors += struct.pack(f"{order}qIIQ", where[stored], len(stored), kind, 0)
    return bytes(result + descriptors + data)


def flatten(data: bytes, chunk: int = 1000, shuffle: bool = True) -> bytes:
    """Rewrite a dump as the flattened stream of makedumpfile, in records of ``chunk`` bytes.

    With ``shuffle``, the records come in descending order, and the first one is written twice:
    wrong first, right at the end.
    """
    records = [(at, data[at : at + chunk]) for at in range(0, len(data), chunk)]
    if shuffle:
        records = [(0, b"?" * min(chunk, len(data))), *reversed(records)]
    head = b"makedumpfile".ljust(16, b"\0") + struct.pack(">qq", 1, 1)
    body = b"".join(struct.pack(">qq", at, len(part)) + part for at, part in records)
    return head.ljust(4096, b"\0") + body + struct.pack(">qq", -1, -1)
