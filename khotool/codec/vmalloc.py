"""kho_vmalloc: a list of chunks, each a page of physical addresses of an area's pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from khotool.abi.compile import CompiledStruct
from khotool.memory.space import MemoryFault

if TYPE_CHECKING:
    import numpy as np

Read = Callable[[int, int], memoryview]


@dataclass(frozen=True, slots=True)
class ShapeProblem:
    """What is wrong with a linked structure.

    Args:
        code: short slug, mapped to a rule by the caller.
        address: physical address of the place, bytes.
    """

    code: str
    address: int
    message: str


@dataclass(slots=True)
class VmallocArea:
    """A walked area.

    Args:
        chunks: physical addresses of the chunk pages, in list order.
        pages: ndarray (n,) uint64, physical address of each run of ``1 << order`` pages.
        problems: what stopped or disturbed the walk.
    """

    chunks: list[int]
    pages: np.ndarray[Any, Any]
    problems: list[ShapeProblem] = field(default_factory=list)


def walk_vmalloc(
    read: Read, first: int, chunk: CompiledStruct, *, wanted: int, max_chunks: int
) -> VmallocArea:
    """Follow the chunks of an area.

    Args:
        read: physical address and length in bytes to bytes; raises MemoryFault.
        first: physical address of the first chunk, 0 for an empty area.
        chunk: compiled ``kho_vmalloc_chunk``.
        wanted: addresses after which a further chunk need not hold any.
        max_chunks: links followed at most.
    """
    import numpy as np

    link = chunk.by_label("next")
    slots = chunk.by_label("phys")
    word = np.dtype(f"{chunk.geometry.prefix}u8")
    chunks: list[int] = []
    seen: set[int] = set()
    parts: list[np.ndarray[Any, Any]] = []
    problems: list[ShapeProblem] = []
    total = 0
    address = first
    while address:
        if address in seen:
            problems.append(ShapeProblem("cycle", address, "the list of chunks comes back to here"))
            break
        if len(chunks) >= max_chunks or (total > wanted and len(chunks) > wanted):
            problems.append(ShapeProblem("limit", address, f"stopped after {len(chunks)} chunks"))
            break
        if address % chunk.geometry.page_size:
            problems.append(ShapeProblem("unaligned", address, "a chunk is not page aligned"))
        try:
            data = read(address, chunk.size)
        except MemoryFault as fault:
            problems.append(ShapeProblem("missing", fault.address, f"chunk: {fault}"))
            break
        seen.add(address)
        chunks.append(address)
        entries = np.frombuffer(data, word, slots.count, slots.offset)
        used = int((entries == 0).argmax()) if not entries.all() else slots.count
        if entries[used:].any():
            problems.append(
                ShapeProblem("after-end", address, "addresses stand behind the terminating 0")
            )
        parts.append(entries[:used].astype(np.uint64))
        total += used
        following = int(np.frombuffer(data, word, 1, link.offset).item())
        if following and used < slots.count:
            problems.append(
                ShapeProblem("short-chunk", address, "a chunk that is not full has a successor")
            )
        address = following
    pages = np.concatenate(parts) if parts else np.empty(0, np.uint64)
    return VmallocArea(chunks, pages, problems)
