"""A handover without addresses: what is handed over, whatever ABI or place carries it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from khotool.abi.geometry import Geometry
from khotool.memory.writer import Stretch
from khotool.model.image import Span
from khotool.records import dataclass, field

Array = np.ndarray[Any, Any]
Buffer = bytes | bytearray | memoryview
Stored = Buffer | Stretch
Contents = Callable[[Array, Array], Iterator[tuple[int, Stored]]]
"""Given new addresses and sizes of the blocks: physical address and bytes of what they hold."""


@dataclass(slots=True, eq=False)
class Payload:
    """Memory that is handed over as it is.

    Args:
        sizes: uint64 (n,) bytes of each block; a power of two of pages, or any size of a range.
        contents: gives the bytes of the blocks at their new place; None if they are not known.
        at: fixed physical address of the first block, where the writer asks for one.
        align: bytes; None for the block's own size.
        old: uint64 (n,) physical address that each block had in the image it is lifted from.
    """

    sizes: Array
    contents: Contents | None = None
    at: int | None = None
    align: int | None = None
    old: Array | None = None


@dataclass(slots=True, eq=False)
class PageTree:
    """A radix tree of pages.

    Args:
        payload: the pages, block by block.
        frames: its keys are page frame numbers; else they have a page order too.
    """

    payload: Payload
    frames: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One block of payload of a table's row: its bytes, and what it holds."""

    size: int
    contents: Contents | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A record, by the path it has in the model."""

    path: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A physical address in the image that a handover is lifted from; it moves with its memory."""

    address: int


@dataclass(frozen=True, slots=True)
class Mapped:
    """Memory that a page table leads to.

    Args:
        iova: device address of its first byte, whole pages.
        size: bytes, whole pages; of ``table``, as much as its rows have.
        address: physical address of its first byte.
        table: path of the table whose rows' memory it is, row after row.
    """

    iova: int
    size: int = 0
    address: int = 0
    table: str = ""


@dataclass(slots=True, eq=False)
class PageTables:
    """A page table: what it maps, or the words of tables that are lifted from an image.

    Args:
        old: physical address of each table in that image; the first is the one that is pointed to.
        levels: level of each; words: uint64 entries of each.
        fixed: entries of the last level are not addresses of memory alone, and stay as they are.
    """

    maps: list[Mapped] = field(default_factory=list)
    old: list[int] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    words: list[Array] = field(default_factory=list)
    fixed: bool = False


@dataclass(slots=True, eq=False)
class Rows:
    """A table: columns of uint64 (n,) by label, and the payload its references mean.

    Args:
        columns: without the column that points to the payload.
        used: bool (n,): rows that point to a block; None for all.
        links: columns that hold addresses of records, as ``Link`` or as a number.
    """

    columns: dict[str, Array]
    payload: Payload | None = None
    used: Array | None = None
    links: dict[str, list[Link | int]] = field(default_factory=dict)

    def __len__(self) -> int:
        if self.columns:
            return len(next(iter(self.columns.values())))
        if self.used is not None:
            return len(self.used)
        return len(self.payload.sizes) if self.payload is not None else 0


@dataclass(slots=True)
class Handle:
    """What a handler's handle leads to: the fields of its record or tree, or a literal.

    Args:
        format: id of the definition, where several read handles of this name.
    """

    values: dict[str, Any] | None
    literal: int = 0
    format: str = ""


@dataclass(slots=True)
class EntryValue:
    """One entry of the root.

    Args:
        format: id of its definition; empty for a blob that nothing explains.
        values: by label; lists of dicts for lists, Rows for tables, Handle for handles, Payload
            for ranges.
        raw: bytes of an unexplained blob.
    """

    name: str
    format: str
    values: dict[str, Any] = field(default_factory=dict)
    raw: bytes = b""


@dataclass(slots=True)
class Handover:
    """Everything that is handed over.

    Args:
        memory: ranges of physical memory that may be used; empty for no limit.
        scratch: scratch areas; empty where they are not known.
        lost: what could not be taken over from a capture, one sentence each.
    """

    geometry: Geometry
    osrelease: str
    machine: str | None
    entries: list[EntryValue]
    memory: list[Span] = field(default_factory=list)
    scratch: list[Span] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def entry(self, name: str) -> EntryValue | None:
        """The entry of this name."""
        return next((entry for entry in self.entries if entry.name == name), None)
