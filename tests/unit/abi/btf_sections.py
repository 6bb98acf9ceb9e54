"""BTF sections by hand."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from khotool.abi.btf import (
    KIND_ARRAY,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_INT,
    KIND_PTR,
    KIND_STRUCT,
    KIND_TYPEDEF,
    KIND_UNION,
    MAGIC,
)

SIGNED, CHAR, BOOL = 1, 2, 4
Member = tuple[str, int, int] | tuple[str, int, int, int]
"""Name, type, bit offset, and width of a bit-field."""


@dataclass
class Builder:
    order: str = "<"
    types: list[bytes] = field(default_factory=list)
    strings: bytearray = field(default_factory=lambda: bytearray(b"\0"))

    def name(self, text: str) -> int:
        if not text:
            return 0
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at

    def add(self, name: str, kind: int, count: int, size: int, more: bytes = b"", *,
            flag: bool = False) -> int:  # fmt: skip
        info = kind << 24 | count | flag << 31
        self.types.append(self.pack(self.name(name), info, size) + more)
        return len(self.types)

    def pack(self, *words: int) -> bytes:
        return struct.pack(f"{self.order}{len(words)}I", *words)

    def number(self, name: str, size: int, encoding: int = 0) -> int:
        return self.add(name, KIND_INT, 0, size, self.pack(encoding << 24 | size * 8))

    def pointer(self, to: int) -> int:
        return self.add("", KIND_PTR, 0, to)

    def typedef(self, name: str, of: int) -> int:
        return self.add(name, KIND_TYPEDEF, 0, of)

    def array(self, of: int, count: int) -> int:
        return self.add("", KIND_ARRAY, 0, 0, self.pack(of, of, count))

    def enum(self, name: str, size: int, values: dict[str, int], *, signed: bool = False) -> int:
        more = b"".join(self.pack(self.name(n), v & 0xFFFFFFFF) for n, v in values.items())
        return self.add(name, KIND_ENUM, len(values), size, more, flag=signed)

    def enum64(self, name: str, values: dict[str, int]) -> int:
        more = b"".join(self.pack(self.name(n), v & 0xFFFFFFFF, v >> 32) for n, v in values.items())
        return self.add(name, KIND_ENUM64, len(values), 8, more)

    def struct(self, name: str, size: int, *members: Member, union: bool = False) -> int:
        bits = any(len(member) > 3 for member in members)
        more = b""
        for text, kind, bit, *width in members:
            word = bit | (width[0] if width else 0) << 24 if bits else bit
            more += self.pack(self.name(text), kind, word)
        kind = KIND_UNION if union else KIND_STRUCT
        return self.add(name, kind, len(members), size, more, flag=bits)

    def section(self) -> bytes:
        types = b"".join(self.types)
        head = struct.pack(f"{self.order}HBB", MAGIC, 1, 0)
        head += self.pack(24, 0, len(types), len(types), len(self.strings))
        return head + types + bytes(self.strings)
