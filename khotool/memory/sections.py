"""Sections of an ELF file, such as a kernel's vmlinux, by name."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from khotool.errors import InputError
from khotool.records import dataclass

MAGIC = b"\x7fELF"
MOST_SECTIONS = 1 << 16
"""A vmlinux has less than a hundred."""
SHT_NOBITS = 8
SHF_COMPRESSED = 0x800
SHN_XINDEX = 0xFFFF


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where an ELF file of one word size has what; offsets and sizes in bytes.

    Args:
        table: offset of e_shoff, and its format.
        counts: offset of e_shentsize, which e_shnum and e_shstrndx follow.
        header: format of a section header: name, type, flags, address, offset, size, link.
        least: size of a section header.
    """

    table: tuple[int, str]
    counts: int
    header: str
    least: int


_LAYOUTS = {1: _Layout((32, "I"), 46, "IIIIIII", 40), 2: _Layout((40, "Q"), 58, "IIQQQQI", 64)}


class _Sections:
    """The section headers of an ELF file.

    Args:
        where: for messages.
        data: the whole file, 32 or 64 bit, of either byte order.

    Raises:
        InputError: not an ELF file.
    """

    def __init__(self, where: str, data: memoryview) -> None:
        if len(data) < 64 or bytes(data[:4]) != MAGIC:
            raise InputError(f"{where}: not an ELF file")
        bits, byteorder = data[4], data[5]
        if bits not in _LAYOUTS or byteorder not in (1, 2):
            raise InputError(f"{where}: ELF file of unknown class {bits} or byte order {byteorder}")
        self.where, self.data = where, data
        self.layout = _LAYOUTS[bits]
        self.order = "<" if byteorder == 1 else ">"
        at, form = self.layout.table
        (self.table,) = struct.unpack_from(self.order + form, data, at)
        numbers = struct.unpack_from(f"{self.order}HHH", data, self.layout.counts)
        self.step, self.count, self.names = numbers

    def header(self, index: int) -> tuple[int, ...]:
        """Name, type, flags, address, offset, size and link of a section."""
        at = self.table + index * self.step
        if self.step < self.layout.least or at + self.step > len(self.data):
            raise InputError(f"{self.where}: cut off: section header {index} is beyond its end")
        found: tuple[int, ...] = struct.unpack_from(self.order + self.layout.header, self.data, at)
        return found

    def content(self, header: tuple[int, ...]) -> memoryview:
        """Bytes of a section."""
        if header[1] == SHT_NOBITS:
            return self.data[:0]
        if header[4] + header[5] > len(self.data):
            raise InputError(f"{self.where}: cut off: a section is beyond its end")
        return self.data[header[4] : header[4] + header[5]]

    def named(self) -> Iterator[tuple[tuple[int, ...], memoryview]]:
        """Each header, and the bytes of the name table from its name on."""
        if not self.table:
            return
        # Numbers that are too large for the file's header are in the first section's.
        count = self.count or self.header(0)[5]
        names = self.header(0)[6] if self.names == SHN_XINDEX else self.names
        if count > MOST_SECTIONS or names >= count:
            raise InputError(
                f"{self.where}: ELF file with {count} sections, names in section {names}"
            )
        strings = self.content(self.header(names))
        for index in range(count):
            header = self.header(index)
            yield header, strings[header[0] :]


def find_section(where: str, data: memoryview, name: str) -> memoryview | None:
    """The bytes of a section; None if the file has none of this name.

    Args:
        where: for messages.
        data: the whole file, 32 or 64 bit, of either byte order.

    Raises:
        InputError: not an ELF file, or it ends before what its headers name.
    """
    sections = _Sections(where, data)
    wanted = name.encode() + b"\0"
    for header, called in sections.named():
        if bytes(called[: len(wanted)]) == wanted:
            if header[2] & SHF_COMPRESSED:
                raise InputError(
                    f"{where}: section {name} is compressed; expand it with "
                    "objcopy --decompress-debug-sections"
                )
            return sections.content(header)
    return None
