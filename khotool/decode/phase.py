"""When an image was taken, and what of it a booted kernel has reused since."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from khotool.absent import Absent, Reason
from khotool.codec.recorder import Recorder
from khotool.decode.decoded import Decoded, Phased, decoded_of, resumed
from khotool.decode.salvage import salvage
from khotool.maps.preserved import PreservedMap
from khotool.model.image import Image, Phase, Role
from khotool.model.node import Node, NodeKind, NodeState, entries_of
from khotool.model.region import MapRegion
from khotool.records import dataclass

FIRST = "kho-v1"
"""Compatible string of roots that are written when user space finalizes the handover."""
PHASE_NOTE = "KHOTOOL_PHASE"
"""Line of VMCOREINFO that keeps the phase in a copy without the memory that shows it."""
WRITTEN_AT_ONCE = ("bitmap-chunks", "ranges")
"""Forms of the map that come into being when the handover is finalized."""
MOST_DAMAGE = 2
"""Problems that a map may have and still count as damaged, not as reused memory."""
MAP = "memory_map"
"""Label of the value that says where the map is."""
GONE = Absent(Reason.CONSUMED, "reused by the kernel that booted from it")


@dataclass(frozen=True, slots=True)
class Inference:
    """A phase, and why it is that one."""

    phase: Phase
    why: str


BOOTED = Inference(
    Phase.CONSUMED, "this kernel booted from the handover and has reused the map's pages"
)
MISPLACED = Inference(
    Phase.UNKNOWN,
    "neither the map nor any entry is where the root says; --base may be wrong, or a kernel "
    "booted from the handover and has reused their pages",
)


def infer_phase(decoded: Decoded, role: Role, roles: Sequence[Role]) -> Inference:
    """When an image was taken.

    Args:
        role: of the root that was decoded.
        roles: of all roots in the image.
    """
    return _of_booted_kernel(decoded, role) or _of_next_kernel(decoded, roles)


def _of_booted_kernel(decoded: Decoded, role: Role) -> Inference | None:
    """The phase of a handover that a kernel may have booted from; None if none has."""
    if map_is_whole(decoded):
        if role is Role.INCOMING:
            return Inference(Phase.INCOMING, "boot data names it; its map is whole")
        return None
    if role is Role.INCOMING:
        if map_is_hurt(decoded):
            return Inference(Phase.INCOMING, "boot data names it; its map is damaged in one place")
        return BOOTED
    if role is Role.STALE and may_be_misplaced(decoded):
        return MISPLACED
    noted = decoded.scene.space.info.vmcoreinfo.get(PHASE_NOTE)
    return BOOTED if noted == Phase.CONSUMED or map_is_garbage(decoded) else None


def _of_next_kernel(decoded: Decoded, roles: Sequence[Role]) -> Inference:
    """The phase of a handover that no kernel has booted from yet."""
    if decoded.scene.space.info.vmcoreinfo.get(PHASE_NOTE) == Phase.LIVE:
        return Inference(Phase.LIVE, "it was packed while the kernel was running")
    if map_may_wait(decoded):
        return Inference(Phase.LIVE, "the map is not written yet")
    empty = decoded.entry("LUO") is not None and not decoded.sessions()
    if empty and Role.INCOMING in roles:
        return Inference(Phase.LIVE, "no sessions are serialised")
    if first_merged(decoded) and Role.COPY not in roles:
        why = "the map is written; no copy of the root shows that kexec was next"
        return Inference(Phase.FINALIZED, why)
    return Inference(Phase.FROZEN, "the map is written; no boot data names it")


def phased(decoded: Decoded, inference: Inference, *, search: bool) -> Phased:
    """The handover in its phase; what a booted kernel has reused gives way to absent values.

    Args:
        search: look at every page of memory for lists whose head is gone.
    """
    if inference.phase is not Phase.CONSUMED:
        return Phased(decoded, inference.phase, inference.why, decoded.scene.map)
    consumed = consume(decoded, search=search)
    return Phased(consumed, inference.phase, inference.why, GONE, booted=True)


def phase_lines(image: Image) -> dict[str, str]:
    """Lines of VMCOREINFO that a copy without the map of a booted kernel needs."""
    return {PHASE_NOTE: image.phase.value} if image.phase is Phase.CONSUMED else {}


# -- what the map shows ----------------------------------------------------------------------


def map_is_whole(decoded: Decoded) -> bool:
    """True if the map decodes and preserves the root and every entry's blob."""
    found = decoded.scene.map
    if not isinstance(found, PreservedMap) or not found.complete:
        return False
    if root_is_segment(decoded):
        return True
    places = [decoded.tree.span.address] if decoded.tree.span else []
    places += [node.target.address for node in decoded.entries if node.target is not None]
    return all(found.blocks.block_of(address) is not None for address in places)


def root_is_segment(decoded: Decoded) -> bool:
    """True for a root that kexec carries over, so that no map has to preserve it."""
    definition = decoded.scene.registry.definitions.get(decoded.tree.format)
    return definition is not None and definition.segment


def map_is_hurt(decoded: Decoded) -> bool:
    """True for a map that is damaged, but whose memory was not reused: nearly all of it decodes."""
    found = decoded.scene.map
    if not isinstance(found, PreservedMap) or not len(found.blocks):
        return leads_into_records(decoded)
    few = sum(found.problem_counts.values()) <= MOST_DAMAGE
    return few or leads_into_records(decoded)


def map_is_garbage(decoded: Decoded) -> bool:
    """True if what the map's pages hold now is not a map: reused memory, not a damaged one."""
    found = decoded.scene.map
    if not isinstance(found, PreservedMap) or decoded.tree.span is None:
        return False
    if found.blocks.block_of(decoded.tree.span.address) is not None:
        return False
    if "limit" in found.problem_counts:
        # What was not read for lack of budget says nothing about the memory.
        return False
    if pointer_is_wrong(decoded) or only_loops(found):
        return False
    problems = sum(found.problem_counts.values()) or len(found.problems)
    return problems > max(8, len(found.pages)) or not len(found.blocks)


def leads_into_records(decoded: Decoded) -> bool:
    """True if the map is read from a record of the handover, or from the middle of a page.

    Memory that is in use again does not change where the root says that the map is. Below that a
    map only counts if it preserves the root: pages that hold anything may name a record as well.
    """
    if isinstance(decoded.tree.value_of(MAP), int) and pointer_is_wrong(decoded):
        return True
    found, span = decoded.scene.map, decoded.tree.span
    if not isinstance(found, PreservedMap) or span is None:
        return False
    if found.blocks.block_of(span.address) is None:
        return False
    nodes = set(found.pages.address.tolist())
    return any(
        start in nodes
        for region in decoded.regions
        if not isinstance(region, MapRegion)
        for start, _ in region.extents()
    )


def may_be_misplaced(decoded: Decoded) -> bool:
    """True for a raw image, placed by ``--base``, in which no address leads to what it should."""
    if decoded.scene.space.info.container != "raw":
        return False
    # A blob with a string of its own is known only where it was where the root says.
    formats = [decoded.scene.registry.definitions.get(entry.format) for entry in decoded.entries]
    known = [found for found in formats if found is not None and found.match.get("compatible")]
    return bool(formats) and not known


def only_loops(found: PreservedMap) -> bool:
    """True if the only thing wrong with a map is that its tables lead back to each other.

    Memory in use again does not hold addresses of the map's own pages, and of nothing else.
    """
    return bool(found.problem_counts) and set(found.problem_counts) <= {"shared-node"}


def pointer_is_wrong(decoded: Decoded) -> bool:
    """True if the root puts the map where no map can be: inside a page, or in a record."""
    address = decoded.tree.value_of(MAP)
    page = decoded.scene.geometry.page_size
    if not isinstance(address, int) or address % page:
        return True
    return any(
        not isinstance(region, MapRegion) and address <= start < address + page
        for region in decoded.regions
        for start, _ in region.extents()
    )


def map_may_wait(decoded: Decoded) -> bool:
    """True if the map is 0 in a format that fills it in later."""
    node = decoded.tree.get(MAP)
    if node is None or node.field is None:
        return False
    return node.value == 0 and node.field.null == "allowed"


def first_merged(decoded: Decoded) -> bool:
    """True for a handover that user space finalizes before kexec and that has no sessions.

    A tree of pages grows as memory is preserved; it is never finalized.
    """
    found = decoded.scene.map
    if isinstance(found, PreservedMap) and found.layout not in WRITTEN_AT_ONCE:
        return False
    definition = decoded.scene.registry.definitions.get(decoded.tree.format)
    strings = definition.match.get("compatible", ()) if definition is not None else ()
    return FIRST in strings and decoded.entry("LUO") is None


# -- what a booted kernel has used up --------------------------------------------------------


def consume(decoded: Decoded, *, search: bool) -> Decoded:
    """The handover as a kernel that booted from it left it: the map, and more, is absent."""
    walk = resumed(decoded)
    recorder = walk.recorder
    lost = prune(recorder)
    recorder.regions = [r for r in recorder.regions if r.node is None or not below(r.node, lost)]
    recorder.reports = [
        report
        for report in recorder.reports
        if report.finding.rule.startswith("LIM") or not below(report.node, lost)
    ]
    if search:
        salvage(walk)
    return decoded_of(walk)


def prune(recorder: Recorder) -> set[Node]:
    """Replace what no longer decodes by absent values, and return the nodes that are lost."""
    lost = {node for node in recorder.tree.children if node.name == MAP and node.key is None}
    broken = {r.node for r in recorder.reports if not r.finding.rule.startswith(("ABI", "LIM"))}
    for entry in entries_of(recorder.tree):
        unread = entry.target is None and entry.value is not None
        if entry.state is NodeState.UNKNOWN_FORMAT or unread:
            entry.children = [child for child in entry.children if child.field is not None]
            entry.value, entry.state, entry.remark = GONE, None, ""
            lost.add(entry)
            continue
        for node in list(entry.walk()):
            if node in broken and node is not entry:
                node.children, node.table, node.target = [], None, None
                node.state, node.remark = None, ""
                node.kind = NodeKind.VALUE
                node.value = GONE
                lost.add(node)
    return lost


def below(node: Node, tops: Collection[Node]) -> bool:
    """True for a node that is in ``tops``, or below one that is."""
    current: Node | None = node
    while current is not None:
        if current in tops:
            return True
        current = current.parent
    return False
