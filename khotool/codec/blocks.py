"""Block lists: blocks linked by address, each with a header and as many records as fit."""

from __future__ import annotations

from dataclasses import dataclass, field

from khotool.abi.compile import CompiledStruct
from khotool.abi.record import decode_record
from khotool.codec.vmalloc import Read, ShapeProblem
from khotool.memory.space import MemoryFault


@dataclass(frozen=True, slots=True)
class Block:
    """One block.

    Args:
        address: physical address in bytes.
        next: as stored.
        count: as stored.
        used: records that are there: ``count`` held to what fits.
        data: the whole block.
    """

    address: int
    next: int
    count: int
    used: int
    data: memoryview


@dataclass(slots=True)
class BlockList:
    """A walked list of blocks."""

    blocks: list[Block]
    problems: list[ShapeProblem] = field(default_factory=list)


def capacity(header: CompiledStruct, record: CompiledStruct, pages: int = 1) -> int:
    """Records that fit one block of some pages."""
    return (pages * header.geometry.page_size - header.size) // record.size


def walk_blocks(
    read: Read,
    first: int,
    header: CompiledStruct,
    record: CompiledStruct,
    *,
    max_blocks: int,
    pages: int = 1,
    least: int = 1,
) -> BlockList:
    """Follow a list of blocks.

    Args:
        read: physical address and length in bytes to bytes; raises MemoryFault.
        first: physical address of the first block, 0 for an empty list.
        header: compiled struct in front of each block, with fields labelled ``next`` (physical
            address of the block behind it, or 0) and ``count`` (records used).
        record: compiled struct of the records.
        max_blocks: links followed at most; the kernel stops at 10000.
        pages: pages of a block.
        least: records that a block has at least.
    """
    page = header.geometry.page_size
    fits = capacity(header, record, pages)
    found = BlockList([])
    seen: set[int] = set()
    address = first
    while address:
        if address in seen:
            found.problems.append(
                ShapeProblem("cycle", address, "the list of blocks comes back to here")
            )
            break
        if len(found.blocks) >= max_blocks:
            found.problems.append(
                ShapeProblem("limit", address, f"stopped after {max_blocks} blocks")
            )
            break
        if address % page:
            found.problems.append(ShapeProblem("unaligned", address, "a block is not page aligned"))
        try:
            data = read(address, pages * page)
        except MemoryFault as fault:
            found.problems.append(ShapeProblem("missing", fault.address, f"block: {fault}"))
            break
        seen.add(address)
        values = decode_record(header, data)
        count, following = int(values["count"]), int(values["next"])
        if not least <= count <= fits:
            text = f"count is {count}; a block takes {least} to {fits}"
            found.problems.append(ShapeProblem("count", address, text))
        elif following and count < fits:
            found.problems.append(
                ShapeProblem("short-block", address, f"{count} of {fits} used, but not the last")
            )
        found.blocks.append(Block(address, following, count, min(count, fits), data))
        address = following
    return found
