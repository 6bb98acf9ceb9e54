"""Build BTF sections for tests."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from khotool.abi.compile import CompiledStruct

INT, PTR, ARRAY, STRUCT, UNION, ENUM, TYPEDEF, CONST = 1, 2, 3, 4, 5, 6, 8, 10


class BtfBuilder:
    """Types are numbered from 1 in the order in which they are added.

    Args:
        order: byte order, ``<`` or ``>``.
    """

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.types: list[bytes] = []
        self.strings = bytearray(b"\0")
        self.ints: dict[int, int] = {}

    @property
    def count(self) -> int:
        """Types so far."""
        return len(self.types)

    def words(self, *values: int) -> bytes:
        return struct.pack(f"{self.order}{len(values)}I", *values)

    def name(self, text: str) -> int:
        """Offset of a name in the string table."""
        if not text:
            return 0
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text.encode()) - 1

    def add(self, name: str, info: int, size: int, *words: int) -> int:
        """A type with the words behind its head; its number."""
        self.types.append(self.words(self.name(name), info, size, *words))
        return self.count

    def integer(self, size: int) -> int:
        """An unsigned integer of so many bytes."""
        if size not in self.ints:
            self.ints[size] = self.add(f"u{size * 8}", INT << 24, size, size * 8)
        return self.ints[size]

    def named(self, kind: int, target: int, name: str = "") -> int:
        """A pointer, typedef or qualifier."""
        return self.add(name, kind << 24, target)

    def array(self, element: int, length: int) -> int:
        index = self.integer(4)
        return self.add("", ARRAY << 24, 0, element, index, length)

    def group(
        self,
        name: str,
        size: int,
        rows: Sequence[tuple[str, int, int]],
        kind: int = STRUCT,
        *,
        bits: bool = False,
    ) -> int:
        """A struct or union of rows (name, type, offset in bits; with ``bits`` width << 24)."""
        words = [word for text, target, at in rows for word in (self.name(text), target, at)]
        return self.add(name, kind << 24 | len(rows) | bits << 31, size, *words)

    def compiled(self, found: CompiledStruct, name: str | None = None) -> int:
        """The struct of a definition as C declares it, under its own or another name."""
        rows: list[tuple[str, int, int]] = []
        bits = any(placed.parts for placed in found.fields)
        for placed in found.fields:
            kind = placed.field.type
            assert kind is not None
            for part in placed.parts:
                start = placed.offset * 8 + (part.mask & -part.mask).bit_length() - 1
                width = part.mask.bit_count() << 24
                rows.append((part.field.name, self.integer(kind.size), width | start))
            if placed.parts:
                continue
            if placed.nested is not None:
                number = self.compiled(placed.nested)
            elif kind.kind == "int":
                number = self.integer(kind.size)
            else:
                number = self.array(self.integer(1), kind.size)
            if placed.many:
                number = self.array(number, placed.count)
            rows.append((placed.field.name, number, placed.offset * 8))
        return self.group(found.struct.name if name is None else name, found.size, rows, bits=bits)

    def section(self) -> bytes:
        """The section: header, types, names."""
        types = b"".join(self.types)
        head = struct.pack(f"{self.order}HBB", 0xEB9F, 1, 0)
        head += self.words(24, 0, len(types), len(types), len(self.strings))
        return head + types + bytes(self.strings)
