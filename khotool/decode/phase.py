"""When an image was taken, and what a booted kernel has already used up of it."""

from __future__ import annotations

from khotool.absent import Absent, Reason
from khotool.maps.preserved import PreservedMap
from khotool.model.image import Image, NodeKind, Phase, Role
from khotool.model.region import MapRegion

FIRST = "kho-v1"
"""String of the roots that are written when user space says so."""
PHASE_NOTE = "KHOTOOL_PHASE"
"""Line of VMCOREINFO by which a packed image says that it was taken of a running kernel."""
WRITTEN_AT_ONCE = ("bitmap-chunks", "ranges")
"""Forms of the map that come into being when the handover is finalized."""


def settle_phase(image: Image) -> Image:
    """Set the phase; replace what the next kernel has reused by absent values."""
    root = image.root
    if root is None:
        return image
    whole = map_is_whole(image)
    if root.role is Role.INCOMING or (not whole and map_is_garbage(image)):
        if whole:
            image.phase, image.phase_why = Phase.INCOMING, "boot data names it; its map is whole"
        else:
            consume(image)
            if root.role is Role.STALE:
                root.role, root.why = Role.INCOMING, "its map is reused, as after a boot"
    elif image.info.vmcoreinfo.get(PHASE_NOTE) == Phase.LIVE:
        image.phase, image.phase_why = Phase.LIVE, "it was packed while the kernel was running"
    elif map_may_wait(image):
        image.phase, image.phase_why = Phase.LIVE, "the map is not written yet"
    elif has_empty_luo(image) and any(r.role is Role.INCOMING for r in image.roots):
        image.phase, image.phase_why = Phase.LIVE, "no sessions are serialised"
    elif first_merged(image) and not any(r.role is Role.COPY for r in image.roots):
        image.phase = Phase.FINALIZED
        image.phase_why = "the map is written; no copy of the root shows that kexec was next"
    else:
        image.phase, image.phase_why = Phase.FROZEN, "the map is written; no boot data names it"
    return image


def map_is_whole(image: Image) -> bool:
    """True if the map decodes and preserves the root and every entry's blob."""
    if not isinstance(image.map, PreservedMap) or not image.map.complete:
        return False
    if root_is_segment(image):
        return True
    places = [image.tree.span.address] if image.tree.span else []
    places += [node.target.address for node in image.entries if node.target is not None]
    return all(image.map.blocks.block_of(address) is not None for address in places)


def root_is_segment(image: Image) -> bool:
    """True for a root that kexec carries over, so that no map has to preserve it."""
    definition = image.registry.definitions.get(image.tree.format)
    return definition is not None and definition.segment


def map_is_garbage(image: Image) -> bool:
    """True if what the map's pages hold now is no map: reused memory, not a damaged one."""
    if not isinstance(image.map, PreservedMap) or image.tree.span is None:
        return False
    if image.map.blocks.block_of(image.tree.span.address) is not None:
        return False
    if "limit" in image.map.problem_counts:
        # What was not read for lack of budget says nothing about the memory.
        return False
    if pointer_is_wrong(image) or only_loops(image.map):
        return False
    problems = sum(image.map.problem_counts.values()) or len(image.map.problems)
    return problems > max(8, len(image.map.pages)) or not len(image.map.blocks)


def only_loops(found: PreservedMap) -> bool:
    """True if nothing is wrong with a map but that its tables lead back to each other.

    Memory in use again does not hold addresses of the map's own pages, and of nothing else.
    """
    return bool(found.problem_counts) and set(found.problem_counts) <= {"shared-node"}


def pointer_is_wrong(image: Image) -> bool:
    """True if the map is said to be where no map ever was: inside a page, or in another record."""
    address = image.tree.value_of("memory_map")
    page = image.geometry.page_size
    if not isinstance(address, int) or address % page:
        return True
    return any(
        not isinstance(region, MapRegion) and address <= start < address + page
        for region in image.regions
        for start, _ in region.extents()
    )


def map_may_wait(image: Image) -> bool:
    """True if the map is 0 in a format that fills it in later."""
    node = image.tree.get("memory_map")
    return (
        node is not None
        and node.value == 0
        and node.field is not None
        and (node.field.null == "allowed")
    )


def has_empty_luo(image: Image) -> bool:
    """True if there is LUO state without a single session."""
    luo = image.entry("LUO")
    sessions = luo.get("sessions") if luo is not None else None
    return luo is not None and (sessions is None or not sessions.elements())


def first_merged(image: Image) -> bool:
    """True for a handover that user space finalizes before kexec and that has no sessions.

    A tree of pages grows as memory is preserved; it is never finalized.
    """
    if isinstance(image.map, PreservedMap) and image.map.layout not in WRITTEN_AT_ONCE:
        return False
    definition = image.registry.definitions.get(image.tree.format)
    strings = definition.match.get("compatible", ()) if definition is not None else ()
    return FIRST in strings and image.entry("LUO") is None


def consume(image: Image) -> None:
    """Mark what the booted kernel has reused: the map, and whatever no longer decodes."""
    image.phase = Phase.CONSUMED
    image.phase_why = "this kernel booted from the handover and has reused the map's pages"
    gone = Absent(Reason.CONSUMED, "reused by the kernel that booted from it")
    image.map = gone
    lost = ["/memory_map"]
    broken = {f.path for f in image.findings if not f.rule.startswith(("ABI", "LIM"))}
    for entry in image.entries:
        if entry.note == "unknown format" or (entry.target is None and entry.value is not None):
            entry.children = [child for child in entry.children if child.field is not None]
            entry.value, entry.note = gone, ""
            lost.append(entry.path)
            continue
        for node in list(entry.walk()):
            if node.path in broken and node is not entry:
                node.children, node.table, node.target, node.note = [], None, None, ""
                node.kind = NodeKind.VALUE
                node.value = gone
                lost.append(node.path)
    image.regions = [r for r in image.regions if not _below(r.path, lost)]
    image.findings = [
        f for f in image.findings if f.rule.startswith("LIM") or not _below(f.path, lost)
    ]


def _below(path: str, tops: list[str]) -> bool:
    return any(path == top or path.startswith((f"{top}/", f"{top}[")) for top in tops)
