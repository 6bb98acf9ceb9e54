"""The image model: a decoded handover, from the source it was read from to what was found."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from khotool import records
from khotool.abi.definition import Definition
from khotool.abi.geometry import Geometry
from khotool.absent import Absent, Reason
from khotool.findings import Finding
from khotool.model.node import UNPLACED, Node, NodeKind, NodeState, Span, Table, entries_of
from khotool.records import dataclass

if TYPE_CHECKING:
    from khotool.abi.registry import Registry
    from khotool.fdt.blob import Blob
    from khotool.maps.preserved import PreservedMap
    from khotool.memory.space import AddressSpace, SourceInfo
    from khotool.model.region import Region
    from khotool.pages.blocks import Blocks
    from khotool.pages.claims import ClaimsBuilder
    from khotool.pages.owners import Ownership

__all__ = [
    "UNPLACED",
    "Choice",
    "Image",
    "Node",
    "NodeKind",
    "NodeState",
    "Phase",
    "Role",
    "Root",
    "Scratch",
    "Span",
    "Table",
]


class Phase(StrEnum):
    """When the image was taken, as far as it shows."""

    LIVE = "live"
    FINALIZED = "finalized"
    FROZEN = "frozen"
    INCOMING = "incoming"
    CONSUMED = "consumed"
    UNKNOWN = "unknown"


class Role(StrEnum):
    """What a KHO root found in memory is to the kernel that the memory belongs to."""

    OUTGOING = "outgoing"
    INCOMING = "incoming"
    COPY = "copy"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Root:
    """A KHO root found in the image.

    Args:
        address: physical address; None for a blob whose place is not captured.
        compatible: as stored.
        role: see Role.
        why: one sentence: how it was found, and why it has this role.
        selected: the model is built from this one.
        name: its place in a debugfs copy.
    """

    address: int | None
    compatible: str
    role: Role
    why: str
    selected: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen among several under one string.

    Args:
        definition: id of the definition, or the string that several definitions have.
        layout: what was chosen: a layout of the definition, or the id of one of the definitions.
        certain: nothing else fits as well.
        among: ``layout`` or ``format``.
    """

    definition: str
    layout: str
    why: str
    certain: bool
    among: str = "layout"


@dataclass(frozen=True, slots=True)
class Scratch:
    """Scratch areas: physical address and bytes of each, and how they were found."""

    areas: list[Span]
    why: str
    address: int | None = None


@dataclass(frozen=True, eq=False)
class Image:
    """A decoded handover; it does not change once it is made.

    Args:
        space: the captured memory.
        tree: root node of the model; its children are the fields and entries of the KHO root.
        map: preserved pages, or why they are absent.
        regions: every piece of metadata with its bytes' meaning; see ``region``.
        claims: which memory each owner holds.
        used: definitions that decoded something, in order of first use.
        anchors: bytes outside the handover that say where it is: boot data, scratch arrays,
            other roots.
    """

    info: SourceInfo
    space: AddressSpace
    registry: Registry
    geometry: Geometry
    tree: Node
    roots: list[Root]
    map: PreservedMap | Absent
    scratch: Scratch | Absent
    phase: Phase
    claims: ClaimsBuilder
    regions: list[Region] = records.field(default_factory=list)
    used: list[Definition] = records.field(default_factory=list)
    choices: list[Choice] = records.field(default_factory=list)
    findings: list[Finding] = records.field(default_factory=list)
    phase_why: str = ""
    anchors: list[Span] = records.field(default_factory=list)

    @property
    def root(self) -> Root | None:
        """The root the model is built from."""
        return next((root for root in self.roots if root.selected), None)

    @property
    def entries(self) -> list[Node]:
        """Entries of the KHO root, in stored order."""
        return entries_of(self.tree)

    def entry(self, name: str) -> Node | None:
        """The entry of this name."""
        return next((node for node in self.entries if node.name == name), None)

    def blob_of(self, path: str) -> Blob | None:
        """The device tree that the node at a path leads to, ``/`` for that of the root."""
        from khotool.model.region import FdtRegion

        trees = (one for one in self.regions if isinstance(one, FdtRegion))
        return next((tree.blob for tree in trees if tree.path == path), None)

    def ownership(self) -> Ownership | None:
        """Who owns every preserved page; None where the map is absent. Computed once."""
        return self._ownership

    def owners_of(self, address: int) -> list[str]:
        """Paths of the owners of the page at a physical address; none where the map is absent.

        Looks at the one page: it costs one pass over the claims, unless all owners are known.
        """
        if isinstance(self.map, Absent) or not 0 <= address < 1 << 64:
            return []
        known = self.__dict__.get("_ownership")
        if known is not None:
            return [known.owners[index] for index in known.owners_of(address)]
        shift = self.map.blocks.page_shift
        start, order = self.map.blocks.block_of(address) or (address, 0)
        claims = self.claims.build()
        first = start >> shift
        return [
            claims.owners[index] for index in claims.owners_of(first, first + (1 << order), shift)
        ]

    @cached_property
    def _ownership(self) -> Ownership | None:
        if isinstance(self.map, Absent):
            return None
        from khotool.pages.owners import find_owners

        return find_owners(self.map.blocks, self.claims.build())

    @cached_property
    def unclaimed(self) -> Blocks | Absent:
        """Blocks that were handed over and that the running kernel has not claimed yet.

        That kernel marks them in its ``struct page``. Read once, on first use.
        """
        if self.phase is not Phase.CONSUMED:
            return Absent(Reason.NOT_CAPTURED, "no kernel has used up this handover")
        from khotool.maps.marks import unclaimed_blocks

        return unclaimed_blocks(self.space, self.registry, self.geometry)

    @cached_property
    def unclaimed_ownership(self) -> Ownership | None:
        """Who owns every unclaimed page, as far as claims are readable; None for no marks."""
        if isinstance(self.unclaimed, Absent):
            return None
        from khotool.pages.owners import find_owners

        return find_owners(self.unclaimed, self.claims.build())
