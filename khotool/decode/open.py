"""Open a capture and build its model."""

from __future__ import annotations

from os import PathLike

from khotool.abi.registry import Registry, load_registry
from khotool.absent import Absent, Reason
from khotool.decode.assemble import build_image
from khotool.decode.blobs import open_blob, open_debugfs
from khotool.decode.phase import settle_phase
from khotool.decode.salvage import salvage
from khotool.decode.walk import Walker
from khotool.discovery.bootdata import cache_differs
from khotool.discovery.geometry import probe_geometry
from khotool.discovery.options import OpenOptions, Progress
from khotool.discovery.roots import Judged, covers_itself, judge, select
from khotool.discovery.scan import Candidate, Scan, read_scratch, read_tree, scan
from khotool.errors import InputError, UsageError
from khotool.findings import Finding
from khotool.maps.preserved import PreservedMap
from khotool.memory.debugfs import DebugfsCopy
from khotool.memory.fdtfile import BareFdt
from khotool.memory.source import open_source
from khotool.memory.space import AddressSpace
from khotool.model.image import Image, Phase, Role, Scratch, Span
from khotool.model.region import FdtRegion, MapRegion


def open_image(
    path: str | PathLike[str], options: OpenOptions | None = None, progress: Progress | None = None
) -> Image:
    """Open a capture of any kind and decode the handover in it.

    Raises:
        InputError: no such file, no known container, or no KHO root in it; says what was tried.
        UsageError: an option that does not fit the capture.
        DefinitionError: a folder of definitions has a wrong file.
    """
    options = options or OpenOptions()
    registry = load_definitions(options)

    def unpacking(done: int, total: int | None) -> None:
        if progress is not None:
            progress("Unpacking", done, total)

    source = open_source(
        path, base=options.base, limit=options.limits.bytes * 8, progress=unpacking
    )
    if isinstance(source, DebugfsCopy):
        return open_debugfs(source, registry, options)
    if isinstance(source, BareFdt):
        return open_blob(source, registry, options)
    return open_memory(source, registry, options, progress)


def load_definitions(options: OpenOptions) -> Registry:
    """The definitions, with those that the user adds.

    Raises:
        UsageError: ``abi`` names a definition or a layout that is not there.
        DefinitionError: a folder of definitions has a wrong file.
    """
    registry = load_registry(options.formats)
    for identifier, layout in options.abi.items():
        if layout in registry.variants(identifier):
            continue
        definition = registry.get(identifier)
        if layout is not None and layout not in definition.layouts:
            known = ", ".join(definition.layouts) or "none"
            raise UsageError(f"--abi {identifier}={layout}: no such layout; it has {known}")
    return registry


def open_memory(
    space: AddressSpace,
    registry: Registry,
    options: OpenOptions,
    progress: Progress | None = None,
) -> Image:
    """Decode the handover in captured memory.

    Raises:
        InputError: there is no KHO root; says what was tried.
    """
    byteorder = options.byteorder or space.info.endian or "little"

    def scanning(done: int, total: int | None) -> None:
        if progress is not None:
            progress("Looking for the KHO root", done, total)

    found = scan(space, registry, byteorder, options.limits, scanning)
    return decode_found(space, registry, options, found)


def decode_found(
    space: AddressSpace,
    registry: Registry,
    options: OpenOptions,
    found: Scan,
    *,
    search: bool = True,
) -> Image:
    """Decode the handover whose root is one of those that were found.

    Args:
        search: look at every page of memory for lists whose head is gone.

    Raises:
        InputError: none was; says what was tried.
    """
    byteorder = options.byteorder or space.info.endian or "little"
    forced = _forced_root(space, options, found)
    if not found.roots:
        raise InputError(_nothing_found(space, found))
    geometry = probe_geometry(space, registry, found.roots, options, byteorder)

    def walk(candidate: Candidate) -> Walker:
        pointed = any(pointer.fdt == candidate.address for pointer in found.pointers)
        walker = Walker(
            space,
            registry,
            geometry,
            limits=options.limits,
            abi=options.abi,
            # What boot data names was written by the kernel before this one.
            writer=None if pointed else space.info.osrelease,
        )
        walker.own_tree(walker.tree, candidate.address, candidate.blob)
        walker.walk_root_blob(candidate.blob, candidate.address)
        return walker

    judged = judge(found, walk)
    # The root that is named comes first of all that were found.
    chosen = judged[0] if forced is not None else select(judged)
    chosen.root.selected = True
    if forced is not None:
        chosen.root.why = f"named by --root; {chosen.root.why}".removesuffix("; ")
    scratch = find_scratch(space, registry, options, found, chosen)
    image = build_image(chosen.walker, [item.root for item in judged], scratch)
    image.anchors = _anchors(found, judged)
    if found.unread:
        text = f"{len(found.unread)} device trees are not read; raise with --limit scan=N"
        image.findings.append(Finding("LIM001", "/", text, found.unread[0]))
    cache = chosen.pointer.mem_cache if chosen.pointer is not None else None
    if cache is not None and isinstance(image.map, PreservedMap):
        text = cache_differs(space, geometry, cache, image.map)
        if text:
            image.findings.append(Finding("MEM322", "/", text, cache.address))
    settle_phase(image)
    if image.phase is Phase.CONSUMED and search:
        walker = chosen.walker
        walker.regions, walker.findings = image.regions, image.findings
        salvage(walker, image)
        image.used = list({d.id: d for d in [*image.used, *walker.used.values()]}.values())
    _name_files(image)
    return image


def _name_files(image: Image) -> None:
    """Names that programs keep beside their files in sessions of their own."""
    entry = image.entry("LUO")
    sessions = None if entry is None else entry.get("sessions")
    if sessions is None or not sessions.elements():
        return
    # Loaded only for images that have a session.
    from khotool.handlers import annotate

    annotate(image)


def _anchors(found: Scan, judged: list[Judged]) -> list[Span]:
    """Bytes that a copy of the image needs for the same roots to get the same roles."""
    spans = [pointer.where for pointer in found.pointers]
    spans += [pointer.scratch for pointer in found.pointers if not pointer.region]
    spans += [pointer.mem_cache for pointer in found.pointers if pointer.mem_cache is not None]
    spans += [Span(address, 16 * (len(areas) + 1)) for address, areas in found.scratch]
    for item in judged:
        for region in item.walker.regions:
            # Pages of a map that no longer covers its root hold somebody else's data by now.
            own_map = isinstance(region, MapRegion) and covers_itself(
                item.walker, item.candidate.address
            )
            if own_map or (isinstance(region, FdtRegion) and region.path == "/"):
                spans += [Span(address, size) for address, size in region.extents()]
    return spans


def _forced_root(space: AddressSpace, options: OpenOptions, found: Scan) -> int | None:
    if options.root is None:
        return None
    if isinstance(options.root, str):
        raise UsageError(f"--root {options.root}: expected an address such as 0x4de000")
    if all(candidate.address != options.root for candidate in found.roots):
        blob = read_tree(space, options.root)
        if blob is None or blob.root is None:
            raise UsageError(f"--root {options.root:#x}: there is no device tree at this address")
        compatible = blob.root.get("compatible")
        text = compatible.value.split(b"\0")[0].decode("latin-1") if compatible else ""
        found.roots.insert(0, Candidate(options.root, blob, text))
    else:
        found.roots.sort(key=lambda candidate: candidate.address != options.root)
    return options.root


def _nothing_found(space: AddressSpace, found: Scan) -> str:
    return (
        f"{space.info.path}: no KHO root; looked at {found.pages} pages for a page-aligned device "
        f"tree whose compatible is kho-v*, found {found.trees} device trees and "
        f"{len(found.pointers)} boot pointers; if you know its address, give --root ADDR"
    )


def find_scratch(
    space: AddressSpace, registry: Registry, options: OpenOptions, found: Scan, chosen: Judged
) -> Scratch | Absent:
    """Scratch areas: as the user says, as boot data names them, or from an array found by scan."""
    if options.scratch:
        return Scratch([Span(a, s) for a, s in options.scratch], "as --scratch says")
    if options.debugfs is not None:
        source = open_source(options.debugfs)
        if not isinstance(source, DebugfsCopy):
            raise UsageError(f"--debugfs {options.debugfs}: not a copy of /sys/kernel/debug/kho")
        for tree in source.trees:
            if tree.scratch:
                areas = [Span(address, size) for address, size in tree.scratch]
                return Scratch(areas, f"{tree.name} of the debugfs copy")
    definition = registry.get("kho_scratch")
    area = registry.compile(definition, definition.content, chosen.walker.geometry)
    for pointer in ([chosen.pointer] if chosen.pointer else []) + found.pointers:
        if pointer.region:
            return Scratch([pointer.scratch], pointer.why)
        count = min(pointer.scratch.size // area.size, 4096)
        areas = read_scratch(space, area, pointer.scratch.address, count)
        if areas:
            return Scratch(areas, pointer.why, pointer.scratch.address)
    if found.scratch and chosen.root.role is not Role.STALE:
        address, areas = found.scratch[0]
        if all(other == areas for _, other in found.scratch):
            return Scratch(areas, f"an array of scratch areas stands at {address:#x}", address)
    return Absent(Reason.NOT_CAPTURED, "no boot data and no array of scratch areas in this capture")
