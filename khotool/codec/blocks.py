"""Block lists: blocks linked by address, each with a header and as many records as fit."""

from __future__ import annotations

from typing import Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Reference, Shape
from khotool.abi.geometry import Geometry
from khotool.abi.record import decode_record, decode_records, encode_record
from khotool.abi.registry import Registry
from khotool.absent import Absent, Reason
from khotool.codec.base import Pointer, register
from khotool.codec.chain import Chain
from khotool.codec.contexts import Builder, Walk
from khotool.codec.fields import record
from khotool.codec.lists import Glance, ListCodec, elements
from khotool.codec.problems import Read, ShapeProblem
from khotool.codec.scene import Scene
from khotool.errors import EncodeError
from khotool.memory.space import MemoryFault
from khotool.model.node import Node, NodeKind, Span
from khotool.records import dataclass, field

BLOCK_LIST = "kho_block"
"""Structure that links the blocks of a list; the KHO root versions it."""
MAX_GLANCED = 8
"""Blocks of a list whose records are looked at to choose between formats."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block.

    Args:
        address: physical address in bytes.
        next: as stored.
        count: as stored.
        used: records that are there: ``count`` held to what fits.
        data: the whole block.
        values: of its header, by label.
    """

    address: int
    next: int
    count: int
    used: int
    data: memoryview
    values: dict[str, Any]


@dataclass(slots=True)
class BlockList:
    """A walked list of blocks, and what stopped or disturbed the walk."""

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
            address of the next block, or 0) and ``count`` (records used).
        record: compiled struct of the records.
        max_blocks: links followed at most; the kernel stops at 10000.
        pages: pages of a block.
        least: records that a block has at least.
    """
    fits = capacity(header, record, pages)
    chain = Chain(
        "block",
        lambda address: _block(read, address, header, record, pages),
        lambda _: blocks[-1].next,
        header.geometry.page_size,
        max_blocks,
    )
    blocks: list[Block] = []
    for address, data in chain.pieces(first):
        values = decode_record(header, data)
        count, following = int(values["count"]), int(values["next"])
        if not least <= count <= fits:
            text = f"count is {count}; a block takes {least} to {fits}"
            chain.add("count", address, text, count=count, least=least, fits=fits)
        elif following and count < fits:
            chain.add("short-block", address, f"{count} of {fits} used, but not the last")
        blocks.append(Block(address, following, count, min(count, fits), data, values))
    return BlockList(blocks, chain.problems)


def _block(
    read: Read, address: int, header: CompiledStruct, record: CompiledStruct, pages: int
) -> memoryview:
    """Bytes of a block: all of it, or, where later pages are not captured, the records it uses.

    Raises:
        MemoryFault: a record that is used is not captured.
    """
    page = header.geometry.page_size
    try:
        return read(address, pages * page)
    except MemoryFault:
        if pages == 1:
            raise
    count = int(decode_record(header, read(address, page))["count"])
    used = header.size + record.size * max(0, min(count, capacity(header, record, pages)))
    return read(address, max(used, page))


@register(Shape.BLOCKS)
class BlocksCodec(ListCodec):
    """Records in blocks that are linked by address."""

    linked = True

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """A list of its records, and its blocks."""
        definition, reference, scene = pointer.definition, pointer.reference, walk.scene
        lists, header = list_header(scene.registry, definition, reference, scene.geometry)
        compiled = scene.struct(definition, reference.of)
        found = walk_blocks(
            scene.space.read,
            int(node.value),
            header,
            compiled,
            max_blocks=min(lists.limits.get("blocks", scene.limits.chain), scene.limits.chain),
            pages=reference.pages,
            least=0 if reference.header else 1,
        )
        size = reference.pages * scene.geometry.page_size
        node.kind = NodeKind.LIST
        if found.blocks:
            walk.recorder.use(lists)
            node.target = Span(found.blocks[0].address, size)
        else:
            first = found.problems[0]
            walk.missing(node, first.address, Absent(Reason.NOT_CAPTURED, first.text))
        walk.problems(node, [p for p in found.problems if found.blocks or p.code != "missing"])
        for number, block in enumerate(found.blocks):
            span = Span(block.address, header.size)
            top = Node("blocks", NodeKind.RECORD, key=str(number), span=span, format=lists.id)
            record(walk, node.add(top), header, b"", block.address, lists, block.values)
            walk.claim(node, block.address, size)
        number = 0
        for block in found.blocks:
            start = block.address + header.size
            body = block.data[header.size :]
            elements(walk, node, compiled, body, start, block.used, definition, number)
            number += block.used

    def header(self, scene: Scene, definition: Definition, reference: Reference) -> CompiledStruct:
        """The struct in front of each block, the kernel's own or the format's."""
        return list_header(scene.registry, definition, reference, scene.geometry)[1]

    def glance(self, scene: Scene, pointer: Pointer) -> Glance:
        """The records of the first blocks."""
        pages, page = pointer.reference.pages, scene.geometry.page_size
        header = self.header(scene, pointer.definition, pointer.reference)
        compiled = scene.struct(pointer.definition, pointer.reference.of)
        read, first = scene.space.read, int(pointer.value)
        found = walk_blocks(read, first, header, compiled, max_blocks=MAX_GLANCED, pages=pages)
        glance = Glance()
        for block in found.blocks:
            glance.rows.extend(decode_records(compiled, block.data[header.size :], block.used))
            glance.pages.extend(range(block.address, block.address + pages * page, page))
        return glance

    def build(self, builder: Builder, pointer: Pointer) -> int:
        """The blocks; a list that may not be missing has one even if it is empty."""
        definition, reference, path = pointer.definition, pointer.reference, pointer.path
        items = pointer.value or []
        if not items and pointer.field.null == "empty":
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
    """The header of each block of a list, and its definition."""
    if reference.header:
        return definition, registry.compile(definition, reference.header, geometry)
    lists = registry.get(BLOCK_LIST)
    return lists, registry.compile(lists, lists.content, geometry)
