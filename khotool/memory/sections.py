"""Sections of an ELF file, such as a kernel's vmlinux, by name."""

from __future__ import annotations

import struct

from khotool.errors import InputError

MAGIC = b"\x7fELF"
MOST_SECTIONS = 1 << 16
"""A vmlinux has less than a hundred."""
SHT_NOBITS = 8
SHF_COMPRESSED = 0x800
SHN_XINDEX = 0xFFFF


def find_section(where: str, data: memoryview, name: str) -> memoryview | None:
    """The bytes of a section; None if the file has none of this name.

    Args:
        where: for messages.
        data: the whole file, 32 or 64 bit, of either byte order.

    Raises:
        InputError: not an ELF file, or it ends before what its headers name.
    """
    if len(data) < 64 or bytes(data[:4]) != MAGIC:
        raise InputError(f"{where}: not an ELF file")
    bits, byteorder = data[4], data[5]
    if bits not in (1, 2) or byteorder not in (1, 2):
        raise InputError(f"{where}: ELF file of unknown class {bits} or byte order {byteorder}")
    order = "<" if byteorder == 1 else ">"
    # Word size decides where e_shoff is and how long a section header is.
    if bits == 1:
        (table,) = struct.unpack_from(f"{order}I", data, 32)
        step, count, names = struct.unpack_from(f"{order}HHH", data, 46)
        form, least = f"{order}IIIIIII", 40
    else:
        (table,) = struct.unpack_from(f"{order}Q", data, 40)
        step, count, names = struct.unpack_from(f"{order}HHH", data, 58)
        form, least = f"{order}IIQQQQI", 64
    if not table:
        return None

    def header(index: int) -> tuple[int, ...]:
        at = table + index * step
        if step < least or at + step > len(data):
            raise InputError(f"{where}: cut off: section header {index} lies behind its end")
        # Name, type, flags, address, offset, size, link.
        found: tuple[int, ...] = struct.unpack_from(form, data, at)
        return found

    # Large numbers stand in the first header.
    count = count or header(0)[5]
    names = header(0)[6] if names == SHN_XINDEX else names
    if count > MOST_SECTIONS or names >= count:
        raise InputError(f"{where}: ELF file with {count} sections, names in section {names}")
    strings = _bytes_of(where, data, header(names))
    wanted = name.encode() + b"\0"
    for index in range(count):
        found = header(index)
        if bytes(strings[found[0] : found[0] + len(wanted)]) == wanted:
            if found[2] & SHF_COMPRESSED:
                raise InputError(
                    f"{where}: section {name} is compressed; expand it with "
                    "objcopy --decompress-debug-sections"
                )
            return _bytes_of(where, data, found)
    return None


def _bytes_of(where: str, data: memoryview, header: tuple[int, ...]) -> memoryview:
    if header[1] == SHT_NOBITS:
        return data[:0]
    if header[4] + header[5] > len(data):
        raise InputError(f"{where}: cut off: a section lies behind its end")
    return data[header[4] : header[4] + header[5]]
