"""A handle that only its handler can read: a record, a tree or a literal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from khotool.abi.definition import Definition, Field, Kind, Reference, Shape
from khotool.abi.record import fit_int
from khotool.absent import Absent
from khotool.codec.base import WORD, Codec, Pointer, reference_of, register
from khotool.codec.choose import by_first_part, choose, contested
from khotool.codec.conditions import Evidence
from khotool.codec.contexts import Builder, Lifter, Reader, Walk
from khotool.codec.record import place_record, record_at
from khotool.codec.scene import FDT_MAGIC, Scene, read_tree
from khotool.codec.tree import tree_at
from khotool.errors import EncodeError
from khotool.handover.values import Handle
from khotool.model.node import Node, NodeState
from khotool.structured import Table as Written


@register(Shape.HANDLER)
class HandlerCodec(Codec):
    """A handle that only its handler's definition can read."""

    beside = ("format",)

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """A record or a tree as the handler's definition says, or the handle alone."""
        reference = pointer.reference
        name = pointer.values.get(reference.by)
        chosen = handler_format(walk, node, reference, name if isinstance(name, str) else "")
        if chosen is None:
            text = f"no definition for {reference.kind} handler {name!r}"
            walk.recorder.report("ABI904", node, text)
            node.state = NodeState.UNKNOWN_HANDLER
            # The handle may be an address; the block it is in, if any, is all that is known.
            walk.claim(node, int(node.value), 1)
            return
        walk.recorder.use(chosen)
        if isinstance(name, str):
            walk.recorder.note_parts(node, by_first_part(name, chosen))
        if chosen.content == "fdt":
            tree_at(walk, node, chosen)
        elif chosen.content in chosen.structs:
            record_at(walk, node, walk.scene.content(chosen), chosen)
        else:
            node.format = chosen.id
            if chosen.content == "none":
                node.state = NodeState.UNKNOWN_FORMAT
                walk.claim(node, int(node.value), 1)

    def null(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """0 is right for a handler that hands over nothing in memory."""
        if pointer.field.null != "handler":
            super().null(walk, node, pointer)
            return
        name = pointer.values.get(pointer.reference.by)
        text = name if isinstance(name, str) else ""
        chosen = handler_format(walk, node, pointer.reference, text)
        if chosen is None:
            return
        if chosen.content not in ("literal", "none"):
            walk.recorder.report("REC408", node, f"{chosen.id} needs an address here, found 0")
            return
        walk.recorder.use(chosen)
        node.struct, node.format = chosen.content, chosen.id

    def lift(self, lifter: Lifter, node: Node) -> Any:
        """What the handle leads to, or the handle itself."""
        if node.target is not None and node.get("target") is None:
            return Handle(lifter.fields(node), format=node.format)
        formats = lifter.registry
        known = formats.definitions.get(node.format) or formats.stretched(node.format)
        if node.value and (known is None or known.kind != reference_of(node.field).kind):
            lifter.lose(node.path, "unknown handler; its handle stays as it is")
        return Handle(None, int(node.value), node.format)

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """The fields of what the handle leads to."""
        return reader.handle(reference_of(field), table, table[field.label])

    def build(self, builder: Builder, pointer: Pointer) -> int:
        """The record or tree that its handler writes, or the number."""
        value, kind, path = pointer.value, pointer.reference.kind, pointer.path
        if isinstance(value, int):
            return pointer.number()
        name = pointer.values.get(pointer.reference.by, "")
        own = handler_definition(builder, kind, name, value)
        if not isinstance(value, Handle):
            return own.literals.get(name, 0) if own is not None else 0
        if value.values is None:
            return fit_int(value.literal, WORD, False, path)
        if own is not None and own.content == "fdt":
            return builder.place_tree(own, value.values, path)
        if own is None or own.content not in own.structs:
            raise EncodeError(path, f"no definition says how {kind} {name!r} is written")
        return place_record(builder, own, own.content, value.values, path)


def handler_format(walk: Walk, node: Node, reference: Reference, name: str) -> Definition | None:
    """The definition of a handle: forced by --abi, or by its sibling string."""
    scene = walk.scene
    candidates = scene.registry.handlers(reference.kind, name)
    evidence = Evidence(handle=int(node.value))
    if node.value and contested(candidates):
        evidence = evidence_at(scene, int(node.value), candidates)
    found = choose(scene, name, candidates, evidence)
    walk.recorder.choose(node, found.choice)
    chosen = found.definition
    known = {candidate.id for candidate in candidates}
    for identifier, variant in scene.abi.items():
        if identifier == name and variant in known:
            # The string is named, and which of its definitions: choosing has seen to that.
            continue
        forced = scene.registry.definitions.get(identifier)
        if forced is None or forced.kind != reference.kind or forced.kind == Kind.FLB:
            continue
        if name in forced.match.get("compatible", ()) or chosen is None:
            chosen = forced
    return chosen


def evidence_at(scene: Scene, address: int, candidates: Sequence[Definition]) -> Evidence:
    """What is at an address, to distinguish formats: a tree, or the first bytes."""
    sizes = [
        scene.content(definition).size
        for definition in candidates
        if definition.content in definition.structs
    ]
    data = scene.read(address, max(scene.geometry.page_size, *sizes, 0), short=True)
    if isinstance(data, Absent):
        return Evidence(handle=address)
    if bytes(data[:4]) == FDT_MAGIC:
        blob = read_tree(scene.space, address)
        return Evidence(blob.root if blob is not None else None, data, None, address)
    return Evidence(data=data, handle=address)


def handler_definition(builder: Builder, kind: str, name: str, value: Any) -> Definition | None:
    """The definition by which a handle is written: as the value or the set says."""
    candidates = builder.registry.handlers(kind, name)
    wanted = [value.format] if isinstance(value, Handle) else []
    for identifier in [*wanted, *builder.abi.files, *builder.abi.flbs]:
        for definition in candidates:
            if definition.id == identifier:
                return definition
    return candidates[0] if candidates else None
