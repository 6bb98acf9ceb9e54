"""Entries of a KHO root: what each blob is, and what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from khotool.abi.compile import CompiledStruct
from khotool.abi.composite import MAX_LENGTH
from khotool.abi.definition import Definition, Kind, NodeType
from khotool.abi.record import decode_text
from khotool.absent import Absent
from khotool.decode.choose import Evidence, choose, note_parts, note_whole
from khotool.decode.tables import tail_table
from khotool.fdt.blob import Node as FdtNode
from khotool.model.image import Node, NodeKind, Span
from khotool.model.names import latin1_text, text_property
from khotool.model.region import RawRegion

if TYPE_CHECKING:
    from khotool.decode.walk import Walker

FDT_MAGIC = b"\xd0\x0d\xfe\xed"
FDT_HEADER = 40
"""Bytes of a device tree's header."""
RAW_LIMIT = 1 << 20
"""Bytes of an unknown blob that are kept."""


class EntryReader:
    """The part of a walk that reads the blobs of entries."""

    def __init__(self, walker: Walker) -> None:
        """Work for one walk."""
        self.walker = walker
        self.names: set[str] = set()

    def entry(
        self, parent: Node, fdt: FdtNode, kind: NodeType, definition: Definition, base: int
    ) -> None:
        """One entry of the KHO root: its properties, then the blob they point to."""
        node = parent.add(Node(latin1_text(fdt.name), NodeKind.ENTRY))
        if node.name in self.names:
            self.walker.report("KHO208", node, "two entries have this name")
        self.names.add(node.name)
        node.span = Span(base + fdt.tag_offset, 4)
        self.walker.trees.fields(node, fdt, kind, definition, base)

    def inline(self, parent: Node, fdt: FdtNode, base: int) -> None:
        """One entry that stands in the root itself, without a blob of its own."""
        name = latin1_text(fdt.name)
        node = parent.add(Node(name, NodeKind.ENTRY))
        if name in self.names:
            self.walker.report("KHO208", node, "two entries have this name")
        self.names.add(name)
        node.span = Span(base + fdt.tag_offset, 4)
        node.target = Span(base + fdt.tag_offset, fdt.size)
        compatible = text_property(fdt, "compatible")
        registry = self.walker.registry
        candidates = registry.candidates(Kind.ENTRY, "compatible", compatible or "")
        if compatible is None:
            candidates = registry.candidates(Kind.ENTRY, "entry", name)
        definition = self.forced_entry(node) or choose(
            self.walker, node, compatible or name, candidates, Evidence(tree=fdt)
        )
        if definition is None or definition.fdt is None:
            self.unknown(node, f"no definition for {compatible or name!r}", base)
            self.walker.trees.raw(node, fdt, base)
            return
        self.walker.use(definition)
        node.format = definition.id
        self.walker.trees.read(node, fdt, definition.fdt, definition, base)

    def entry_blob(self, node: Node, address: int, size: int | None) -> None:
        """The blob of an entry, by the definition that its own bytes or its name select."""
        head = self.walker.read_some(address, FDT_HEADER, short=True)
        if isinstance(head, Absent):
            self.walker.absent(node, address, head)
            node.value = head
            return
        if bytes(head[:4]) == FDT_MAGIC:
            self.entry_fdt(node, address, size)
        else:
            self.entry_record(node, address, size)

    def entry_fdt(self, node: Node, address: int, size: int | None) -> None:
        """An entry whose blob is a device tree."""
        blob = self.walker.read_fdt(node, address)
        if blob is None or blob.root is None:
            return
        node.target = Span(address, len(blob.data))
        self.walker.claim(node.path, address, max(size or 0, len(blob.data)))
        if size is not None and blob.totalsize > size:
            self.walker.report(
                "KHO207", node, f"totalsize {blob.totalsize} is more than blob-size {size}", address
            )
        compatible = text_property(blob.root, "compatible") or ""
        candidates = self.walker.registry.candidates(Kind.ENTRY, "compatible", compatible)
        definition = self.forced_entry(node) or choose(
            self.walker, node, compatible, candidates, Evidence(blob.root, size=size)
        )
        if definition is None or definition.fdt is None:
            self.unknown(node, f"no definition for {compatible!r}", address)
            self.walker.trees.raw(node, blob.root, address)
            return
        note_whole(self.walker, node, compatible, definition)
        self.walker.use(definition)
        node.format = definition.id
        self.walker.trees.read(node, blob.root, definition.fdt, definition, address)

    def entry_record(self, node: Node, address: int, size: int | None) -> None:
        """An entry whose blob is a record."""
        node.target = Span(address, size or 0)
        if size:
            self.walker.claim(node.path, address, size)
        data = self.walker.read_some(address, min(size or RAW_LIMIT, RAW_LIMIT), short=True)
        if isinstance(data, Absent):
            self.walker.absent(node, address, data)
            return
        definition = (
            self.forced_entry(node)
            or self.entry_by_bytes(node, data, size)
            or self.entry_by_parts(node, data, size)
        )
        if definition is None or definition.content not in definition.structs:
            named = [d for d in self.walker.registry if node.name in d.match.get("entry", ())]
            if named and all(d.content == "fdt" for d in named):
                self.walker.report("FDT101", node, f"no device tree at {address:#x}", address)
                return
            text = f"no definition for the blob of entry {node.name!r}"
            text += f", which starts with {bytes(data[:16])!r}"
            named = [d for d in named if d.content in d.structs and d.match.get("compatible")]
            own = [definition for definition in named if self.literals_fit(definition, data)]
            if own:
                near = " or ".join(f"--abi {d.id}" for d in own)
                text += f"; {near} reads it by its string, though other signs are not there"
            self.unknown(node, text, address)
            self.raw_blob(node, address, data if size else data[:0])
            return
        compiled = self.compile(definition)
        if len(data) < compiled.size or (size is not None and size < compiled.size):
            have = min(len(data), size if size is not None else len(data))
            self.walker.report(
                "KHO207",
                node,
                f"blob has {have} bytes, {definition.id} needs {compiled.size}",
                address,
            )
            self.raw_blob(node, address, data[:have])
            return
        if size is None:
            self.walker.claim(node.path, address, compiled.size)
        self.walker.use(definition)
        values = self.walker.record(node, compiled, data, address, definition)
        if compiled.tail is not None:
            tail_table(self.walker.follower, node, compiled, definition, values)

    def compile(self, definition: Definition) -> CompiledStruct:
        """The record that a definition's content is."""
        return self.walker.registry.compile(definition, definition.content, self.walker.geometry)

    def forced_entry(self, node: Node) -> Definition | None:
        """The definition that --abi names for this entry."""
        for identifier in self.walker.abi:
            definition = self.walker.registry.definitions.get(identifier)
            if definition is not None and node.name in definition.match.get("entry", ()):
                return definition
        return None

    def entry_by_bytes(self, node: Node, data: memoryview, size: int | None) -> Definition | None:
        """The definition for a raw blob: by its own string, else by the name of its entry."""
        candidates = [
            definition
            for definition in self.walker.registry.candidates(Kind.ENTRY, "entry", node.name)
            if definition.content in definition.structs and self.literals_fit(definition, data)
        ]
        evidence = Evidence(data=data, size=size)
        # A blob that says what it is cannot be one that does not.
        candidates = [d for d in candidates if d.match.get("compatible")] or candidates
        return choose(self.walker, node, node.name, candidates, evidence)

    def entry_by_parts(self, node: Node, data: memoryview, size: int | None) -> Definition | None:
        """The definition for a raw blob whose string has parts that none describes.

        The string decides how long the record is; the length of the blob has to confirm it.
        """
        text = decode_text(bytes(data[: MAX_LENGTH + 1]))
        definition = self.walker.registry.stretched(text)
        if definition is None or node.name not in definition.match.get("entry", ()):
            return None
        needed = self.compile(definition).size
        if size not in (None, needed):
            return None
        seen = f"the blob has {needed} bytes" if size is not None else "no length confirms it"
        note_parts(self.walker, node, text, definition, seen, certain=size is not None)
        return definition

    def literals_fit(self, definition: Definition, data: memoryview) -> bool:
        """True if every field with only one right string has it."""
        return all(
            decode_text(bytes(data[f.offset : f.offset + f.size])) == f.field.value
            for f in self.compile(definition).fields
            if f.field.value
        )

    def unknown(self, node: Node, message: str, address: int) -> None:
        """Say that a format is not known."""
        known = any(node.name in d.match.get("entry", ()) for d in self.walker.registry)
        self.walker.report("ABI901" if known else "ABI902", node, message, address)
        node.note = "unknown format"

    def raw_blob(self, node: Node, address: int, data: memoryview) -> None:
        """Bytes that no definition explains."""
        if len(data):
            self.walker.regions.append(RawRegion(node.path, address, bytes(data)))
            node.add(Node("bytes", NodeKind.RAW, value=bytes(data), span=Span(address, len(data))))
