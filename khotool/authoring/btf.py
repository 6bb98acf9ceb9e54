"""Read struct layouts from BTF, the type information a kernel carries about itself.

Layout of the section: Documentation/bpf/btf.rst of the kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from khotool.errors import InputError
from khotool.records import dataclass

MAGIC = 0xEB9F
HEADER = 24
MAX_TYPES = 4_000_000
MAX_DEPTH = 16
#: Members of one struct with all that it holds; structs that hold each other multiply.
MAX_MEMBERS = 65536
#: Members of all structs that are asked for; those of a kernel together have a tenth.
ALL_MEMBERS = 4 * MAX_MEMBERS
#: Bytes of a name; the kernel keeps symbols below this.
MAX_NAME = 512

KIND_INT, KIND_PTR, KIND_ARRAY, KIND_STRUCT, KIND_UNION, KIND_ENUM = 1, 2, 3, 4, 5, 6
KIND_TYPEDEF, KIND_VOLATILE, KIND_CONST, KIND_RESTRICT = 8, 9, 10, 11
KIND_ENUM64, KIND_TYPE_TAG = 19, 18
_MODIFIERS = frozenset({KIND_TYPEDEF, KIND_VOLATILE, KIND_CONST, KIND_RESTRICT, KIND_TYPE_TAG})
_FIXED_EXTRA = {KIND_INT: 4, KIND_ARRAY: 12, 14: 4, 17: 4}
_PER_MEMBER = {KIND_STRUCT: 12, KIND_UNION: 12, KIND_ENUM: 8, 13: 8, 15: 12, KIND_ENUM64: 12}


@dataclass(frozen=True, slots=True)
class Member:
    """A leaf of a struct: an integer, a pointer, an array; unions count by their first leaf.

    Args:
        name: of the leaf; ``path`` has the names of the structs around it too.
        offset: bits from the start of the outermost struct.
        size: bits; 0 for a flexible array.
        element: bits of an array's element, else ``size``.
    """

    name: str
    path: str
    offset: int
    size: int
    element: int


@dataclass(frozen=True, slots=True)
class BtfStruct:
    """A struct with its leaves in order; size in bytes."""

    name: str
    size: int
    members: tuple[Member, ...]


class Btf:
    """A BTF section.

    Args:
        data: the section, little or big endian.
        base: of the kernel, for the split BTF of a module: its types and strings go on where those
            of the kernel end.

    Raises:
        InputError: not BTF, cut short, or split BTF without its base.
    """

    def __init__(self, data: bytes, base: Btf | None = None) -> None:
        for order in "<>":
            if len(data) >= HEADER and struct.unpack_from(f"{order}H", data)[0] == MAGIC:
                self.order = order
                break
        else:
            raise InputError(
                "not a BTF section; extract one with objcopy -O binary "
                "--only-section=.BTF --set-section-flags .BTF=alloc vmlinux FILE"
            )
        length, types, types_size, strings, strings_size = struct.unpack_from(
            f"{self.order}5I", data, 4
        )
        if max(length + types + types_size, length + strings + strings_size) > len(data):
            raise InputError("the BTF section is cut short")
        own = data[length + strings : length + strings + strings_size]
        self.data = data[length + types : length + types + types_size]
        self.strings = own
        self.offsets = [0]
        self.structs: dict[str, int] = {}
        self._left = 0
        self._total = ALL_MEMBERS
        self._flat: dict[str, BtfStruct] = {}
        at = 0
        if base is not None:
            if base.order != self.order:
                raise InputError("the BTF of the module and of the kernel differ in byte order")
            at = len(base.data)
            self.data, self.strings = base.data + self.data, base.strings + own
            self.offsets, self.structs = list(base.offsets), dict(base.structs)
        self._index(at, is_split=base is not None)

    def _index(self, at: int, *, is_split: bool) -> None:
        head = struct.Struct(f"{self.order}III")
        end = len(self.data)
        first = len(self.offsets)
        while at + 12 <= end and len(self.offsets) < MAX_TYPES:
            name, info, _ = head.unpack_from(self.data, at)
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            following = at + 12 + _FIXED_EXTRA.get(kind, 0) + _PER_MEMBER.get(kind, 0) * count
            if following > end:
                break
            if name >= len(self.strings) and not is_split:
                raise InputError(
                    "split BTF of a module, or damaged: give the BTF of its kernel with --base FILE"
                )
            if kind == KIND_STRUCT and name:
                known = self.structs.get(self.string(name), 0)
                # A module's own struct goes before one of the kernel with the same name.
                if not known or known < first:
                    self.structs[self.string(name)] = len(self.offsets)
            self.offsets.append(at)
            at = following

    def string(self, offset: int) -> str:
        """A name from the string table."""
        name, _, _ = self.strings[offset : offset + MAX_NAME].partition(b"\0")
        return name.decode("utf-8", "replace")

    def head(self, number: int) -> tuple[int, int, int, int, int]:
        """Kind, member count, flag, size or type, and position after the head of a type."""
        if not 0 < number < len(self.offsets):
            return 0, 0, 0, 0, 0
        at = self.offsets[number]
        _, info, size = struct.unpack_from(f"{self.order}III", self.data, at)
        return info >> 24 & 0x1F, info & 0xFFFF, info >> 31, size, at + 12

    def string_of(self, number: int) -> str:
        """The name of a type; empty where it has none, ``void`` for none."""
        if not 0 < number < len(self.offsets):
            return "void"
        return self.string(struct.unpack_from(f"{self.order}I", self.data, self.offsets[number])[0])

    def struct(self, name: str) -> BtfStruct | None:
        """A struct by name, flattened; None if the kernel has none."""
        number = self.structs.get(name)
        if number is None:
            return None
        found = self._flat.get(name)
        if found is None:
            self._left = allowed = min(MAX_MEMBERS, self._total)
            leaves = tuple(self._leaves(number, 0, "", 0))
            self._total -= allowed - max(0, self._left)
            found = self._flat[name] = BtfStruct(name, self.head(number)[3], leaves)
        return found

    def _leaves(self, number: int, base: int, prefix: str, depth: int) -> Iterator[Member]:
        _, count, flag, _, at = self.head(number)
        for index in range(count):
            self._left -= 1
            if self._left < 0 or depth > MAX_DEPTH:
                return
            name, inner, word = struct.unpack_from(f"{self.order}III", self.data, at + 12 * index)
            offset = base + (word & 0xFFFFFF if flag else word)
            width = word >> 24 if flag else 0
            text = self.string(name)
            path = f"{prefix}.{text}" if prefix and text else prefix or text
            resolved = self.resolve(inner)
            inner_kind = self.head(resolved)[0]
            if inner_kind == KIND_STRUCT:
                yield from self._leaves(resolved, offset, path, depth + 1)
            elif inner_kind == KIND_UNION:
                first = next(self._leaves(resolved, offset, path, depth + 1), None)
                bits = self.bits(resolved, depth)
                if first is not None:
                    yield Member(text or first.name, path, offset, bits, bits)
            else:
                bits = width or self.bits(resolved, depth)
                yield Member(text, path, offset, bits, width or self.element(resolved, depth))

    def resolve(self, number: int) -> int:
        """The type without typedefs and qualifiers."""
        for _ in range(MAX_DEPTH):
            kind, _, _, target, _ = self.head(number)
            if kind not in _MODIFIERS:
                break
            number = target
        return number

    def bits(self, number: int, depth: int = 0) -> int:
        """Size of a type in bits; 0 where it has none."""
        number = self.resolve(number)
        kind, _, _, size, at = self.head(number)
        if kind == KIND_PTR:
            return 64
        if kind == KIND_ARRAY and depth < MAX_DEPTH:
            inner, _, count = struct.unpack_from(f"{self.order}III", self.data, at)
            return self.bits(inner, depth + 1) * int(count)
        known = (KIND_INT, KIND_STRUCT, KIND_UNION, KIND_ENUM, KIND_ENUM64, 16)
        return int(size) * 8 if kind in known else 0

    def element(self, number: int, depth: int = 0) -> int:
        """Size in bits of an array's element, of anything else its own."""
        kind, _, _, _, at = self.head(number)
        if kind == KIND_ARRAY:
            inner, _, _ = struct.unpack_from(f"{self.order}III", self.data, at)
            return self.bits(inner, depth + 1)
        return self.bits(number, depth)
