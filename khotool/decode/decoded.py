"""What a walk found, and an image made of it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING

from khotool.absent import Absent
from khotool.codec.base import codec_of
from khotool.codec.choose import by_first_part
from khotool.codec.contexts import Walk
from khotool.codec.entry import entry_blob
from khotool.codec.fdt_nodes import read_node
from khotool.codec.properties import TreeWalk, raw_tree
from khotool.codec.recorder import Recorder, Report
from khotool.codec.tree import own_tree
from khotool.limits import Budget
from khotool.model.image import Choice, Image, Phase, Root, Scratch
from khotool.model.names import text_property
from khotool.model.node import Node, NodeKind, Span, entries_of
from khotool.records import dataclass, replace

if TYPE_CHECKING:
    from khotool.abi.definition import Definition
    from khotool.codec.scene import Scene
    from khotool.discovery.root_tree import RootTree
    from khotool.findings import Finding
    from khotool.maps.preserved import PreservedMap
    from khotool.model.region import Region
    from khotool.pages.claims import ClaimsBuilder

Watch = Callable[[Node, int], None]
"""Called while decoding with a node that was reached, and the nodes so far; may raise to stop."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """All that hangs from a root, before anybody asks when the image was taken.

    Args:
        scene: what was known when the walk began; its map is the image's.
        reports: findings, with the nodes that they are about.
    """

    scene: Scene
    tree: Node
    claims: ClaimsBuilder
    regions: tuple[Region, ...]
    reports: tuple[Report, ...]
    used: tuple[Definition, ...]
    choices: tuple[Choice, ...]
    budget: Budget

    @property
    def entries(self) -> list[Node]:
        """Entries of the root, in stored order."""
        return entries_of(self.tree)

    def entry(self, name: str) -> Node | None:
        """The entry of this name."""
        return next((node for node in self.entries if node.name == name), None)

    def sessions(self) -> list[Node]:
        """Sessions of the orchestrator."""
        luo = self.entry("LUO")
        return luo.elements_of("sessions") if luo is not None else []


@dataclass(frozen=True, slots=True)
class Phased:
    """A handover, and when its image was taken.

    Args:
        why: one sentence.
        map: preserved pages, or why they are absent.
        booted: a kernel booted from this root, though nothing else says so.
    """

    decoded: Decoded
    phase: Phase
    why: str
    map: PreservedMap | Absent
    booted: bool = False


def decode_root(root: RootTree, watch: Watch | None = None) -> Decoded:
    """Decode a root that is in memory, and all that hangs from it."""
    walk = Walk.over(root.scene)
    walk.recorder.watch = watch
    own_tree(walk, walk.recorder.tree, root.address, root.blob)
    walk_root(walk, root)
    return decoded_of(walk)


def decoded_of(walk: Walk) -> Decoded:
    """What a finished walk has found."""
    recorder = walk.recorder
    return Decoded(
        walk.scene,
        recorder.tree,
        recorder.claims,
        tuple(recorder.regions),
        tuple(recorder.kept()),
        tuple(recorder.used.values()),
        tuple(recorder.choices.values()),
        recorder.budget,
    )


def walk_root(walk: Walk, root: RootTree) -> None:
    """Record a root and all that hangs from it, but for its device tree as a region."""
    recorder, blob, definition = walk.recorder, root.blob, root.definition
    tree = recorder.tree
    tree.span = Span(root.address, len(blob.data))
    assert blob.root is not None
    compatible = text_property(blob.root, "compatible")
    if definition is None or definition.fdt is None:
        recorder.report("ABI901", tree, f"no definition for the root {compatible!r}", root.address)
        raw_tree(walk, tree, blob.root, root.address)
        return
    recorder.choose(tree, root.choice)
    recorder.use(definition)
    recorder.note_parts(tree, by_first_part(compatible or "", definition))
    tree.format = definition.id
    recorder.claim("/", root.address, len(blob.data), expected_outside=definition.segment)
    if root.layout is not None:
        recorder.choose_layout(tree, root.layout)
    read_node(TreeWalk(walk, definition, root.address), tree, blob.root, definition.fdt)
    if root.stream is not None:
        beside = tree.add(Node("kstate", NodeKind.ENTRY))
        recorder.name_entry(beside)
        entry_blob(walk, beside, root.stream, None)
    resolve(walk)


def resolve(walk: Walk) -> None:
    """Find what every value that names something means, once everything has been read."""
    for shape, nodes in sorted(walk.recorder.deferred.items()):
        codec_of(shape).resolve(walk, nodes)
    walk.recorder.deferred.clear()


def resumed(decoded: Decoded) -> Walk:
    """A walk that continues a finished one, over a copy of its findings."""
    copies = copy_tree(decoded.tree)
    recorder = Recorder(
        decoded.scene.limits, tree=copies[decoded.tree], claims=deepcopy(decoded.claims)
    )
    recorder.regions = [
        region if region.node is None else replace(region, node=copies[region.node])  # type: ignore[type-var]
        for region in decoded.regions
    ]
    recorder.reports = [replace(r, node=copies.get(r.node, r.node)) for r in decoded.reports]
    recorder.used = {definition.id: definition for definition in decoded.used}
    recorder.choices = {choice_key(choice): choice for choice in decoded.choices}
    recorder.budget.spend(decoded.budget.nodes, decoded.budget.bytes)
    return Walk(decoded.scene, recorder)


def choice_key(choice: Choice) -> tuple[str, str]:
    """The key under which a recorder keeps a choice."""
    return (choice.definition, "" if choice.among == "layout" else choice.layout)


def copy_tree(tree: Node) -> dict[Node, Node]:
    """A copy of a node and all below it: copies by the nodes that they are of."""
    copies: dict[Node, Node] = {}
    for node in tree.walk():
        copy = copies[node] = replace(node, children=[], parent=None)
        if node is not tree and node.parent is not None:
            copies[node.parent].add(copy)
    return copies


def image_of_parts(
    phased: Phased,
    roots: list[Root],
    scratch: Scratch | Absent,
    *,
    anchors: list[Span] | None = None,
    findings: list[Finding] | None = None,
) -> Image:
    """The image of a handover whose phase is known.

    Args:
        anchors: bytes outside the handover that say where it is.
        findings: about the image as a whole, which no walk has met.
    """
    decoded = phased.decoded
    scene = decoded.scene
    return Image(
        info=scene.space.info,
        space=scene.space,
        registry=scene.registry,
        geometry=scene.geometry,
        tree=decoded.tree,
        roots=roots,
        map=phased.map,
        scratch=scratch,
        phase=phased.phase,
        claims=decoded.claims,
        regions=list(decoded.regions),
        used=list(decoded.used),
        choices=list(decoded.choices),
        findings=[*(report.finding for report in decoded.reports), *(findings or [])],
        phase_why=phased.why,
        anchors=anchors or [],
    )
