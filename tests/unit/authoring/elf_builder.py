"""Small ELF files with sections."""

from __future__ import annotations

import struct


def elf(
    sections: dict[str, bytes],
    *,
    bits: int = 64,
    order: str = "<",
    more: bytes = b"",
    flags: int = 0,
) -> bytes:
    """A file with these sections; ``more`` stands behind the header, in none of them."""
    head = 64 if bits == 64 else 52
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (*sections, ".shstrtab"))
    parts = [*sections.items(), (".shstrtab", names)]
    body = bytearray(more)
    rows = [(0, 0, 0, 0, 0)]
    for name, data in parts:
        at = names.index(b"\0" + name.encode() + b"\0") + 1
        rows.append((at, 1 if name != ".shstrtab" else 3, flags, head + len(body), len(data)))
        body += data
    table = b""
    for name_at, kind, flag, offset, size in rows:
        if bits == 64:
            table += struct.pack(
                f"{order}IIQQQQIIQQ", name_at, kind, flag, 0, offset, size, 0, 0, 1, 0
            )
        else:
            table += struct.pack(f"{order}10I", name_at, kind, flag, 0, offset, size, 0, 0, 1, 0)
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    where = head + len(body)
    count = len(rows)
    if bits == 64:
        ehdr = struct.pack(
            f"{order}HHIQQQIHHHHHH", 2, 62, 1, 0, 0, where, 0, 64, 56, 0, 64, count, count - 1
        )
    else:
        ehdr = struct.pack(
            f"{order}HHIIIIIHHHHHH", 2, 3, 1, 0, 0, where, 0, 52, 32, 0, 40, count, count - 1
        )
    return ident + ehdr + bytes(body) + table
