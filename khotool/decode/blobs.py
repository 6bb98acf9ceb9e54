"""Captures that are blobs without memory: a debugfs copy, or one device tree in a file."""

from __future__ import annotations

from khotool.abi.definition import Kind
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.absent import Absent, Reason
from khotool.decode.assemble import build_image
from khotool.decode.phase import consume
from khotool.decode.recover import recover_names, root_definition
from khotool.decode.walk import Walker
from khotool.discovery.options import OpenOptions
from khotool.errors import InputError, UsageError
from khotool.fdt.blob import Blob, FdtError
from khotool.fdt.parse import parse
from khotool.maps.preserved import PreservedMap
from khotool.memory.debugfs import DebugfsCopy, DebugfsTree
from khotool.memory.fdtfile import BareFdt
from khotool.memory.overlay import OverlaySpace
from khotool.memory.space import AddressSpace, SourceInfo
from khotool.model.image import UNPLACED, Image, Node, NodeKind, Phase, Role, Root, Scratch, Span
from khotool.model.names import text_property
from khotool.model.region import FdtRegion

GAP = 1 << 32
"""Distance of blobs whose address is unknown."""
NO_MAP = Absent(Reason.NOT_CAPTURED, "debugfs holds no preserved-page map")


def open_debugfs(
    copy: DebugfsCopy,
    registry: Registry,
    options: OpenOptions,
    memory: AddressSpace | None = None,
) -> Image:
    """Decode one tree of a debugfs copy: the whole one if there is one, else the fullest.

    Args:
        memory: memory of the same moment, where pointers lead; without it they lead nowhere.

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
    if options.root is not None:
        names = [tree.name for tree in trees]
        wanted = [tree for tree in trees if tree.name == str(options.root)]
        if not wanted:
            raise UsageError(
                f"--root {options.root}: no such tree; this copy has {', '.join(names)}"
            )
        trees = wanted + [tree for tree in trees if tree is not wanted[0]]
    chosen = trees[0]
    roots = []
    for tree in usable:
        compatible = _compatible(tree, registry)
        role = Role.INCOMING if tree.direction == "in" else Role.OUTGOING
        why = f"{tree.name} of the debugfs copy"
        if tree.fdt is None:
            why += " (no root, entries only)"
        elif len(tree.fdt) < int.from_bytes(tree.fdt[4:8], "big"):
            why += " (cut short by the kernel)"
        roots.append(Root(None, compatible, role, why, tree is chosen, tree.name))
    info = copy.info if memory is None else memory.info
    geometry = Geometry(
        options.page_size or info.page_size or 4096, options.byteorder or info.endian or "little"
    )
    walker = _walk_tree(chosen, registry, options, geometry, info, memory)
    scratch: Scratch | Absent = Absent(Reason.NOT_CAPTURED, "this copy has no scratch_phys")
    # Before it is finalized, a handover is areas alone.
    for tree in [chosen, *trees, *copy.trees]:
        if tree.scratch:
            areas = [Span(address, size) for address, size in tree.scratch]
            scratch = Scratch(areas, f"{tree.name}/scratch_phys and scratch_len")
            break
    image = build_image(walker, roots, scratch)
    if memory is None or chosen.fdt is None:
        image.map = NO_MAP
    image.phase, image.phase_why = _phase(chosen, image)
    if image.phase is Phase.CONSUMED:
        why = image.phase_why
        consume(image)
        image.phase_why = why
        if memory is None:
            image.map = NO_MAP
    return image


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
) -> Walker:
    blob = _parse(tree.fdt or b"")
    definition = root_definition(blob, registry) if blob is not None else None
    if blob is not None and definition is not None and not blob.complete:
        recover_names(blob, definition)
    places = _places(blob, registry, geometry) if blob is not None else {}
    writes: list[tuple[int, bytes]] = []
    if tree.fdt:
        writes.append((UNPLACED, tree.fdt))
    placed: dict[str, int] = {}
    taken: set[int] = set()
    for number, (name, data) in enumerate(sorted(tree.subtrees.items())):
        address = places.get(name, UNPLACED + (number + 1) * GAP)
        if address in taken or address % 8:
            address = UNPLACED + (number + 1) * GAP
        taken.add(address)
        placed[name] = address
        writes.append((address, data))
    space = OverlaySpace(memory, writes, info)
    walker = Walker(space, registry, geometry, limits=options.limits, abi=options.abi, writer=None)
    if blob is not None and blob.root is not None:
        walker.regions.append(FdtRegion("/", UNPLACED, blob))
        if not blob.complete:
            walker.report(
                "FDT105",
                walker.tree,
                f"{tree.name}/fdt has {len(tree.fdt or b'')} of {blob.totalsize} bytes: the kernel "
                "fixes the file's length before entries are added",
            )
        walker.walk_root_blob(blob, UNPLACED)
    for name, address in placed.items():
        node = walker.tree.get(name)
        if node is None or node.target is None:
            node = node or walker.tree.add(Node(name, NodeKind.ENTRY))
            walker.entries.entry_blob(node, address, len(tree.subtrees[name]))
            node.note = node.note or "not in the part of the root that is here"
    return walker


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


def _phase(tree: DebugfsTree, image: Image) -> tuple[Phase, str]:
    if tree.direction == "in":
        return Phase.CONSUMED, "debugfs of a kernel that booted from the handover"
    if tree.finalized and image.tree.format == "kho-v1":
        return Phase.FINALIZED, "out/finalize says 1"
    return Phase.LIVE, "debugfs of the kernel that prepares the handover"


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
    walker = Walker(space, registry, geometry, limits=options.limits, abi=options.abi)
    roots: list[Root] = []
    root = root_definition(blob, registry) if blob is not None else None
    if root is not None:
        compatible = root.match["compatible"][0]
        walker.walk_root(UNPLACED)
        why = "the file is this device tree"
        roots.append(Root(None, compatible or "", Role.OUTGOING, why, True))
    elif entry := registry.match(Kind.ENTRY, "compatible", compatible or ""):
        node = walker.tree.add(Node(entry.match.get("entry", (entry.id,))[0], NodeKind.ENTRY))
        walker.entries.entry_blob(node, UNPLACED, None)
    else:
        raise InputError(
            f"{source.info.path}: a device tree, but neither a KHO root nor the blob of a known "
            f"entry (compatible is {compatible!r}); see khotool formats list"
        )
    absent = Absent(Reason.NOT_CAPTURED, "the file is one device tree")
    image = build_image(walker, roots, absent)
    if not (isinstance(image.map, PreservedMap) and image.map.layout == "ranges"):
        # Ranges stand in the tree itself; every other map is elsewhere.
        image.map = absent
    return image
