"""Block lists: blocks linked by address, each with a header and as many records as fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, Reference, Shape
from khotool.abi.geometry import Geometry
from khotool.abi.record import decode_record, encode_record
from khotool.abi.registry import Registry
from khotool.codec.base import Codec, pointer, register
from khotool.codec.vmalloc import Read, ShapeProblem
from khotool.errors import EncodeError
from khotool.memory.space import MemoryFault

if TYPE_CHECKING:
    from khotool.codec.contexts import Builder, Lifter, Reader
    from khotool.model.image import Node
    from khotool.structured import Table

BLOCK_LIST = "kho_block"
"""Structure that links the blocks of a list; the KHO root versions it."""


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


# -- nodes to a handover, and back to bytes ----------------------------------------------


@register(Shape.BLOCKS)
class BlocksCodec(Codec):
    """Records in a list of blocks, each full but the last."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The fields of each record."""
        return [lifter.fields(element) for element in node.elements()]

    def read(
        self,
        reader: Reader,
        definition: Definition,
        field: Field,
        table: Table,
    ) -> Any:
        """A list of records."""
        return reader.records(definition, pointer(field).of, table[field.label])

    def build(
        self,
        builder: Builder,
        definition: Definition,
        field: Field,
        values: Mapping[str, Any],
        path: str,
    ) -> int:
        """The blocks; a list that may not be missing has one even if it is empty."""
        reference = pointer(field)
        items = values.get(field.label) or []
        if not items and field.null == "empty":
            return 0
        geometry = builder.geometry
        lists, header = list_header(builder.registry, definition, reference, geometry)
        record = builder.registry.compile(definition, reference.of, geometry)
        fits = capacity(header, record, reference.pages)
        number = -(-len(items) // fits) or 1
        limit = lists.limits.get("blocks", number)
        if number > limit:
            raise EncodeError(
                path, f"{len(items)} records; {limit} blocks take at most {fits * limit}"
            )
        size = reference.pages * geometry.page_size
        addresses = [builder.alloc_preserve(size, path) for _ in range(number)]
        places = [
            addresses[index // fits] + header.size + index % fits * record.size
            for index in range(len(items))
        ]
        encoded = builder.elements(definition, reference.of, items, path, places)
        for index, address in enumerate(addresses):
            part = encoded[index * fits : (index + 1) * fits]
            following = addresses[index + 1] if index + 1 < number else 0
            top = encode_record(header, {"next": following, "count": len(part)}, path)
            builder.write(address, (top + b"".join(part)).ljust(size, b"\0"))
        return addresses[0]


def list_header(
    registry: Registry, definition: Definition, reference: Reference, geometry: Geometry
) -> tuple[Definition, CompiledStruct]:
    """The header of each block of a list, and the definition that has it."""
    if reference.header:
        return definition, registry.compile(definition, reference.header, geometry)
    lists = registry.get(BLOCK_LIST)
    return lists, registry.compile(lists, lists.content, geometry)
