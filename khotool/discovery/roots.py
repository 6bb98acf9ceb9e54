"""Roles of the roots found in memory, and which of them the model is built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from khotool.absent import Absent
from khotool.decode.walk import Walker
from khotool.discovery.bootdata import BootPointer
from khotool.discovery.scan import Candidate, Scan
from khotool.model.image import Role, Root

WalkRoot = Callable[[Candidate], Walker]

MAX_WALKS = 16
"""Roots that are walked to learn their role; an image holds a handful at most."""


@dataclass(slots=True)
class Judged:
    """A candidate with its walk and its role."""

    candidate: Candidate
    root: Root
    walker: Walker
    pointer: BootPointer | None = None


def judge(scan: Scan, walk: WalkRoot) -> list[Judged]:
    """Give every candidate a role.

    A boot pointer makes a root the incoming one. Of the others, the outgoing root is the one
    that its own map preserves; equal bytes elsewhere are copies that kexec made, the rest is
    stale.
    """
    judged: list[Judged] = []
    pointers = {pointer.fdt: pointer for pointer in scan.pointers}
    for candidate in scan.roots[:MAX_WALKS]:
        walker = walk(candidate)
        root = Root(candidate.address, candidate.compatible, Role.STALE, "")
        pointer = pointers.get(candidate.address)
        own = covers_itself(walker, candidate.address)
        if pointer is not None:
            root.role, root.why = Role.INCOMING, pointer.why
        elif own:
            root.role, root.why = Role.OUTGOING, "its own map preserves it"
        elif is_segment(walker):
            root.role, root.why = Role.OUTGOING, "a kexec segment, which no map preserves"
        elif not walker.tree.value_of("memory_map") and walker.tree.format:
            root.role, root.why = Role.OUTGOING, "its map is not written yet"
        else:
            root.why = "its map no longer covers it, and nothing points to it"
        judged.append(Judged(candidate, root, walker, pointer))
    _mark_copies(judged)
    return judged


def covers_itself(walker: Walker, address: int) -> bool:
    """True if the root's own page is preserved by its map."""
    if isinstance(walker.map, Absent):
        return False
    return walker.map.blocks.block_of(address) is not None


def is_segment(walker: Walker) -> bool:
    """True if kexec carries the root over, so that its map does not have to."""
    definition = walker.registry.definitions.get(walker.tree.format)
    return definition is not None and definition.segment


def _mark_copies(judged: list[Judged]) -> None:
    for item in judged:
        for other in judged:
            if (
                item is not other
                and item.root.role is Role.STALE
                and other.root.role is not Role.STALE
                and bytes(item.candidate.blob.data) == bytes(other.candidate.blob.data)
            ):
                item.root.role = Role.COPY
                item.root.why = f"same bytes as the root at {other.candidate.address:#x}"


def select(judged: list[Judged]) -> Judged:
    """The root of one or more that a reader means: the handover that is under way.

    In the memory of a kernel that came up through KHO, both an incoming and an outgoing root
    stand. The outgoing one is meant once it carries sessions: then the kernel was stopped on
    its way to the next one.
    """
    by_role: dict[Role, list[Judged]] = {}
    for item in judged:
        by_role.setdefault(item.root.role, []).append(item)
    incoming = by_role.get(Role.INCOMING, [])
    outgoing = sorted(
        by_role.get(Role.OUTGOING, []), key=lambda item: (-weight(item), item.candidate.address)
    )
    if incoming and outgoing and session_count(outgoing[0].walker):
        outgoing[0].root.why += "; its sessions are serialised, so this kernel was handing over"
        return outgoing[0]
    return [*incoming, *outgoing, *by_role.get(Role.STALE, []), *by_role.get(Role.COPY, [])][0]


def weight(item: Judged) -> int:
    """How much hangs from a root."""
    return len(item.walker.regions) + 1000 * session_count(item.walker)


def session_count(walker: Walker) -> int:
    """Sessions that a walk found."""
    luo = walker.tree.get("LUO")
    sessions = luo.get("sessions") if luo is not None else None
    return len(sessions.elements()) if sessions is not None else 0
