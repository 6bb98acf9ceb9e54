"""Open a capture and build its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from os import PathLike

from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry, load_registry
from khotool.absent import Absent, Reason
from khotool.codec.scene import FDT_MAGIC, Scene, read_tree
from khotool.decode.blobs import copied_scratch, open_blob, open_debugfs
from khotool.decode.decoded import Decoded, Phased, Watch, decode_root, image_of_parts
from khotool.decode.looked import looked_at
from khotool.decode.phase import infer_phase, phased
from khotool.discovery.banner import WRITER_NOTE, find_banner
from khotool.discovery.bootdata import BootPointer, cache_differs, cache_range
from khotool.discovery.geometry import probe_geometry
from khotool.discovery.root_tree import RootTree, read_root
from khotool.discovery.roots import RootCandidate, Weight, candidates, select
from khotool.discovery.scan import Candidate, Scan, read_scratch, scan
from khotool.errors import InputError, UsageError
from khotool.findings import Finding
from khotool.limits import OpenOptions, Progress
from khotool.maps.preserved import PreservedMap
from khotool.memory.debugfs import DebugfsCopy
from khotool.memory.fdtfile import BareFdt
from khotool.memory.seen import SeenSpace
from khotool.memory.source import open_source
from khotool.memory.space import AddressSpace
from khotool.model.image import Image, Phase, Role, Root, Scratch
from khotool.model.names import text_property
from khotool.model.node import Span
from khotool.records import dataclass, replace
from khotool.view.luo import Luo


def open_image(
    path: str | PathLike[str],
    options: OpenOptions | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
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
    return open_memory(source, registry, options, progress, watch)


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
    watch: Watch | None = None,
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
    return decode_found(space, registry, options, found, watch=watch)


BARE = frozenset({"elf", "raw", "lime"})
"""Containers that may say nothing of the kernel; of the others each does."""


@dataclass(frozen=True, slots=True)
class Source:
    """Captured memory, and what was found in it before anything was decoded.

    Args:
        forced: the user names the root, which is the first of those that were found.
    """

    space: AddressSpace
    registry: Registry
    options: OpenOptions
    found: Scan
    geometry: Geometry
    forced: bool

    def scene(self, writer: str | None) -> Scene:
        """The image as it can be asked about, before a root is read."""
        return Scene.of(
            self.space,
            self.registry,
            self.geometry,
            limits=self.options.limits,
            abi=self.options.abi,
            writer=writer,
        )


@dataclass(frozen=True, slots=True)
class Candidates:
    """The roots of a source, each with its map; and the one that is meant."""

    source: Source
    roots: tuple[RootCandidate, ...]
    chosen: RootCandidate

    def shown(self, phased: Phased) -> list[Root]:
        """All roots as the image shows them."""
        chosen = self.chosen
        if phased.booted and chosen.role is Role.STALE:
            why = "its map is reused, as after a boot"
            chosen = replace(chosen, role=Role.INCOMING, why=why)
        return [
            chosen.root(selected=True)
            if item.address == chosen.address
            else item.root(selected=False)
            for item in self.roots
        ]


def decode_found(
    space: AddressSpace,
    registry: Registry,
    options: OpenOptions,
    found: Scan,
    *,
    search: bool = True,
    watch: Watch | None = None,
) -> Image:
    """Decode the handover whose root is one of those that were found.

    Args:
        search: look at every page of memory for lists whose head is gone.

    Raises:
        InputError: none was; says what was tried.
    """
    seen = SeenSpace(space)
    source = source_of(seen, registry, options, found)
    take_banner(source)
    decode = cache(partial(decode_root, watch=watch))
    candidates = candidates_of(source, decode)
    chosen = candidates.chosen
    decoded = decode(chosen.tree)
    inference = infer_phase(decoded, chosen.role, [item.role for item in candidates.roots])
    reads = seen.reads()
    handover = phased(decoded, inference, search=search)
    image = image_of_parts(
        handover,
        candidates.shown(handover),
        find_scratch(source, chosen),
        anchors=anchors(registry, found, candidates.roots),
        findings=list(source_findings(source, candidates)),
    )
    image = replace(image, space=space)
    if image.phase is not Phase.CONSUMED:
        # What a booted kernel has in the place of metadata is not part of the handover.
        image.anchors.extend(looked_at(image, reads))
    return named(image)


def source_of(space: AddressSpace, registry: Registry, options: OpenOptions, found: Scan) -> Source:
    """The memory, its page size and byte order, with the root that the user names in front.

    Raises:
        InputError: there is no root; says what was tried.
    """
    byteorder = options.byteorder or space.info.endian or "little"
    forced, found = _forced_root(space, options, found)
    if not found.roots:
        raise InputError(_nothing_found(space, found))
    geometry = probe_geometry(space, registry, found.roots, options, byteorder)
    return Source(space, registry, options, found, geometry, forced)


def take_banner(source: Source) -> None:
    """Say which kernel the memory is of, where its file does not: from the banner in it."""
    info = source.space.info
    if info.osrelease is not None or info.container not in BARE:
        return
    banner = find_banner(source.space, source.options.limits)
    if banner is not None:
        info.osrelease, info.build = banner.release, banner.build
    named = next(iter(source.found.pointers), None)
    if banner is not None and info.machine is None and named is not None:
        tree = source.space.contains(named.where.address, len(FDT_MAGIC)) and (
            source.space.read(named.where.address, len(FDT_MAGIC)) == FDT_MAGIC
        )
        info.machine = "aarch64" if tree else "x86_64"


def candidates_of(source: Source, decode: Callable[[RootTree], Decoded]) -> Candidates:
    """Every root that was found, and the one that is meant.

    Args:
        decode: what hangs from a root; asked only where that decides which is meant.
    """
    pointed = {pointer.fdt for pointer in source.found.pointers}

    def read(candidate: Candidate) -> RootTree:
        # What boot data names was written by the kernel before this one.
        own = candidate.address not in pointed
        info = source.space.info
        # The only kernel in all of memory wrote what is in it.
        before = info.osrelease if info.build else info.vmcoreinfo.get(WRITER_NOTE)
        scene = source.scene(info.osrelease if own else before)
        tree = read_root(scene, candidate.blob, candidate.address)
        return replace(tree, stream=source.found.streams.get(candidate.address))

    def weigh(item: RootCandidate) -> Weight:
        decoded = decode(item.tree)
        return Weight(len(decoded.sessions()), len(decoded.regions))

    roots = candidates(source.found, read)
    if not source.forced:
        return Candidates(source, roots, select(roots, weigh))
    # The root that is named comes first of all that were found.
    return Candidates(source, roots, replace(roots[0], why=f"named by --root; {roots[0].why}"))


def source_findings(source: Source, candidates: Candidates) -> Iterator[Finding]:
    """What is wrong with an image as a whole."""
    unread = source.found.unread
    if unread:
        text = f"{len(unread)} device trees are not read; raise with --limit scan=N"
        yield Finding("LIM001", "/", text, unread[0])
    chosen = candidates.chosen
    cache = chosen.pointer.mem_cache if chosen.pointer is not None else None
    found = chosen.tree.scene.map
    if cache is not None and isinstance(found, PreservedMap):
        text = cache_differs(
            source.space, cache_range(source.registry, source.geometry), cache, found
        )
        if text:
            yield Finding("MEM322", "/", text, cache.address)


def named(image: Image) -> Image:
    """The image with what handlers say of the files of its sessions."""
    if Luo(image).sessions:
        # Loaded only for images that have a session.
        from khotool.handlers import ask_all

        for node, text in ask_all(image):
            node.annotation = text
    return image


def anchors(registry: Registry, found: Scan, roots: Sequence[RootCandidate]) -> list[Span]:
    """Bytes that a copy of the image needs for the same roots to get the same roles."""
    spans = [pointer.where for pointer in found.pointers]
    spans += [pointer.scratch for pointer in found.pointers if not pointer.region]
    spans += [pointer.mem_cache for pointer in found.pointers if pointer.mem_cache is not None]
    scratch = registry.get("kho_scratch")
    area = registry.compile(scratch, scratch.content, Geometry()).size
    spans += [Span(address, area * (len(areas) + 1)) for address, areas in found.scratch]
    for item in roots:
        tree = item.tree
        spans.append(Span(item.address, len(tree.blob.data)))
        # Pages of a map that no longer covers its root have been reused.
        if tree.covers_itself and isinstance(tree.scene.map, PreservedMap):
            pages = tree.scene.map.pages
            sizes = zip(pages.address.tolist(), pages.size.tolist(), strict=True)
            spans += [Span(address, size) for address, size in sizes]
    return spans


def _forced_root(space: AddressSpace, options: OpenOptions, found: Scan) -> tuple[bool, Scan]:
    """True if the user names the root, and the scan with that root in front."""
    if options.root is None:
        return False, found
    if isinstance(options.root, str):
        raise UsageError(f"--root {options.root}: expected an address such as 0x4de000")
    first = [candidate for candidate in found.roots if candidate.address == options.root]
    others = [candidate for candidate in found.roots if candidate.address != options.root]
    if not first:
        blob = read_tree(space, options.root)
        if blob is None or blob.root is None:
            raise UsageError(f"--root {options.root:#x}: there is no device tree at this address")
        first = [Candidate(options.root, blob, text_property(blob.root, "compatible") or "")]
    return True, replace(found, roots=first + others)


def _nothing_found(space: AddressSpace, found: Scan) -> str:
    return (
        f"{space.info.path}: no KHO root: no page-aligned device tree whose compatible is kho-v*; "
        f"pages: {found.pages}, device trees: {found.trees}, boot pointers: "
        f"{len(found.pointers)}; if you know its address, give --root ADDR"
    )


def find_scratch(source: Source, chosen: RootCandidate) -> Scratch | Absent:
    """Scratch areas: as the user says, as boot data names them, or from an array found by scan."""
    options = source.options
    if options.scratch:
        return Scratch([Span(a, s) for a, s in options.scratch], "as --scratch says")
    if options.debugfs is not None:
        areas = debugfs_scratch(options.debugfs)
        if areas is not None:
            return areas
    named = [chosen.pointer] if chosen.pointer else []
    for pointer in named + source.found.pointers:
        areas = pointed_scratch(source, pointer)
        if areas is not None:
            return areas
    found = source.found
    if found.scratch and chosen.role is not Role.STALE:
        address, spans = found.scratch[0]
        if all(other == spans for _, other in found.scratch):
            return Scratch(spans, f"an array of scratch areas at {address:#x}", address)
    return Absent(Reason.NOT_CAPTURED, "no boot data and no array of scratch areas in this capture")


def debugfs_scratch(path: str) -> Scratch | None:
    """Scratch areas of a copy of debugfs.

    Raises:
        UsageError: it is not such a copy.
    """
    source = open_source(path)
    if not isinstance(source, DebugfsCopy):
        raise UsageError(f"--debugfs {path}: not a copy of /sys/kernel/debug/kho")
    return copied_scratch(source.trees, " of the debugfs copy")


def pointed_scratch(source: Source, pointer: BootPointer) -> Scratch | None:
    """Scratch areas as boot data names them."""
    if pointer.region:
        return Scratch([pointer.scratch], pointer.why)
    definition = source.registry.get("kho_scratch")
    area = source.registry.compile(definition, definition.content, source.geometry)
    count = min(pointer.scratch.size // area.size, 4096)
    areas = read_scratch(source.space, area, pointer.scratch.address, count)
    return Scratch(areas, pointer.why, pointer.scratch.address) if areas else None
