"""Captures that are blobs without memory: a debugfs copy, or one device tree in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from khotool.abi.definition import Kind
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.absent import Absent, Reason
from khotool.codec.contexts import Walk
from khotool.codec.entry import entry_blob
from khotool.codec.recover import recover_names, root_definition
from khotool.codec.scene import Scene
from khotool.codec.tree import read_fdt
from khotool.decode.decoded import Decoded, Phased, decoded_of, image_of_parts, walk_root
from khotool.decode.phase import GONE, Inference, consume
from khotool.discovery.root_tree import read_root
from khotool.errors import InputError, UsageError
from khotool.fdt.blob import Blob, FdtError
from khotool.fdt.parse import parse
from khotool.limits import OpenOptions
from khotool.maps.preserved import PreservedMap
from khotool.memory.debugfs import DebugfsCopy, DebugfsTree
from khotool.memory.fdtfile import BareFdt
from khotool.memory.overlay import OverlaySpace
from khotool.memory.space import AddressSpace, SourceInfo
from khotool.model.image import Image, Phase, Role, Root, Scratch
from khotool.model.names import text_property
from khotool.model.node import UNPLACED, Node, NodeKind, NodeState, Span
from khotool.model.region import FdtRegion

GAP = 1 << 32
"""Distance of blobs whose address is unknown."""
NO_MAP = Absent(Reason.NOT_CAPTURED, "debugfs holds no preserved-page map")
NO_SCRATCH = Absent(Reason.NOT_CAPTURED, "this copy has no scratch_phys")


def open_debugfs(
    copy: DebugfsCopy,
    registry: Registry,
    options: OpenOptions,
    memory: AddressSpace | None = None,
    *,
    source: str = "the debugfs copy",
) -> Image:
    """Decode one tree of a debugfs copy: the whole one if there is one, else the fullest.

    Args:
        source: what the copy is called.
        memory: memory of the same moment, where pointers lead; without it they lead nowhere.

    Raises:
        InputError: the copy holds no root device tree.
        UsageError: --root names no tree of the copy.
    """
    usable, trees = _ranked(copy, options)
    chosen = trees[0]
    roots = [_root(tree, registry, source, selected=tree is chosen) for tree in usable]
    info = copy.info if memory is None else memory.info
    geometry = Geometry(
        options.page_size or info.page_size or 4096, options.byteorder or info.endian or "little"
    )
    decoded = _walk_tree(chosen, registry, options, geometry, info, memory)
    inference = _phase(chosen, decoded)
    if inference.phase is Phase.CONSUMED:
        decoded = consume(decoded, search=False)
    found = GONE if inference.phase is Phase.CONSUMED else decoded.scene.map
    if memory is None or (chosen.fdt is None and found is not GONE):
        found = NO_MAP
    handover = Phased(decoded, inference.phase, inference.why, found)
    # Before it is finalized, a handover is areas alone.
    scratch = copied_scratch([chosen, *trees, *copy.trees], "/scratch_phys and scratch_len")
    return image_of_parts(handover, roots, scratch or NO_SCRATCH)


def _ranked(copy: DebugfsCopy, options: OpenOptions) -> tuple[list[DebugfsTree], list[DebugfsTree]]:
    """Trees that hold something: as they are stored, and the one that is meant first.

    Raises:
        InputError: the copy holds no root device tree.
        UsageError: --root names no tree of the copy.
    """
    usable = [tree for tree in copy.trees if tree.fdt or tree.subtrees]
    if not usable:
        raise InputError(
            f"{copy.info.path}: a debugfs copy without fdt and sub_fdts; copy all of "
            "/sys/kernel/debug/kho as root"
        )
    trees = sorted(usable, key=_rank)
    if options.root is None:
        return usable, trees
    wanted = [tree for tree in trees if tree.name == str(options.root)]
    if not wanted:
        names = ", ".join(tree.name for tree in trees)
        raise UsageError(f"--root {options.root}: no such tree; this copy has {names}")
    return usable, wanted + [tree for tree in trees if tree is not wanted[0]]


def _root(tree: DebugfsTree, registry: Registry, source: str, *, selected: bool) -> Root:
    """A root as debugfs shows it."""
    role = Role.INCOMING if tree.direction == "in" else Role.OUTGOING
    why = f"{tree.name} of {source}"
    if tree.fdt is None:
        why += " (no root, entries only)"
    elif len(tree.fdt) < int.from_bytes(tree.fdt[4:8], "big"):
        why += " (cut short by the kernel)"
    return Root(None, _compatible(tree, registry), role, why, selected, tree.name)


def copied_scratch(trees: Iterable[DebugfsTree], why: str) -> Scratch | None:
    """Scratch areas of the first tree that has some; ``why`` follows its name."""
    for tree in trees:
        if tree.scratch:
            return Scratch([Span(*area) for area in tree.scratch], f"{tree.name}{why}")
    return None


def _rank(tree: DebugfsTree) -> tuple[bool, bool, int, int]:
    complete = False
    if tree.fdt is not None and len(tree.fdt) >= 8:
        complete = int.from_bytes(tree.fdt[4:8], "big") <= len(tree.fdt)
    return (
        tree.fdt is None,
        not complete,
        0 if tree.direction == "in" else 1,
        -len(tree.subtrees) - bool(tree.finalized),
    )


def _compatible(tree: DebugfsTree, registry: Registry) -> str:
    blob = _parse(tree.fdt or b"")
    definition = root_definition(blob, registry) if blob is not None else None
    if definition is not None:
        return definition.match["compatible"][0]
    return (text_property(blob.root, "compatible") or "") if blob and blob.root else ""


def _parse(data: bytes) -> Blob | None:
    try:
        return parse(data)
    except FdtError:
        return None


def _walk_tree(
    tree: DebugfsTree,
    registry: Registry,
    options: OpenOptions,
    geometry: Geometry,
    info: SourceInfo,
    memory: AddressSpace | None,
) -> Decoded:
    blob = _parse(tree.fdt or b"")
    definition = root_definition(blob, registry) if blob is not None else None
    if blob is not None and definition is not None and not blob.complete:
        recover_names(blob, definition)
    places = _places(blob, registry, geometry) if blob is not None else {}
    writes, placed = _laid_out(tree, places)
    space = OverlaySpace(memory, writes, info)
    scene = Scene.of(space, registry, geometry, limits=options.limits, abi=options.abi)
    walk = Walk.over(scene)
    top = walk.recorder.tree
    if blob is not None and blob.root is not None:
        walk = _walk_blob(walk, tree, blob)
    for name, address in placed.items():
        node = top.get(name)
        if node is None or node.target is None:
            node = node or top.add(Node(name, NodeKind.ENTRY))
            entry_blob(walk, node, address, len(tree.subtrees[name]))
            if node.state is None and not node.remark:
                node.state = NodeState.OUTSIDE_ROOT
    return decoded_of(walk)


def _walk_blob(walk: Walk, tree: DebugfsTree, blob: Blob) -> Walk:
    """The walk once it has read the root as debugfs shows it, which may be cut short."""
    top = walk.recorder.tree
    walk.recorder.regions.append(FdtRegion("/", UNPLACED, blob, node=top))
    if not blob.complete:
        text = (
            f"{tree.name}/fdt has {len(tree.fdt or b'')} of {blob.totalsize} bytes: the kernel "
            "fixes the file's length before entries are added"
        )
        walk.recorder.report("FDT105", top, text)
    root = read_root(walk.scene, blob, UNPLACED)
    walk = walk.knowing(root.scene)
    walk_root(walk, root)
    return walk


def _laid_out(
    tree: DebugfsTree, places: Mapping[str, int]
) -> tuple[list[tuple[int, bytes]], dict[str, int]]:
    """Blobs by address, and where that of each entry is; those without a place get one.

    Args:
        places: physical address of the blob of each entry, where it is known.
    """
    writes = [(UNPLACED, tree.fdt)] if tree.fdt else []
    placed: dict[str, int] = {}
    taken: set[int] = set()
    for number, (name, data) in enumerate(sorted(tree.subtrees.items())):
        address = places.get(name, UNPLACED + (number + 1) * GAP)
        if address in taken or address % 8:
            address = UNPLACED + (number + 1) * GAP
        taken.add(address)
        placed[name] = address
        writes.append((address, data))
    return writes, placed


def _places(blob: Blob, registry: Registry, geometry: Geometry) -> dict[str, int]:
    """Physical address of each entry's blob, as the root says."""
    compatible = text_property(blob.root, "compatible") if blob.root is not None else None
    definition = registry.match(Kind.ROOT, "compatible", compatible or "")
    kind = definition.fdt.any_node if definition is not None and definition.fdt else None
    places: dict[str, int] = {}
    if kind is None or blob.root is None:
        return places
    for child in blob.root.children:
        for field in kind.properties:
            prop = child.get(field.name)
            if field.points_to is not None and prop is not None and len(prop.value) == 8:
                places[child.name] = int.from_bytes(prop.value, geometry.byteorder)
    return places


def _phase(tree: DebugfsTree, decoded: Decoded) -> Inference:
    if tree.direction == "in":
        return Inference(Phase.CONSUMED, "debugfs of a kernel that booted from the handover")
    if tree.finalized and decoded.tree.format == "kho-v1":
        return Inference(Phase.FINALIZED, "out/finalize says 1")
    return Inference(Phase.LIVE, "debugfs of the kernel that prepares the handover")


def open_blob(source: BareFdt, registry: Registry, options: OpenOptions) -> Image:
    """Decode one device tree: a KHO root, or the blob of an entry.

    Raises:
        InputError: the tree is neither.
    """
    blob = _parse(bytes(source.data))
    compatible = text_property(blob.root, "compatible") if blob and blob.root else None
    geometry = Geometry(options.page_size or 4096, options.byteorder or "little")
    space = OverlaySpace(None, [(UNPLACED, bytes(source.data))])
    space.info = source.info
    scene = Scene.of(space, registry, geometry, limits=options.limits, abi=options.abi)
    walk = Walk.over(scene)
    top = walk.recorder.tree
    roots: list[Root] = []
    definition = root_definition(blob, registry) if blob is not None else None
    if definition is not None:
        own = read_fdt(walk, top, UNPLACED)
        if own is not None and own.root is not None:
            root = read_root(scene, own, UNPLACED)
            walk = walk.knowing(root.scene)
            walk_root(walk, root)
        why = "the file is this device tree"
        compatible = definition.match["compatible"][0]
        roots.append(Root(None, compatible, Role.OUTGOING, why, selected=True))
    elif entry := registry.match(Kind.ENTRY, "compatible", compatible or ""):
        node = top.add(Node(entry.match.get("entry", (entry.id,))[0], NodeKind.ENTRY))
        entry_blob(walk, node, UNPLACED, None)
    else:
        raise InputError(
            f"{source.info.path}: a device tree, but neither a KHO root nor the blob of a known "
            f"entry (compatible is {compatible!r}); see khotool formats list"
        )
    absent = Absent(Reason.NOT_CAPTURED, "the file is one device tree")
    found = walk.scene.map
    if not (isinstance(found, PreservedMap) and found.layout == "ranges"):
        # Ranges are in the tree itself; every other map is elsewhere.
        found = absent
    handover = Phased(decoded_of(walk), Phase.UNKNOWN, "", found)
    return image_of_parts(handover, roots, absent)
