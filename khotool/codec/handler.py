"""A handle that only its handler can read: a record, a tree or a literal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from khotool.abi.definition import Definition, Field, Kind, Reference, Shape
from khotool.absent import Absent
from khotool.codec.base import Codec, Use, register
from khotool.codec.choose import by_first_part, choose
from khotool.codec.conditions import Evidence
from khotool.codec.contexts import Walk
from khotool.codec.record import record_at
from khotool.codec.scene import FDT_MAGIC, Scene, read_tree
from khotool.codec.tree import tree_at
from khotool.model.node import Node, NodeState

# -- bytes to nodes ----------------------------------------------------------------------


@register(Shape.HANDLER)
class HandlerCodec(Codec):
    """A handle that only its handler's definition can read."""

    def validate(self, use: Use) -> Iterator[str]:
        """The string that selects the handler is a field beside the handle."""
        return use.beside(use.reference.by)

    def walk(
        self, walk: Walk, node: Node, definition: Definition, siblings: Mapping[str, Any]
    ) -> None:
        """A record or a tree as the handler's definition says, or the handle alone."""
        assert node.field is not None
        assert node.field.points_to is not None
        reference = node.field.points_to
        name = siblings.get(reference.by)
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

    def null(self, walk: Walk, node: Node, field: Field, siblings: Mapping[str, Any]) -> None:
        """0 is right for a handler that hands over nothing in memory."""
        if field.null != "handler":
            super().null(walk, node, field, siblings)
            return
        assert field.points_to is not None
        name = siblings.get(field.points_to.by)
        text = name if isinstance(name, str) else ""
        chosen = handler_format(walk, node, field.points_to, text)
        if chosen is None:
            return
        if chosen.content not in ("literal", "none"):
            walk.recorder.report("REC408", node, f"{chosen.id} needs an address here, found 0")
            return
        walk.recorder.use(chosen)
        node.struct, node.format = chosen.content, chosen.id


def handler_format(walk: Walk, node: Node, reference: Reference, name: str) -> Definition | None:
    """The definition of a handle: forced by --abi, or by the string beside it."""
    scene = walk.scene
    candidates = scene.registry.handlers(reference.kind, name)
    evidence = Evidence(handle=int(node.value))
    if len(candidates) > 1 and node.value:
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
    """What stands at an address, to tell formats apart: a tree, or the first bytes."""
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


# -- nodes to a handover, and back to bytes ----------------------------------------------
