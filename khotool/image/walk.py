"""Apply definitions from pointer to pointer until the whole handover is one model.

The walk is driven by definitions alone: no format, field or offset is named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, Kind, NodeType
from khotool.abi.geometry import Geometry
from khotool.abi.record import decode_record, decode_text
from khotool.abi.registry import Registry
from khotool.absent import Absent, Reason
from khotool.fdt.blob import Blob, FdtError, Property
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.parse import parse
from khotool.findings import Finding
from khotool.image.entries import FDT_HEADER, FDT_MAGIC, EntryReader
from khotool.image.follow import Follower
from khotool.image.model import UNPLACED, Choice, Node, NodeKind, Span
from khotool.image.names import latin1_text, text_property
from khotool.image.probes import choose_layout
from khotool.image.problems import FDT_RULES
from khotool.image.recover import recover_names, root_definition
from khotool.image.region import FdtRegion, RecordRegion, Region
from khotool.limits import Budget, Limits
from khotool.memory.space import AddressSpace, MemoryFault
from khotool.pages.claims import ClaimsBuilder
from khotool.shapes.preserved import PreservedMap

MAX_FDT = 64 << 20
"""Bytes of one device tree that are read; the kernel's own are a page to a few megabytes."""


class Walker:
    """One walk over one image, from one KHO root.

    Args:
        space: captured memory.
        abi: layout by definition id, as the user forces it; None for the id alone.
        osrelease: release of the kernel whose memory this is.
        writer: release of the kernel that wrote the handover, where it is known.
    """

    def __init__(
        self,
        space: AddressSpace,
        registry: Registry,
        geometry: Geometry,
        *,
        limits: Limits | None = None,
        abi: Mapping[str, str | None] | None = None,
        writer: str | None = None,
    ) -> None:
        self.space = space
        self.registry = registry
        self.geometry = geometry
        self.limits = limits or Limits()
        self.budget = Budget(self.limits)
        self.abi = dict(abi or {})
        self.writer = writer
        self.tree = Node("", NodeKind.IMAGE)
        self.claims = ClaimsBuilder()
        self.root_blob: Blob | None = None
        self.regions: list[Region] = []
        self.findings: list[Finding] = []
        self.used: dict[str, Definition] = {}
        self.choices: dict[str, Choice] = {}
        self.map: PreservedMap | Absent = Absent(Reason.UNPARSABLE, "no preserved-page map")
        self.entries = EntryReader(self)
        self.follower = Follower(self)

    # -- results of the walk -------------------------------------------------------------

    def report(self, rule: str, node: Node, message: str, address: int | None = None) -> None:
        """Record a finding at a node."""
        if address is not None and address >= UNPLACED:
            address = None
        self.findings.append(Finding(rule, node.path, message, address))

    def use(self, definition: Definition) -> None:
        """Note that a definition decoded something."""
        self.used.setdefault(definition.id, definition)

    def claim(self, path: str, address: int, size: int) -> None:
        """Claim ``size`` bytes at a physical address for the owner ``path``."""
        if size > 0 and address < UNPLACED:
            self.claims.add(self.claims.owner(path), address, address + size)

    def claim_many(
        self, path: str, starts: Any, size: Any, *, expected_outside: bool = False
    ) -> None:
        """Claim many pieces: physical addresses uint64 (n,), bytes of each."""
        import numpy as np

        owner = self.claims.owner(path, expected_outside)
        ends = starts + np.asarray(size, np.uint64)
        self.claims.add_many(owner, starts, np.maximum(ends, starts))

    def spend(self, node: Node, count: int = 1, size: int = 0) -> bool:
        """Charge the budget; False, and one finding, once it is used up."""
        before = self.budget.nodes <= self.limits.nodes and self.budget.bytes <= self.limits.bytes
        if self.budget.spend(count, size):
            return True
        if before:
            self.report(
                "LIM001",
                node,
                f"stopped at {self.limits.nodes} nodes or {self.limits.bytes} bytes; "
                "raise with --limit nodes=N,bytes=N",
            )
        return False

    # -- the root ------------------------------------------------------------------------

    def walk_root(self, address: int) -> None:
        """Decode the KHO root at a physical address and all that hangs from it."""
        blob = self.read_fdt(self.tree, address)
        if blob is None or blob.root is None:
            return
        self.walk_root_blob(blob, address)

    def walk_root_blob(self, blob: Blob, address: int) -> None:
        """Decode a KHO root that has been read already."""
        tree = self.tree
        tree.span = Span(address, len(blob.data))
        assert blob.root is not None
        definition = root_definition(blob, self.registry)
        if definition is not None and not blob.complete:
            recover_names(blob, definition)
        compatible = text_property(blob.root, "compatible")
        self.root_blob = blob
        for forced in self.abi:
            candidate = self.registry.definitions.get(forced)
            if candidate is not None and candidate.kind is Kind.ROOT:
                definition = candidate
        if definition is None or definition.fdt is None:
            self.report("ABI901", tree, f"no definition for the root {compatible!r}", address)
            self.raw_fdt(tree, blob.root, address)
            return
        self.use(definition)
        tree.format = definition.id
        self.claim("/", address, len(blob.data))
        # The map comes first: what hangs from the root is judged with it at hand.
        self.fdt_fields(tree, blob.root, definition.fdt, definition, address)
        self.fdt_children(tree, blob.root, definition.fdt, definition, address)

    # -- device trees --------------------------------------------------------------------

    def read_fdt(self, node: Node, address: int) -> Blob | None:
        """Read and parse a device tree; None, with a finding, if there is none."""
        data = self.read_some(address, FDT_HEADER)
        if isinstance(data, Absent):
            self.absent(node, address, data)
            return None
        if bytes(data[:4]) != FDT_MAGIC:
            self.report("FDT101", node, f"no device tree at {address:#x}", address)
            return None
        size = int.from_bytes(data[4:8], "big")
        data = self.read_some(address, min(max(size, FDT_HEADER), MAX_FDT), short=True)
        assert not isinstance(data, Absent)
        if not self.spend(node, 1, len(data)):
            return None
        try:
            blob = parse(data, max_depth=self.limits.depth)
        except FdtError as error:
            self.report("FDT101", node, str(error), address)
            return None
        self.own_tree(node, address, blob)
        return blob

    def own_tree(self, node: Node, address: int, blob: Blob) -> None:
        """Make a parsed device tree a region, and report what was wrong with it."""
        self.regions.append(FdtRegion(node.path, address, blob))
        for problem in blob.problems:
            self.report(
                FDT_RULES.get(problem.code, "FDT103"),
                node,
                f"{problem.code} at +{problem.offset:#x}: {problem.message}",
                address + problem.offset,
            )

    def fdt_fields(
        self, parent: Node, fdt: FdtNode, kind: NodeType, definition: Definition, base: int
    ) -> None:
        """Properties of one node as fields of ``parent``, in the order of the definition."""
        layout = self.layout_of(parent, fdt, definition, base)
        fields = [f for f in kind.properties if not f.layout or f.layout == layout]
        values: dict[str, Any] = {}
        pending: list[tuple[Node, Field]] = []
        named = {prop.name: prop for prop in reversed(fdt.properties) if prop.name}
        for field in fields:
            prop = named.get(field.name)
            if prop is None:
                # A tree that was cut says so once; what is missing behind the cut is no news.
                if not field.optional and (self.root_blob is None or self.root_blob.complete):
                    self.report("KHO201", parent, f"property {field.name!r} is missing", base)
                continue
            node = self.property_node(parent, prop, field, definition, base)
            node.layout = layout
            values[field.label] = node.value
            pending.append((node, field))
        for node, field in pending:
            self.follower.follow_field(node, field, definition, values)
        known = {f.name for f in kind.properties}
        for prop in fdt.properties:
            if prop.name and prop.name not in known:
                self.report("KHO205", parent, f"property {prop.name!r} is not part of the format")
                self.raw_property(parent, prop, base)

    def fdt_children(
        self, parent: Node, fdt: FdtNode, kind: NodeType, definition: Definition, base: int
    ) -> None:
        """Child nodes: named ones, then a list or the entries of a root."""
        found: set[str] = set()
        holder = parent
        if kind.any_node is not None and kind.any_node.alias:
            holder = parent.add(Node(kind.any_node.alias, NodeKind.LIST, format=definition.id))
        for child in fdt.children:
            if not self.spend(parent):
                return
            own = kind.nodes.get(child.name)
            found.add(child.name)
            if own is not None:
                self.fdt_child(parent, child, own, definition, base)
            elif kind.any_node is None:
                self.report("KHO206", parent, f"node {child.name!r} is not part of the format")
                node = parent.add(Node(child.name, NodeKind.FDT_NODE))
                self.raw_fdt(node, child, base)
            elif kind.any_node.kind == Kind.ENTRY:
                self.entries.entry(parent, child, kind.any_node, definition, base)
            else:
                node = holder.add(
                    Node(
                        "",
                        NodeKind.FDT_NODE,
                        key=self.follower.unique_key(holder, latin1_text(child.name)),
                    )
                )
                node.span = Span(base + child.tag_offset, 4)
                node.add(
                    Node(
                        "name",
                        NodeKind.VALUE,
                        value=latin1_text(child.name),
                        span=Span(base + child.tag_offset + 4, len(child.name) + 1),
                    )
                )
                self.fdt_child(node, child, kind.any_node, definition, base, node)
        for name, own in kind.nodes.items():
            if name not in found and not own.optional:
                self.report("KHO201", parent, f"node {name!r} is missing", base)

    def fdt_child(
        self,
        parent: Node,
        fdt: FdtNode,
        kind: NodeType,
        definition: Definition,
        base: int,
        node: Node | None = None,
    ) -> None:
        """One child node, by its own definition where it has a format of its own."""
        if kind.format:
            compatible = text_property(fdt, "compatible") or ""
            own = self.registry.match(Kind.NODE, "compatible", compatible)
            if own is None or own.fdt is None:
                where = node or parent
                self.report("ABI901", where, f"no definition for node {compatible!r}", base)
                self.raw_fdt(node or parent.add(Node(fdt.name, NodeKind.FDT_NODE)), fdt, base)
                return
            self.use(own)
            definition, kind = own, own.fdt
        if node is None:
            inline = kind.inline
            node = parent if inline else parent.add(Node(fdt.name, NodeKind.FDT_NODE))
        if node is not parent or not node.format:
            node.format = definition.id
        self.fdt_fields(node, fdt, kind, definition, base)
        self.fdt_children(node, fdt, kind, definition, base)

    def property_node(
        self, parent: Node, prop: Property, field: Field, definition: Definition, base: int
    ) -> Node:
        """A property as a value node."""
        kind = field.type
        assert kind is not None
        node = parent.add(
            Node(
                field.label,
                NodeKind.VALUE,
                field=field,
                format=definition.id,
                span=Span(base + prop.value_offset, len(prop.value)),
            )
        )
        node.value = self.property_value(node, prop, field, definition, base)
        if prop.recovered:
            node.note = "name recovered from its place in the tree"
        return node

    def property_value(
        self, node: Node, prop: Property, field: Field, definition: Definition, base: int
    ) -> Any:
        """The value of a property as its type says; Absent with a finding if it does not fit."""
        kind = field.type
        assert kind is not None
        raw = prop.value
        if kind.kind == "string":
            return decode_text(raw)
        if kind.kind == "bytes":
            return raw
        if kind.kind in ("struct", "array"):
            compiled = self.registry.compile(definition, kind.struct, self.geometry)
            node.struct = kind.struct
            wrong = len(raw) % compiled.size if kind.kind == "array" else len(raw) - compiled.size
            expected = f"{'a multiple of ' if kind.kind == 'array' else ''}{compiled.size}"
            if not wrong:
                return None
        else:
            expected = str(kind.size)
            if len(raw) == kind.size:
                order = "big" if kind.big else self.geometry.byteorder
                return int.from_bytes(raw, order, signed=kind.signed)
        message = f"{len(raw)} bytes, expected {expected}"
        self.report("KHO202", node, f"{field.name}: {message}", base + prop.value_offset)
        return Absent(Reason.UNPARSABLE, message)

    def raw_property(self, parent: Node, prop: Property, base: int) -> None:
        """A property no definition names: its bytes."""
        parent.add(
            Node(
                prop.name or "?",
                NodeKind.RAW,
                value=prop.value,
                span=Span(base + prop.value_offset, len(prop.value)),
            )
        )

    def raw_fdt(self, parent: Node, fdt: FdtNode, base: int) -> None:
        """A tree that no definition explains, as it stands."""
        stack = [(parent, fdt)]
        while stack:
            node, source = stack.pop()
            if not self.spend(node, 1 + len(source.items)):
                return
            for prop in source.properties:
                self.raw_property(node, prop, base)
            for child in source.children:
                stack.append((node.add(Node(child.name, NodeKind.FDT_NODE)), child))

    # -- records -------------------------------------------------------------------------

    def record(
        self,
        node: Node,
        compiled: CompiledStruct,
        data: bytes | memoryview,
        address: int,
        definition: Definition,
        values: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Fields of a record as children of ``node``; follows its pointers."""
        if values is None:
            values = decode_record(compiled, data)
        self.regions.append(RecordRegion(node.path, definition.id, compiled, address, values))
        return self.record_fields(node, compiled, values, address, definition)

    def record_fields(
        self,
        node: Node,
        compiled: CompiledStruct,
        values: dict[str, Any],
        address: int,
        definition: Definition,
    ) -> dict[str, Any]:
        """The fields of a record that is already part of a region."""
        if not node.format or node.kind is NodeKind.ENTRY:
            node.format = definition.id
        node.struct = compiled.struct.name
        if not self.spend(node, len(compiled.fields)):
            return values
        pending: list[tuple[Node, Field]] = []
        for placed in compiled.fields:
            span = Span(address + placed.offset, placed.size)
            for field in placed.field.parts or (placed.field,):
                child = node.add(
                    Node(field.label, NodeKind.VALUE, field=field, format=definition.id, span=span)
                )
                value = values[field.label]
                if placed.nested is not None:
                    self.record_fields(child, placed.nested, value, span.address, definition)
                else:
                    child.value = value
                pending.append((child, field))
        for child, field in pending:
            self.follower.follow_field(child, field, definition, values)
        return values

    def layout_of(self, node: Node, fdt: FdtNode, definition: Definition, base: int) -> str:
        """The layout of a definition that has several; chosen once and recorded."""
        if not definition.layouts:
            return ""
        choice = self.choices.get(definition.id)
        if choice is None:
            choice = choose_layout(self, definition, fdt, base)
            self.choices[definition.id] = choice
            if not choice.certain:
                self.report(
                    "ABI903", node, f"{definition.id} read as {choice.layout}: {choice.why}"
                )
        return choice.layout

    # -- reading -------------------------------------------------------------------------

    def read_some(self, address: int, length: int, *, short: bool = False) -> memoryview | Absent:
        """Bytes at a physical address; with ``short``, as many of them as are there."""
        try:
            return self.space.read(address, length)
        except MemoryFault as fault:
            if short and fault.address > address:
                try:
                    return self.space.read(address, fault.address - address)
                except MemoryFault as again:
                    fault = again
            return Absent(fault.reason, fault.detail or f"nothing at {fault.address:#x}")

    def absent(self, node: Node, address: int, absent: Absent) -> None:
        """Say that a pointer leads to memory that is not there."""
        if self.space.info.container not in ("debugfs", "fdt"):
            self.report("MEM301", node, f"{address:#x}: {absent.detail}", address)
