"""BTF with everything a struct of C may have: named integers, enums, unions, bit-fields."""

from __future__ import annotations

from khotool.authoring.btf import KIND_ENUM, KIND_ENUM64
from tests.unit.authoring.btf_builder import PTR, STRUCT, TYPEDEF, UNION, BtfBuilder

SIGNED, CHAR, BOOL = 1, 2, 4
"""Encodings of an integer."""
Member = tuple[str, int, int] | tuple[str, int, int, int]
"""Name, type, bit offset, and width of a bit-field."""


class Builder(BtfBuilder):
    """Every method gives the number of the type that it adds."""

    def number(self, name: str, size: int, encoding: int = 0) -> int:
        """An integer of so many bytes."""
        return self.add(name, 1 << 24, size, encoding << 24 | size * 8)

    def pointer(self, to: int) -> int:
        return self.named(PTR, to)

    def typedef(self, name: str, of: int) -> int:
        return self.named(TYPEDEF, of, name)

    def enum(self, name: str, size: int, values: dict[str, int], *, signed: bool = False) -> int:
        words = [word for n, v in values.items() for word in (self.name(n), v & 0xFFFFFFFF)]
        return self.add(name, KIND_ENUM << 24 | len(values) | signed << 31, size, *words)

    def enum64(self, name: str, values: dict[str, int]) -> int:
        words = [
            word for n, v in values.items() for word in (self.name(n), v & 0xFFFFFFFF, v >> 32)
        ]
        return self.add(name, KIND_ENUM64 << 24 | len(values), 8, *words)

    def struct(self, name: str, size: int, *members: Member, union: bool = False) -> int:
        """A struct or union; with the width of any member, of all."""
        bits = any(len(member) > 3 for member in members)
        rows = [
            (text, kind, bit | (width[0] if width else 0) << 24 if bits else bit)
            for text, kind, bit, *width in members
        ]
        return self.group(name, size, rows, UNION if union else STRUCT, bits=bits)
