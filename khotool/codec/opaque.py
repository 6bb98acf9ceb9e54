"""A preserved block whose contents no definition describes."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.abi.definition import Definition, Field, Shape
from khotool.codec.base import Codec, Pointer, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.handover.values import Array, Payload
from khotool.model.node import Node, Span
from khotool.structured import Table as Written


class PayloadCodec(Codec):
    """A shape that leads to memory which is handed over as it is."""

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """A range of memory: its size, and what it holds."""
        return read_payload(reader, table[field.label].table())

    def build(self, builder: Builder, pointer: Pointer) -> int:
        """The physical address of the memory at its new place; a number stays."""
        if not isinstance(pointer.value, Payload):
            return pointer.number()
        addresses: Array = builder.place_payload(pointer.value, pointer.path)
        return int(addresses[0])


@register(Shape.OPAQUE)
class OpaqueCodec(PayloadCodec):
    """The preserved block around an address; its contents are unknown."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """The target goes to the end of the preserved block."""
        address = int(node.value)
        walk.claim(node, address, 1)
        block = walk.scene.block_of(address)
        if block is not None:
            end = block[0] + (walk.scene.geometry.page_size << block[1])
            node.target = Span(address, end - address)

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The block; the number where it leads nowhere."""
        if node.target is None or not node.target.size:
            return node.value
        return one_block(lifter, int(node.value), node.target.size)


def one_block(lifter: Lifter, address: int, size: int) -> Payload:
    """One block of payload, at a physical address, of ``size`` bytes."""
    return lifter.payload(np.array([address], np.uint64), np.array([size], np.uint64))


def read_payload(reader: Reader, table: Written) -> Payload:
    """A range of memory: its size, and what it holds."""
    size = table.integer("size", sizes=True)
    start = table.optional_integer("start", sizes=True)
    align = table.integer("align", 0, sizes=True) or None
    contents = reader.memory(table, size)
    return Payload(np.array([size], np.uint64), contents, start, align)
