"""Apply definitions from pointer to pointer until the whole handover is one model.

The walk is driven by definitions alone: no format, field or offset is named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, Kind
from khotool.abi.geometry import Geometry
from khotool.abi.record import decode_record
from khotool.abi.registry import Registry
from khotool.absent import Absent, Reason
from khotool.decode.choose import Evidence, choose, note_whole
from khotool.decode.entries import FDT_HEADER, FDT_MAGIC, EntryReader
from khotool.decode.follow import Follower
from khotool.decode.problems import FDT_RULES, told
from khotool.decode.ranges import RANGE, ranges_map
from khotool.decode.recover import recover_names, root_definition
from khotool.decode.references import resolve_references
from khotool.decode.trees import TreeReader
from khotool.fdt.blob import Blob, FdtError
from khotool.fdt.parse import parse
from khotool.findings import Finding
from khotool.limits import Budget, Limits
from khotool.maps.preserved import PreservedMap
from khotool.memory.space import AddressSpace, MemoryFault
from khotool.model.image import UNPLACED, Choice, Node, NodeKind, Span
from khotool.model.names import text_property
from khotool.model.region import FdtRegion, RecordRegion, Region
from khotool.pages.claims import ClaimsBuilder, Column

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
        extents = space.extents()
        self.limits = (limits or Limits()).within(int((extents[:, 1] - extents[:, 0]).sum()))
        self.budget = Budget(self.limits)
        self.abi = dict(abi or {})
        self.writer = writer
        self.tree = Node("", NodeKind.IMAGE)
        self.claims = ClaimsBuilder()
        self.root_blob: Blob | None = None
        self.regions: list[Region] = []
        self.findings: list[Finding] = []
        self.used: dict[str, Definition] = {}
        self.choices: dict[tuple[str, str], Choice] = {}
        self.nameless: set[str] = set()
        self.unresolved: list[Node] = []
        self.map: PreservedMap | Absent = Absent(Reason.UNPARSABLE, "no preserved-page map")
        self.trees = TreeReader(self)
        self.entries = EntryReader(self)
        self.follower = Follower(self)

    # -- results of the walk -------------------------------------------------------------

    def complaints(self) -> list[Finding]:
        """Findings, but for those on nodes without a name where a format has such nodes."""
        if not self.nameless:
            return self.findings
        return [
            finding
            for finding in self.findings
            if finding.message.partition(":")[0] not in self.nameless
        ]

    def report(self, rule: str, node: Node, message: str, address: int | None = None) -> None:
        """Record a finding at a node."""
        if address is not None and address >= UNPLACED:
            address = None
        self.findings.append(Finding(rule, node.path, message, address))

    def use(self, definition: Definition) -> None:
        """Note that a definition decoded something."""
        self.used.setdefault(definition.id, definition)

    def claim(self, path: str, address: int, size: int, *, expected_outside: bool = False) -> None:
        """Claim ``size`` bytes at a physical address for the owner ``path``."""
        if size > 0 and address < UNPLACED:
            owner = self.claims.owner(path, expected_outside)
            self.claims.add(owner, address, address + size)

    def claim_many(
        self, path: str, starts: Any, size: Any, *, expected_outside: bool = False
    ) -> None:
        """Claim many pieces: physical addresses uint64 (n,), bytes of each."""
        import numpy as np

        owner = self.claims.owner(path, expected_outside)
        ends = starts + np.asarray(size, np.uint64)
        self.claims.add_many(owner, starts, np.maximum(ends, starts))

    def claim_column(self, path: str, column: Column) -> None:
        """Claim the pages that a column of records names."""
        self.claims.add_column(self.claims.owner(path), column)

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
        self.root_blob = blob
        definition = self.root_format(blob, address)
        if definition is None or definition.fdt is None:
            compatible = text_property(blob.root, "compatible")
            self.report("ABI901", tree, f"no definition for the root {compatible!r}", address)
            self.trees.raw(tree, blob.root, address)
            return
        self.use(definition)
        note_whole(self, tree, text_property(blob.root, "compatible") or "", definition)
        tree.format = definition.id
        self.claim("/", address, len(blob.data), expected_outside=definition.segment)
        if definition.ranges:
            compiled = self.registry.compile(definition, RANGE, self.geometry)
            self.map = ranges_map(blob.root, definition.ranges, compiled)
        # The map comes first: what hangs from the root is judged with it at hand.
        self.trees.read(tree, blob.root, definition.fdt, definition, address)
        resolve_references(self)

    def root_format(self, blob: Blob, address: int) -> Definition | None:
        """The definition of a root: by its string, by what tells it from others, or as forced."""
        assert blob.root is not None
        definition = root_definition(blob, self.registry)
        if definition is not None and not blob.complete:
            recover_names(blob, definition)
        if definition is not None:
            string = definition.match["compatible"][0]
            candidates = self.registry.candidates(Kind.ROOT, "compatible", string)
            evidence = Evidence(tree=blob.root, handle=address)
            definition = choose(self, self.tree, string, candidates, evidence)
        for forced, wanted in self.abi.items():
            definitions = self.registry.definitions
            candidate = definitions.get(wanted or "") or definitions.get(forced)
            if candidate is not None and candidate.kind is Kind.ROOT:
                definition = candidate
        return definition

    # -- device trees --------------------------------------------------------------------

    def read_fdt(self, node: Node, address: int, root_name: str = "") -> Blob | None:
        """Read and parse a device tree; None, with a finding, if there is none.

        Args:
            root_name: what its root node is called.
        """
        data = self.read_some(address, FDT_HEADER)
        if isinstance(data, Absent):
            self.absent(node, address, data)
            return None
        if bytes(data[:4]) != FDT_MAGIC:
            self.report("FDT101", node, f"no device tree at {address:#x}", address)
            return None
        size = int.from_bytes(data[4:8], "big")
        data = self.read_some(address, min(max(size, FDT_HEADER), MAX_FDT), short=True)
        if isinstance(data, Absent):
            # What was there for the header is gone, as memory of a running host may be.
            self.absent(node, address, data)
            return None
        if not self.spend(node, 1, len(data)):
            return None
        try:
            blob = parse(data, max_tokens=self.limits.nodes, max_depth=self.limits.depth)
        except FdtError as error:
            self.report("FDT101", node, str(error), address)
            return None
        self.own_tree(node, address, blob, root_name)
        return blob

    def own_tree(self, node: Node, address: int, blob: Blob, root_name: str = "") -> None:
        """Make a parsed device tree a region, and report what was wrong with it."""
        self.regions.append(FdtRegion(node.path, address, blob))
        named = blob.root is not None and root_name and blob.root.name == root_name
        for problem in blob.problems:
            if named and problem.code == "named-root":
                continue
            self.report(
                FDT_RULES.get(problem.code, "FDT103"),
                node,
                told(problem.code, f"{problem.code} at +{problem.offset:#x}: {problem.message}"),
                address + problem.offset,
            )

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
                if placed.nested is not None and placed.many:
                    used = used_elements(compiled, field, values)
                    self.nested_array(child, placed.nested, value[:used], span.address, definition)
                elif placed.nested is not None:
                    self.record_fields(child, placed.nested, value, span.address, definition)
                else:
                    child.value = value
                pending.append((child, field))
        for child, field in pending:
            self.follower.follow_field(child, field, definition, values)
        return values

    def nested_array(
        self,
        node: Node,
        nested: CompiledStruct,
        rows: list[dict[str, Any]],
        address: int,
        definition: Definition,
    ) -> None:
        """A fixed array of structs inside a record: elements of a list, by index."""
        node.kind = NodeKind.LIST
        for index, values in enumerate(rows):
            start = address + index * nested.size
            element = Node("", NodeKind.RECORD, key=str(index), span=Span(start, nested.size))
            self.record_fields(node.add(element), nested, values, start, definition)

    # -- reading -------------------------------------------------------------------------

    def read_some(self, address: int, length: int, *, short: bool = False) -> memoryview | Absent:
        """Bytes at a physical address; with ``short``, as many of them as are there."""
        while True:
            try:
                return self.space.read(address, length)
            except MemoryFault as fault:
                # The first byte that is named need not be the first that is missing: a page in
                # front of a gap may be unreadable.
                if not short or not address < fault.address < address + length:
                    return Absent(fault.reason, fault.detail or f"nothing at {fault.address:#x}")
                length = fault.address - address

    def absent(self, node: Node, address: int, absent: Absent) -> None:
        """Say that a pointer leads to memory that is not there."""
        if self.space.info.container not in ("debugfs", "fdt"):
            self.report("MEM301", node, f"{address:#x}: {absent.detail}", address)


def used_elements(compiled: CompiledStruct, field: Field, values: dict[str, Any]) -> int | None:
    """How many elements of a fixed array its counter says are used; None without a counter."""
    for placed in compiled.fields:
        if placed.field.counts == field.label:
            return max(0, int(values[placed.field.label]))
    return None
