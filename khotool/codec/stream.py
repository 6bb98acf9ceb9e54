"""A stream of states: each says its length, and the definition of its number what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from khotool.abi.definition import Definition, Field, Kind, Reference, Shape
from khotool.abi.geometry import Geometry
from khotool.abi.record import decode_record
from khotool.abi.registry import Registry
from khotool.absent import Absent
from khotool.codec.base import Codec, NumberCodec, Pointer, Stored, reference_of, register
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.fields import record
from khotool.errors import EncodeError
from khotool.handover.values import Link
from khotool.model.node import Node, NodeKind, Span
from khotool.model.region import RawRegion
from khotool.structured import Table as Written

BODY = "body"
"""What a state holds: fields, or bytes that no definition describes."""
EOF = -1
"""Section type of what ends the stream; only that word of it is written."""
ROOT = Link("/")


@register(Shape.STREAM)
class StreamCodec(Codec):
    """A header, then entries of a header and a body, up to one that ends the stream."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """One element for each state; the rest of the block belongs to the owner too."""
        scene, recorder, definition = walk.scene, walk.recorder, pointer.definition
        address, reference = int(node.value), pointer.reference
        head = scene.struct(definition, reference.header)
        entry = scene.struct(definition, reference.of)
        block = scene.block_of(address)
        room = (scene.geometry.page_size << block[1]) if block else scene.geometry.page_size
        data = scene.read(address, room, short=True)
        walk.claim(node, address, room)
        if isinstance(data, Absent) or len(data) < head.size:
            gone = data if isinstance(data, Absent) else scene.read(address, head.size)
            assert isinstance(gone, Absent)
            walk.missing(node, address, gone)
            return
        node.kind, node.target = NodeKind.LIST, Span(address, room)
        top = node.add(Node("header", NodeKind.RECORD, span=Span(address, head.size)))
        record(walk, top, head, data, address, definition)
        at = head.size
        while at + 4 <= len(data):
            kind = int.from_bytes(data[at : at + 4], scene.geometry.byteorder, signed=True)
            if kind == EOF:
                region = RawRegion(f"{node.path}/end", address + at, bytes(data[at : at + 4]))
                recorder.regions.append(region)
                return
            values = decode_record(entry, data[at:]) if at + entry.size <= len(data) else None
            size = int(values["size"]) if values is not None else -1
            end = at + entry.size + size
            if values is None or size < 0 or end > len(data):
                text = f"the state at {address + at:#x} does not end within {room} bytes"
                recorder.report("REC403", node, text, address + at, code="no-end", size=room)
                if recorder.spend(node, 1, len(data) - at):
                    rest = RawRegion(f"{node.path}/rest", address + at, bytes(data[at:]))
                    recorder.regions.append(rest)
                return
            if not recorder.spend(node, len(entry.fields), end - at):
                return
            key = f"{values['state_id']}.{values['instance_id'] & 0xFFFFFFFF:#x}"
            item = Node("", NodeKind.RECORD, span=Span(address + at, end - at))
            item.key = recorder.unique_key(node, key)
            node.add(item)
            record(walk, item, entry, data[at:], address + at, definition)
            body(walk, item, values["state_id"], data[at + entry.size : end])
            at = end
        text = f"nothing ends the stream within {room} bytes"
        recorder.report("REC403", node, text, address + at, code="no-end", size=room)

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The states, each with its body."""
        if node.kind is not NodeKind.LIST:
            return node.value
        states = []
        for item in node.elements():
            states.append(lifter.fields(item))
            held = item.value_of(BODY)
            if isinstance(held, bytes):
                states[-1][BODY] = held
        return states

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """A list of states; a body is a table of fields, or bytes in hexadecimal."""
        reference = reference_of(field)
        return [
            state_of(reader, definition, reference, item) for item in table[field.label].tables()
        ]

    def build(self, builder: Builder, pointer: Pointer) -> Stored:
        """The stream in a block of its own."""
        if not isinstance(pointer.value, list):
            return pointer.number()
        definition, reference, path = pointer.definition, pointer.reference, pointer.path
        data = builder.record(definition, reference.header, {}, path)
        for index, state in enumerate(pointer.value):
            data += packed(builder, definition, reference, state, f"{path}[{index}]")
        data += EOF.to_bytes(4, builder.geometry.byteorder, signed=True)
        return builder.place(data, path)


@register(Shape.ROOT)
class RootCodec(NumberCodec):
    """The address of the KHO root."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """The root is read already."""

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """The root, wherever it is."""
        return ROOT

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """``"/"``, or a number."""
        given = table[field.label]
        return ROOT if given.raw == ROOT.path else reader.number(field, given)

    def build(self, builder: Builder, pointer: Pointer) -> Stored:
        """The address of the root; a number stays."""
        if isinstance(pointer.value, Link):
            return builder.places.record(pointer.value, pointer.path)
        return pointer.number()


def body(walk: Walk, item: Node, number: int, data: memoryview) -> None:
    """What a state holds: the record of its definition, or bytes."""
    assert item.span is not None
    start = item.span.end - len(data)
    own = definition_of(walk.scene.registry, number, walk.scene.geometry, len(data))
    if own is None:
        value = item.add(Node(BODY, NodeKind.VALUE, value=bytes(data), span=Span(start, len(data))))
        if len(data):
            walk.recorder.regions.append(RawRegion(value.path, start, bytes(data), node=value))
        return
    walk.recorder.use(own)
    inner = item.add(Node(BODY, NodeKind.RECORD, format=own.id, span=Span(start, len(data))))
    record(walk, inner, walk.scene.content(own), data, start, own)


def definition_of(
    registry: Registry, number: int, geometry: Geometry, size: int | None = None
) -> Definition | None:
    """The definition of the state of a number, where its body has the right size."""
    for own in registry.handlers(Kind.STATE, f"kstate-{number}"):
        if size in (None, registry.compile(own, own.content, geometry).size):
            return own
    return None


def state_of(
    reader: Reader, definition: Definition, reference: Reference, item: Written
) -> dict[str, Any]:
    """One state as somebody wrote it."""
    values = reader.record(definition, reference.of, item)
    given = item.get(BODY)
    if given is None or isinstance(given.raw, str):
        return values | {BODY: given.hexadecimal() if given is not None else b""}
    inner, number = given.table(), int(values.get("state_id", 0))
    own = definition_of(reader.registry, number, reader.geometry)
    if own is None:
        inner.mistake(f"no definition of the body of state {number}; write it in hexadecimal")
        return values | {BODY: b""}
    return values | {BODY: reader.content(own, inner)}


def packed(
    builder: Builder,
    definition: Definition,
    reference: Reference,
    state: Mapping[str, Any],
    path: str,
) -> bytes:
    """One state: its header and its body."""
    held = state.get(BODY, b"")
    if isinstance(held, Mapping):
        own = definition_of(builder.registry, int(state.get("state_id", 0)), builder.geometry)
        if own is None:
            raise EncodeError(path, "no definition says how this state is written")
        held = builder.record(own, own.content, held, f"{path}/{BODY}")
    values = {label: value for label, value in state.items() if label != BODY}
    head = builder.record(definition, reference.of, values | {"size": len(held)}, path)
    return bytes(head + held)


def roots_of(data: memoryview, registry: Registry, geometry: Geometry) -> Iterator[int]:
    """Physical addresses of KHO roots that the states of a stream name.

    Args:
        data: of the stream, from its start.
    """
    stream = registry.get("kstate")
    head = registry.compile(stream, "kstate_stream", geometry)
    entry = registry.compile(stream, "kstate_entry", geometry)
    at = head.size
    while at + entry.size <= len(data):
        values = decode_record(entry, data[at:])
        start = at + entry.size
        at = start + int(values["size"])
        if values["section_type"] == EOF or int(values["size"]) < 0 or at > len(data):
            return
        own = definition_of(registry, values["state_id"], geometry, at - start)
        if own is None:
            continue
        compiled = registry.compile(own, own.content, geometry)
        fields = decode_record(compiled, data[start:at])
        for placed in compiled.fields:
            reference = placed.field.points_to
            if reference is not None and reference.shape is Shape.ROOT:
                yield int(fields[placed.field.label])
