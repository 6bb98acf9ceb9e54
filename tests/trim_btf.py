"""Cut a kernel's BTF down to the structs that definitions name: ``python -m tests.trim_btf``.

A fixture holds the part of a kernel's type information that is compared, not all of it. Types
behind pointers are left out, since a layout does not depend on them.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

from khotool.abi.registry import load_registry
from khotool.authoring.btf import KIND_PTR, Btf
from khotool.memory.wholefile import whole_file

EXTRA = {1: 4, 3: 12, 14: 4, 17: 4}
"""Bytes behind the head of a type, by kind."""
EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
"""Bytes of each member, by kind."""
REFERS = frozenset({2, 8, 9, 10, 11, 18})
"""Kinds whose word behind the flags is a type."""


class Trimmed:
    """The types that are kept, renumbered."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.kept: dict[int, int] = {0: 0}
        self.strings = bytearray(b"\0")
        self.names: dict[bytes, int] = {b"": 0}
        self.types: list[bytes] = []

    def keep(self, number: int) -> None:
        """Keep a type and all that its layout depends on."""
        waiting = [number]
        while waiting:
            current = waiting.pop()
            if current in self.kept:
                continue
            self.kept[current] = len(self.kept)
            waiting += self.needs(current)

    def parts(self, number: int) -> tuple[int, int, int, int, int]:
        """Name, flags, size or type, position of the members, and how many there are."""
        at = self.btf.offsets[number]
        name, info, word = struct.unpack_from(f"{self.btf.order}III", self.btf.data, at)
        return name, info, word, at + 12, info & 0xFFFF

    def needs(self, number: int) -> list[int]:
        _, info, word, at, count = self.parts(number)
        kind = info >> 24 & 0x1F
        if kind == KIND_PTR:
            return []
        if kind in REFERS:
            return [word]
        if kind == 3:
            return list(struct.unpack_from(f"{self.btf.order}II", self.btf.data, at))
        if kind in (4, 5):
            return [
                struct.unpack_from(f"{self.btf.order}III", self.btf.data, at + 12 * i)[1]
                for i in range(count)
            ]
        return []

    def name(self, offset: int) -> int:
        """Offset of a name in the new table of strings."""
        text = self.btf.string(offset).encode()
        if text not in self.names:
            self.names[text] = len(self.strings)
            self.strings += text + b"\0"
        return self.names[text]

    def emit(self, number: int) -> bytes:
        """One type with its new number's references."""
        name, info, word, at, count = self.parts(number)
        order, kind = self.btf.order, info >> 24 & 0x1F
        if kind in REFERS:
            word = 0 if kind == KIND_PTR else self.kept[word]
        made = struct.pack(f"{order}III", self.name(name), info, word)
        if kind == 3:
            element, index, length = struct.unpack_from(f"{order}III", self.btf.data, at)
            return made + struct.pack(f"{order}III", self.kept[element], self.kept[index], length)
        if kind in (4, 5):
            for i in range(count):
                member = struct.unpack_from(f"{order}III", self.btf.data, at + 12 * i)
                made += struct.pack(
                    f"{order}III", self.name(member[0]), self.kept[member[1]], member[2]
                )
            return made
        if kind in (6, 19):
            size = EACH[kind]
            for i in range(count):
                (value,) = struct.unpack_from(f"{order}I", self.btf.data, at + size * i)
                rest = self.btf.data[at + size * i + 4 : at + size * (i + 1)]
                made += struct.pack(f"{order}I", self.name(value)) + bytes(rest)
            return made
        return made + bytes(self.btf.data[at : at + EXTRA.get(kind, 0) + EACH.get(kind, 0) * count])

    def section(self) -> bytes:
        """The whole section."""
        types = b"".join(self.emit(number) for number in self.kept if number)
        order = self.btf.order
        head = struct.pack(
            f"{order}HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self.strings)
        )
        return head + types + bytes(self.strings)


def trim(data: bytes) -> bytes:
    """The part of a BTF section that holds the structs of any definition."""
    btf = Btf(data)
    made = Trimmed(btf)
    for definition in load_registry():
        for name in definition.structs:
            if name in btf.structs:
                made.keep(btf.structs[name])
    return made.section()


def main() -> None:
    """Read the first file named, write the second."""
    source, target = sys.argv[1:]
    with whole_file(source) as data:
        Path(target).write_bytes(trim(bytes(data)))


if __name__ == "__main__":
    main()
