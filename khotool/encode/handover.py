"""A handover without addresses: what is handed over, whatever ABI or place carries it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from khotool.abi.geometry import Geometry
from khotool.image.model import Span

Array = np.ndarray[Any, Any]
Buffer = bytes | bytearray | memoryview
Contents = Callable[[Array, Array], Iterator[tuple[int, Buffer]]]
"""Given new addresses and sizes of the blocks: physical address and bytes of what they hold."""


@dataclass(slots=True, eq=False)
class Payload:
    """Memory that is handed over as it is.

    Args:
        sizes: uint64 (n,) bytes of each block; a power of two of pages, or any size of a range.
        contents: gives the bytes of the blocks at their new place; None if they are not known.
        at: fixed physical address of the first block, where the writer asks for one.
        align: bytes; None for the block's own size.
    """

    sizes: Array
    contents: Contents | None = None
    at: int | None = None
    align: int | None = None


@dataclass(slots=True, eq=False)
class Rows:
    """A table: columns of uint64 (n,) by label, and the payload its references mean.

    Args:
        columns: without the column that points to the payload.
        used: bool (n,): rows that point to a block; None for all.
    """

    columns: dict[str, Array]
    payload: Payload | None = None
    used: Array | None = None

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
