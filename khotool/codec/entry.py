"""The blob of an entry of the KHO root."""

from __future__ import annotations

from khotool.abi.composite import MAX_LENGTH
from khotool.abi.definition import Definition, Kind, Shape
from khotool.abi.record import decode_text
from khotool.absent import Absent
from khotool.codec.base import NumberCodec, Pointer, register
from khotool.codec.choose import by_first_part, partly
from khotool.codec.conditions import Evidence
from khotool.codec.contexts import Walk
from khotool.codec.fdt_nodes import entry_format, forced_entry, read_node, unknown_entry
from khotool.codec.fields import record
from khotool.codec.properties import TreeWalk, raw_tree
from khotool.codec.scene import FDT_HEADER, FDT_MAGIC, Scene
from khotool.codec.tables import tails
from khotool.codec.tree import read_fdt
from khotool.model.names import text_property
from khotool.model.node import Node, NodeKind, Span
from khotool.model.region import RawRegion

RAW_LIMIT = 1 << 20
"""Bytes of an unknown blob that are kept."""


@register(Shape.ENTRY)
class EntryCodec(NumberCodec):
    """The blob of an entry: what it is, its own bytes or the entry's name say."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """The values of the blob become children of the entry."""
        assert node.parent is not None
        size = pointer.values.get(pointer.reference.size)
        entry_blob(walk, node.parent, node.value, size if isinstance(size, int) else None)


def entry_blob(walk: Walk, node: Node, address: int, size: int | None) -> None:
    """The blob of an entry at a physical address.

    Args:
        node: of the entry.
        size: bytes, where the root says them.
    """
    head = walk.scene.read(address, FDT_HEADER, short=True)
    if isinstance(head, Absent):
        walk.absent(node, address, head)
        node.value = head
    elif bytes(head[:4]) == FDT_MAGIC:
        _tree(walk, node, address, size)
    else:
        _raw_or_record(walk, node, address, size)


# -- a device tree -----------------------------------------------------------------------


def _tree(walk: Walk, node: Node, address: int, size: int | None) -> None:
    recorder = walk.recorder
    blob = read_fdt(walk, node, address)
    if blob is None or blob.root is None:
        return
    node.target = Span(address, len(blob.data))
    recorder.claim(node.path, address, max(size or 0, len(blob.data)))
    if size is not None and blob.totalsize > size:
        text = f"totalsize {blob.totalsize} is more than blob-size {size}"
        recorder.report("KHO207", node, text, address, totalsize=blob.totalsize, size=size)
    compatible = text_property(blob.root, "compatible") or ""
    found = walk.scene.registry.candidates(Kind.ENTRY, "compatible", compatible)
    # Some strings are those of a tree and of a record.
    candidates = tuple(one for one in found if one.fdt is not None)
    evidence = Evidence(blob.root, size=size)
    definition = entry_format(walk, node, compatible, candidates, evidence)
    if definition is None or definition.fdt is None:
        unknown_entry(walk, node, f"no definition for {compatible!r}", address)
        raw_tree(walk, node, blob.root, address)
        return
    recorder.note_parts(node, by_first_part(compatible, definition))
    recorder.use(definition)
    node.format = definition.id
    read_node(TreeWalk(walk, definition, address), node, blob.root, definition.fdt)


# -- a record ----------------------------------------------------------------------------


def _raw_or_record(walk: Walk, node: Node, address: int, size: int | None) -> None:
    node.target = Span(address, size or 0)
    if size:
        walk.recorder.claim(node.path, address, size)
    data = walk.scene.read(address, min(size or RAW_LIMIT, RAW_LIMIT), short=True)
    if isinstance(data, Absent):
        walk.absent(node, address, data)
        return
    definition = (
        forced_entry(walk.scene, node.name)
        or _by_bytes(walk, node, data, size)
        or _by_parts(walk, node, data, size)
    )
    if definition is None or definition.content not in definition.structs:
        _unknown(walk, node, address, data, size)
    else:
        _record(walk, node, definition, address, data, size)


def _record(
    walk: Walk, node: Node, definition: Definition, address: int, data: memoryview, size: int | None
) -> None:
    recorder = walk.recorder
    compiled = walk.scene.content(definition)
    have = len(data) if size is None else min(len(data), size)
    if have < compiled.size:
        text = f"blob has {have} bytes, {definition.id} needs {compiled.size}"
        recorder.report("KHO207", node, text, address, size=have, needed=compiled.size)
        raw_blob(walk, node, address, data[:have])
        return
    if size is None:
        recorder.claim(node.path, address, compiled.size)
    recorder.use(definition)
    values = record(walk, node, compiled, data, address, definition)
    tails(walk, node, compiled, definition, values)


def _by_bytes(walk: Walk, node: Node, data: memoryview, size: int | None) -> Definition | None:
    """The definition for a raw blob: by its own string, else by the name of its entry."""
    candidates = [
        definition
        for definition in walk.scene.registry.candidates(Kind.ENTRY, "entry", node.name)
        if definition.content in definition.structs and literals_fit(walk.scene, definition, data)
    ]
    # A blob that says what it is cannot be one that does not.
    candidates = [d for d in candidates if d.match.get("compatible")] or candidates
    return entry_format(walk, node, node.name, candidates, Evidence(data=data, size=size))


def _by_parts(walk: Walk, node: Node, data: memoryview, size: int | None) -> Definition | None:
    """The definition for a raw blob whose string has parts that none describes.

    The string decides how long the record is; the length of the blob has to confirm it.
    """
    text = decode_text(bytes(data[: MAX_LENGTH + 1]))
    definition = walk.scene.registry.stretched(text)
    if definition is None or node.name not in definition.match.get("entry", ()):
        return None
    needed = walk.scene.content(definition).size
    if size not in (None, needed):
        return None
    seen = f"the blob has {needed} bytes" if size is not None else "no length confirms it"
    choice = partly(text, definition, seen, certain=size is not None)
    walk.recorder.note_parts(node, choice)
    return definition


def literals_fit(scene: Scene, definition: Definition, data: memoryview) -> bool:
    """True if every field with only one right string has it."""
    return all(
        decode_text(bytes(data[f.offset : f.offset + f.size])) == f.field.value
        for f in scene.content(definition).fields
        if f.field.value
    )


# -- neither -----------------------------------------------------------------------------


def _unknown(walk: Walk, node: Node, address: int, data: memoryview, size: int | None) -> None:
    """A raw blob that no definition reads, and the ones that --abi could make read it."""
    named = [d for d in walk.scene.registry if node.name in d.match.get("entry", ())]
    if named and all(d.content == "fdt" for d in named):
        walk.recorder.report("FDT101", node, f"no device tree at {address:#x}", address)
        return
    text = f"no definition for the blob of entry {node.name!r}"
    text += f", which starts with {bytes(data[:16])!r}"
    own = [
        d
        for d in named
        if d.content in d.structs
        and d.match.get("compatible")
        and literals_fit(walk.scene, d, data)
    ]
    if own:
        near = " or ".join(f"--abi {d.id}" for d in own)
        text += f"; {near} reads it by its string, though its probe conditions do not hold"
    unknown_entry(walk, node, text, address)
    raw_blob(walk, node, address, data if size else data[:0])


def raw_blob(walk: Walk, node: Node, address: int, data: memoryview) -> None:
    """Bytes that no definition explains."""
    if len(data):
        walk.recorder.regions.append(RawRegion(node.path, address, bytes(data), node=node))
        node.add(Node("bytes", NodeKind.RAW, value=bytes(data), span=Span(address, len(data))))
