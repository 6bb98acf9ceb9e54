"""Roles of the roots found in memory, and which of them the model is built from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from khotool.discovery.bootdata import BootPointer
from khotool.discovery.root_tree import RootTree
from khotool.discovery.scan import Candidate, Scan
from khotool.model.image import Role, Root
from khotool.records import dataclass, replace

MAX_ROOTS = 16
"""Roots that are read to learn their role; an image holds a handful at most."""


@dataclass(frozen=True, slots=True)
class RootCandidate:
    """A root found in memory, and its role.

    Args:
        tree: its device tree and its map.
        compatible: as stored.
        why: the reason for its role, in one sentence.
        pointer: boot data that names it.
    """

    tree: RootTree
    compatible: str
    role: Role
    why: str
    pointer: BootPointer | None = None

    @property
    def address(self) -> int:
        """Physical address of the device tree, in bytes."""
        return self.tree.address

    def root(self, *, selected: bool) -> Root:
        """The root as the model shows it."""
        return Root(self.address, self.compatible, self.role, self.why, selected)


@dataclass(frozen=True, slots=True, order=True)
class Weight:
    """What a root leads to: number of sessions, then of pieces of metadata."""

    sessions: int
    regions: int


def candidates(scan: Scan, read: Callable[[Candidate], RootTree]) -> tuple[RootCandidate, ...]:
    """Give every root that was found a role.

    A boot pointer makes a root the incoming one. Of the others, the outgoing root is the one
    that its own map preserves; equal bytes elsewhere are copies that kexec made, the rest is
    stale.
    """
    pointers = {pointer.fdt: pointer for pointer in scan.pointers}
    found = []
    for candidate in scan.roots[:MAX_ROOTS]:
        tree = read(candidate)
        pointer = pointers.get(candidate.address)
        role, why = _role(tree, pointer)
        found.append(RootCandidate(tree, candidate.compatible, role, why, pointer))
    return tuple(_as_copy(item, found) for item in found)


def _role(tree: RootTree, pointer: BootPointer | None) -> tuple[Role, str]:
    if pointer is not None:
        return Role.INCOMING, pointer.why
    if tree.covers_itself:
        return Role.OUTGOING, "its own map preserves it"
    if tree.is_segment:
        return Role.OUTGOING, "a kexec segment, which no map preserves"
    if tree.awaits_map:
        return Role.OUTGOING, "its map is not written yet"
    return Role.STALE, "its map no longer covers it, and nothing points to it"


def _as_copy(item: RootCandidate, others: Sequence[RootCandidate]) -> RootCandidate:
    """A stale root with the bytes of one that is not is a copy of it."""
    if item.role is not Role.STALE:
        return item
    same = [
        other
        for other in others
        if other.role is not Role.STALE
        and bytes(item.tree.blob.data) == bytes(other.tree.blob.data)
    ]
    if not same:
        return item
    return replace(item, role=Role.COPY, why=f"same bytes as the root at {same[0].address:#x}")


def select(
    found: Sequence[RootCandidate], weigh: Callable[[RootCandidate], Weight]
) -> RootCandidate:
    """The root to decode of one or more: that of the handover that is under way.

    The memory of a kernel that booted from a handover has both an incoming and an outgoing root.
    The outgoing one is taken once it has sessions: then the kernel was about to hand over.

    Args:
        weigh: what a root leads to; called only where that decides.
    """
    by_role: dict[Role, list[RootCandidate]] = {}
    for item in found:
        by_role.setdefault(item.role, []).append(item)
    incoming, outgoing = by_role.get(Role.INCOMING, []), by_role.get(Role.OUTGOING, [])
    if len(outgoing) > 1:
        heaviest = {id(item): weigh(item) for item in outgoing}
        outgoing.sort(key=lambda item: item.address)
        outgoing.sort(key=lambda item: heaviest[id(item)], reverse=True)
    if incoming and outgoing and weigh(outgoing[0]).sessions:
        why = "; its sessions are serialised, so this kernel was handing over"
        return replace(outgoing[0], why=outgoing[0].why + why)
    ranked = [*incoming, *outgoing, *by_role.get(Role.STALE, []), *by_role.get(Role.COPY, [])]
    return ranked[0]
