"""Flattened device tree as data: every token, its place, and what is wrong with it.

Tokens and header words are big-endian; property values are raw bytes whose byte order only
their ABI definition knows. All offsets count bytes from the start of the blob unless said
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from khotool.records import dataclass, field

MAGIC = 0xD00DFEED
HEADER_WORDS = (
    "magic",
    "totalsize",
    "off_dt_struct",
    "off_dt_strings",
    "off_mem_rsvmap",
    "version",
    "last_comp_version",
    "boot_cpuid_phys",
    "size_dt_strings",
    "size_dt_struct",
)
"""Fields of the header in version 17, each a big-endian u32."""
HEADER_SIZE = 4 * len(HEADER_WORDS)

FDT_BEGIN_NODE = 1
FDT_END_NODE = 2
FDT_PROP = 3
FDT_NOP = 4
FDT_END = 9


class FdtError(ValueError):
    """The bytes are not a flattened device tree, or a tree cannot be written as one.

    Args:
        offset: bytes from the start of the blob.
        message: what was found and what was expected.
    """

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(f"offset {offset:#x}: {message}")
        self.offset = offset
        self.reason = message


@dataclass(slots=True)
class Property:
    """One property.

    Args:
        name: latin-1 view of the name bytes, so that any byte survives; cut to the name limit
            of ``parse``.
        value: raw bytes, without the alignment padding.
        name_offset: bytes from the start of the strings block.
        value_offset: bytes from the start of the blob.
        tag_offset: bytes from the start of the blob, of the FDT_PROP token.
        recovered: the name could not be read (``name == ""``), mostly because the strings
            block was cut off.
    """

    name: str
    value: bytes
    name_offset: int = 0
    value_offset: int = 0
    tag_offset: int = 0
    recovered: bool = False


@dataclass(slots=True)
class Nop:
    """An FDT_NOP token, ``tag_offset`` bytes from the start of the blob."""

    tag_offset: int = 0


@dataclass(slots=True)
class Node:
    """One node; ``items`` keeps properties, children and NOPs in stream order.

    Args:
        name: latin-1 view of the name bytes, ``""`` for the root.
        tag_offset: bytes from the start of the blob, of the FDT_BEGIN_NODE token.
        items: everything between FDT_BEGIN_NODE and FDT_END_NODE.
    """

    name: str
    tag_offset: int = 0
    items: list[Item] = field(default_factory=list)

    @property
    def properties(self) -> list[Property]:
        """Properties in stream order, duplicates included."""
        return [item for item in self.items if isinstance(item, Property)]

    @property
    def children(self) -> list[Node]:
        """Child nodes in stream order, duplicates included."""
        return [item for item in self.items if isinstance(item, Node)]

    def get(self, name: str) -> Property | None:
        """First property called exactly ``name``; a linear search."""
        for item in self.items:
            if isinstance(item, Property) and item.name == name and name:
                return item
        return None

    def child(self, name: str) -> Node | None:
        """First child called exactly ``name``; a linear search."""
        for item in self.items:
            if isinstance(item, Node) and item.name == name:
                return item
        return None

    @property
    def size(self) -> int:
        """Bytes of the structure block from FDT_BEGIN_NODE to FDT_END_NODE, both included."""
        node, ends = self, 4
        while node.items and isinstance(node.items[-1], Node):
            node = node.items[-1]
            ends += 4
        end = node.tag_offset + 4 + (len(node.name) + 4) // 4 * 4
        if node.items:
            last = node.items[-1]
            end = last.tag_offset + 4
            if isinstance(last, Property):
                end = last.value_offset + (len(last.value) + 3) // 4 * 4
        return end + ends - self.tag_offset

    def walk(self) -> Iterator[tuple[int, Node]]:
        """This node (depth 0) and all nodes below, in stream order, without recursion."""
        stack: list[tuple[int, Node]] = [(0, self)]
        while stack:
            depth, node = stack.pop()
            yield depth, node
            stack.extend((depth + 1, child) for child in reversed(node.children))


Item: TypeAlias = Property | Node | Nop


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a reader of the blob would reject or misread.

    Args:
        code: short slug such as ``unknown-tag``.
        offset: bytes from the start of the blob.
        text: one sentence for a person.
    """

    code: str
    offset: int
    text: str


@dataclass(slots=True)
class Blob:
    """A parsed flattened device tree.

    Args:
        totalsize: bytes, as the header says.
        off_dt_struct: bytes from the start of the blob.
        off_dt_strings: bytes from the start of the blob.
        off_mem_rsvmap: bytes from the start of the blob.
        version: format version; kernels write 17.
        last_comp_version: oldest version a reader must know; kernels write 16.
        boot_cpuid_phys: as the header says.
        size_dt_strings: bytes.
        size_dt_struct: bytes.
        reservations: (physical address, bytes) pairs without the terminator.
        root: the tree, None if no FDT_BEGIN_NODE was found.
        strings: the part of the strings block that exists.
        data: the bytes given, cut to ``totalsize``.
        problems: ordered by offset.
        struct_end: bytes from the start of the blob, after FDT_END or where parsing stopped.
        complete: every byte that ``totalsize`` promises is there and the tree was read up to
            FDT_END, so the model can be written back byte for byte.
        nops_before: FDT_NOP tokens before the root node.
        nops_after: FDT_NOP tokens between the root node and FDT_END.
    """

    totalsize: int
    off_dt_struct: int
    off_dt_strings: int
    off_mem_rsvmap: int
    version: int
    last_comp_version: int
    boot_cpuid_phys: int
    size_dt_strings: int
    size_dt_struct: int
    reservations: list[tuple[int, int]]
    root: Node | None
    strings: bytes
    data: bytes
    problems: list[Problem]
    struct_end: int
    complete: bool
    nops_before: int = 0
    nops_after: int = 0

    def add(self, code: str, offset: int, text: str) -> None:
        """Record a problem at an offset in bytes from the start of the blob."""
        self.problems.append(Problem(code, offset, text))

    @property
    def header_size(self) -> int:
        """Bytes of header that ``version`` has, as libfdt's fdt_header_size counts them."""
        if self.version <= 1:
            return 28
        if self.version == 2:
            return 32
        return 36 if self.version < 17 else HEADER_SIZE
