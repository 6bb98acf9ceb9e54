"""All that the laboratory wants from the rest of khotool, in one place.

Rooms around this one may change their functions; what changes here is this module.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.absent import Absent
from khotool.errors import EncodeError, InputError, KhotoolError, UsageError

if TYPE_CHECKING:
    from khotool.abi.registry import Registry
    from khotool.discovery.options import OpenOptions
    from khotool.encode.fresh import Built
    from khotool.handover.values import Handover
    from khotool.model.image import Image, Node

Range = tuple[int, int]
"""First physical address, and the one after the last."""
UNPLACED = 1 << 63


@dataclass(frozen=True, slots=True)
class HandedFile:
    """A file of a session, as an image has it; None for what could not be read.

    Args:
        token: None where it could not be read.
        size: bytes.
        position: bytes.
        node: gives the contents.
    """

    token: int | None
    handler: str
    size: int | None
    position: int | None
    seals: int | None
    node: Node


@dataclass(frozen=True, slots=True)
class HandedSession:
    """A session of an image."""

    name: str
    files: list[HandedFile]


@dataclass(frozen=True, slots=True)
class HandedRegion:
    """A region of reserve_mem: physical address and bytes, where they could be read."""

    name: str
    start: int | None
    size: int | None


@dataclass(slots=True)
class Contents:
    """What an image hands over."""

    regions: list[HandedRegion] = field(default_factory=list)
    sessions: list[HandedSession] = field(default_factory=list)
    flbs: list[str] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Memory:
    """What is where in an image; ranges are sorted and disjoint.

    Args:
        root: physical address of the KHO root.
        captured: memory whose bytes are known.
        metadata: what was decoded.
        kept: preserved pages that something in the handover owns.
        stray: preserved pages that nothing owns: leaks, or damage of the map.
        scratch: areas that the kernel which wrote the image set aside, as ranges.
    """

    root: int
    page_size: int
    captured: list[Range]
    metadata: list[Range]
    kept: list[Range]
    stray: list[Range]
    scratch: list[Range]


def read_whole(path: str, limit: int) -> bytes:
    """All bytes of a file, expanded if it is compressed.

    Raises:
        InputError: no such file, or one that expands to more than ``limit`` bytes.
    """
    from khotool.memory.wholefile import whole_file

    with whole_file(path, limit) as data:
        return bytes(data)


def expand_zstd(data: bytes, limit: int) -> bytes:
    """One zstd frame, whatever follows it; at most ``limit`` bytes.

    Raises:
        ValueError: it does not decompress, or this Python has no zstd.
    """
    from khotool.memory.compression import zstd_module

    module = zstd_module()
    if module is None:
        raise ValueError("no zstd")
    try:
        return module.ZstdDecompressor().decompress(data, limit)
    except module.ZstdError as error:
        raise ValueError(str(error)) from None


# -- images -----------------------------------------------------------------------------------


def open_handover(path: str, options: OpenOptions | None = None) -> Image:
    """Open a capture, a full dump or a manifest.

    Raises:
        KhotoolError: it does not open.
        InputError: it holds no memory that a kernel could be started on.
    """
    from khotool.opening.load import load_image

    image = load_image(path, options)
    span = image.tree.span
    if span is None or span.address >= UNPLACED:
        raise InputError(f"{path}: trees alone, without the memory they point to; nothing to boot")
    return image


def open_ram(
    data: list[tuple[int, memoryview]],
    banks: list[Range],
    release: str | None,
    page_size: int | None,
    machine: str,
) -> Image:
    """Decode the handover in a guest's RAM.

    Args:
        data: physical address and bytes of what is not zero.
        banks: all of RAM.
        release: of the kernel that wrote it, for the formats that depend on it.

    Raises:
        InputError: there is no handover in it.
    """
    from khotool.decode.open import load_definitions, open_memory
    from khotool.discovery.options import OpenOptions
    from khotool.memory.segments import Segment, SegmentedSpace
    from khotool.memory.space import SourceInfo

    info = SourceInfo("the guest's memory", "raw", page_size=page_size, endian="little")
    info.osrelease, info.machine = release, machine
    segments = [Segment(at, at + len(view), view) for at, view in data]
    segments += [Segment(start, end, None, "zero") for start, end in banks]
    options = OpenOptions(page_size=page_size)
    return open_memory(SegmentedSpace(info, segments), load_definitions(options), options)


def contents_of(image: Image) -> Contents:
    """What an image hands over, by name."""
    from khotool.view.image import ImageView

    view = ImageView(image)
    found = Contents(entries=[entry.name for entry in view.entries])
    for region in view.reserve_mem:
        name = region.name
        if isinstance(name, str):
            found.regions.append(HandedRegion(name, _known(region.start), _known(region.size)))
    for session in view.luo.sessions:
        if not isinstance(session.name, Absent):
            files = [_file(file.node, file.token, file.handler) for file in session.files]
            found.sessions.append(HandedSession(session.name, files))
    found.flbs = [flb.name for flb in view.luo.flbs if isinstance(flb.name, str)]
    return found


def _known(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _file(node: Node, token: int | Absent, handler: str | Absent) -> HandedFile:
    data = node.get("data")
    size, position, seals = (
        _known(data.value_of(name)) if data is not None else None for name in ("size", "pos", "seals")
    )
    return HandedFile(
        _known(token),
        handler if isinstance(handler, str) else "",
        size,
        position,
        seals,
        node,
    )


def memory_of(image: Image) -> Memory:
    """What is where in an image."""
    span = image.tree.span
    ranges = [extent for region in image.regions for extent in region.extents()]
    ranges += [(anchor.address, anchor.size) for anchor in image.anchors]
    kept: list[Range] = []
    stray: list[Range] = []
    owned = image.ownership()
    if owned is not None:
        page = image.geometry.page_size
        rows = zip(
            owned.ranges.start.tolist(),
            owned.ranges.pages.tolist(),
            owned.ranges.owner.tolist(),
            strict=True,
        )
        for start, pages, owner in rows:
            (kept if owner >= 0 else stray).append((int(start), int(start) + int(pages) * page))
    scratch = [] if isinstance(image.scratch, Absent) else image.scratch.areas
    return Memory(
        root=span.address if span is not None else 0,
        page_size=image.geometry.page_size,
        captured=_merge((int(a), int(b)) for a, b in image.space.extents().tolist()),
        metadata=_merge((address, address + size) for address, size in ranges),
        kept=_merge(kept),
        stray=_merge(stray),
        scratch=[(area.address, area.end) for area in scratch],
    )


def _merge(ranges: Iterator[Range] | list[Range]) -> list[Range]:
    merged: list[Range] = []
    for start, end in sorted(r for r in ranges if r[0] < r[1] and r[0] < UNPLACED):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def read_pieces(image: Image, ranges: list[Range], piece: int = 16 << 20) -> Iterator[tuple[int, bytes]]:
    """Captured bytes of ranges of physical memory: address and contents of each piece."""
    from khotool.memory.space import MemoryFault

    for start, end in ranges:
        for at in range(start, end, piece):
            try:
                yield at, bytes(image.space.read(at, min(piece, end - at)))
            except MemoryFault:
                continue


def digest(image: Image, node: Node, filler: list[tuple[int, bytes]] | None = None) -> str | None:
    """SHA-256 of the contents of a file, in hexadecimal; None if some of them are not captured.

    Args:
        filler: physical address and bytes of memory that is not captured.
    """
    from khotool.extract.select import payload_plan
    from khotool.extract.sparse import Hashing
    from khotool.extract.write import write_plan
    from khotool.memory.overlay import OverlaySpace

    sink = Hashing(None, hashlib.sha256())
    space = OverlaySpace(image.space, filler) if filler else image.space
    try:
        write_plan(payload_plan(image, node), space, sink)
    except KhotoolError:
        return None
    return sink.hexdigest()


def missing_memory(image: Image, node: Node) -> list[Range]:
    """Ranges of physical memory that hold the contents of a file and are not captured."""
    from khotool.extract.select import payload_plan
    from khotool.pages.runs import normalise, subtract

    try:
        plan = payload_plan(image, node)
    except KhotoolError:
        return []
    wanted = normalise(np.stack([plan.address, plan.address + plan.length], axis=1))
    return [(int(a), int(b)) for a, b in subtract(wanted, image.space.extents()).tolist()]


def machine_of(image: Image) -> str | None:
    """Machine of the kernel whose memory an image is, as ``uname -m`` says it."""
    return image.info.machine


def predict(image: Image, release: str) -> dict[str, Any] | None:
    """The verdict of ``check --kernel``; None for a release that khotool has no model of."""
    from khotool.check.kernels import verdict_document

    try:
        return verdict_document(image, release)
    except UsageError:
        return None


# -- writing ----------------------------------------------------------------------------------


def write_image(
    path: str,
    segments: Iterator[tuple[int, bytes]],
    machine: str,
    release: str | None,
    page_size: int,
) -> None:
    """Write memory as an ELF core; the file appears complete or not at all.

    Raises:
        KhotoolError: it cannot be written.
    """
    from khotool.encode.fresh import NO_PAGE_TABLES
    from khotool.memory.writer import write_elf

    notes = {"OSRELEASE": release} if release else {}
    notes |= {"PAGESIZE": str(page_size)} | NO_PAGE_TABLES
    write_elf(path, segments, endian="little", machine=machine, vmcoreinfo=notes, align=page_size)


def write_file(path: str, data: bytes) -> None:
    """Write a file, complete or not at all.

    Raises:
        KhotoolError: it cannot be written.
    """
    from khotool.memory.atomic import replacing

    with replacing(path) as file:
        file.write(data)


# -- manifests --------------------------------------------------------------------------------


def registry() -> Registry:
    """The definitions that come with khotool."""
    from khotool.abi.registry import load_registry

    return load_registry([])


def read_manifest(path: str, release: str, page_size: int) -> tuple[dict[str, Any], Handover]:
    """A manifest, read for a kernel: its document, and what it hands over.

    Args:
        release: of the kernel; replaces the manifest's ``abi`` as far as a set is known.
        page_size: of the kernel, in bytes, where the manifest does not say it.

    Raises:
        KhotoolError: no such file, or a mistake in it.
        UsageError: it is a full dump, or was written for pages of another size.
    """
    from khotool.opening.models import read_model

    model = read_model(path)
    if model.is_dump:
        raise UsageError(f"{path}: a full dump; a kernel preserves what a manifest says")
    document = dict(model.document)
    if document.setdefault("page_size", page_size) != page_size:
        raise UsageError(
            f"{path}: page_size = {document['page_size']!r}, but this kernel has pages of {page_size} "
            "bytes"
        )
    return model.document, handover_of(document, release, Path(path).name, Path(path).parent)


def handover_of(document: dict[str, Any], release: str, name: str, folder: Path) -> Handover:
    """What the document of a manifest hands over, as the set of a release carries it.

    Raises:
        EncodeError: a mistake in it, or something that the set does not carry.
    """
    from khotool.manifest.read import Manifest

    known = registry()
    wanted = dict(document)
    found = known.set_for(release)
    if found is not None:
        wanted["abi"] = found.id
    elif "abi" not in wanted:
        raise EncodeError(name, f"no ABI set has release {release}; say which with 'abi'")
    return Manifest(wanted, name, folder, known).handover()


def build(document: dict[str, Any], name: str = "sample.toml") -> Built:
    """The image that ``encode`` makes of a manifest.

    Raises:
        EncodeError: a mistake in it.
    """
    from khotool.opening.models import Model, build_model

    return build_model(Model(Path(name), document, False), registry())


def decode(built: Built) -> Image:
    """The image of a model, as a reader sees it.

    Raises:
        KhotoolError: it does not open.
    """
    from khotool.encode.reopen import image_of

    return image_of(built, registry())


# -- device trees -----------------------------------------------------------------------------


def with_chosen(tree: bytes, properties: dict[str, bytes]) -> bytes:
    """A device tree with properties of /chosen set; without those that choose random numbers.

    Raises:
        InputError: it is not a device tree.
    """
    from khotool.fdt.blob import FdtError, Node, Property
    from khotool.fdt.parse import parse
    from khotool.fdt.write import build_sequential

    try:
        root = parse(tree).root
    except FdtError as error:
        raise InputError(f"the machine's device tree: {error}") from None
    if root is None:
        raise InputError("the machine's device tree has no root")
    chosen = root.child("chosen")
    if chosen is None:
        chosen = Node("chosen")
        root.items.append(chosen)
    dropped = {*properties, "kaslr-seed", "rng-seed"}
    kept = [i for i in chosen.items if not (isinstance(i, Property) and i.name in dropped)]
    chosen.items[:] = [Property(name, value) for name, value in properties.items()] + kept
    return build_sequential(root)


def same_file(left: str, right: str) -> bool:
    """True if two names are one file."""
    try:
        return os.path.samefile(left, right)
    except OSError:
        return False


def test_is_captured(image: Image) -> bool:
    """True if all folios of the kernel's own test are captured, so that its checksum can be right."""
    from khotool.extract.select import payload_plan

    entry = image.entry("kho_test")
    folios = entry.get("folios") if entry is not None else None
    if folios is None or folios.table is None:
        return True
    extents = image.space.extents()
    for row in range(min(len(folios.table), 4096)):
        node = _row(folios, row)
        if node is None:
            return False
        try:
            if len(payload_plan(image, node).missing(extents)):
                return False
        except KhotoolError:
            continue
    return True


def _row(folios: Node, index: int) -> Node | None:
    from khotool.model.lookup import table_row

    return table_row(folios, index)


def reference_of(path: str) -> Image | None:
    """The image that a recipe was before it was damaged; None for anything else.

    Raises:
        KhotoolError: the recipe does not build.
    """
    from khotool.opening.models import build_model, read_model
    from khotool.opening.recognise import looks_like_model

    if not os.path.isfile(path) or not looks_like_model(path):
        return None
    model = read_model(path)
    if model.is_dump or not model.document.get("mutate"):
        return None
    model.document = {key: value for key, value in model.document.items() if key != "mutate"}
    return decode(build_model(model, registry()))


HERE = Path()


def sha256(data: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def pages_of(ranges: list[Range], page: int) -> list[Range]:
    """Ranges widened to whole pages, sorted and disjoint."""
    return _merge((start // page * page, -(-end // page) * page) for start, end in ranges)


def without_unknown(document: dict[str, Any], release: str) -> dict[str, Any]:
    """A manifest without what the set of a release does not carry."""
    found = registry().set_for(release)
    entries = {"reserve_mem": "memblock", "kho_test": "kho_test", "session": "LUO"}
    return {
        key: value
        for key, value in document.items()
        if found is None or key not in entries or entries[key] in found.entries
    }


# -- comparing --------------------------------------------------------------------------------


def findings_of(image: Image) -> list[tuple[str, str, str]]:
    """Findings of ``check``: severity, rule, and one line for a person."""
    from khotool.check.catalogue import severity
    from khotool.check.run import check_image

    return [
        (str(severity(found.rule)), found.rule, f"{found.path}: {found.message}")
        for found in check_image(image)
    ]


def diff_lines(old: Image, new: Image) -> list[str]:
    """What differs between two images whatever the addresses, contents included; one line each."""
    from khotool.diff.changes import DiffOptions
    from khotool.diff.compare import compare

    result = compare(old, new, DiffOptions(contents=True), None)
    return [f"{change.kind} {change.path}" for change in result.changes]


def btf_differences(data: bytes, release: str, page_size: int) -> tuple[int, list[str]]:
    """A kernel's type information beside the definitions of its set: structs, differences.

    Raises:
        KhotoolError: it is not BTF, or khotool knows no set of this release.
    """
    from khotool.abi.geometry import Geometry
    from khotool.authoring.btf import Btf
    from khotool.authoring.compare_btf import compare_set

    known = registry()
    abi = known.set_for(release)
    if abi is None:
        raise UsageError(f"no ABI set has release {release}")
    compared, differences = compare_set(Btf(data), abi, known, Geometry(page_size))
    return compared, [
        f"{d.definition} {d.struct}{'.' if d.field else ''}{d.field}: {d.message}"
        for d in differences
    ]


def btf_section(vmlinux: bytes) -> bytes | None:
    """The section .BTF of an ELF kernel; None without one."""
    from khotool.memory.sections import find_section

    found = find_section("kernel", memoryview(vmlinux), ".BTF")
    return None if found is None else bytes(found)


# -- many images ------------------------------------------------------------------------------


def set_of_release(release: str) -> str | None:
    """Id of the ABI set that a release speaks; None where khotool has none."""
    found = registry().set_for(release)
    return None if found is None else found.id


def samples() -> Iterator[tuple[str, dict[str, Any]]]:
    """For every ABI set its id, and a manifest of everything that it carries."""
    from khotool.fixture.fuzz import sample

    for identifier, abi in registry().sets.items():
        yield identifier, sample(abi)


@dataclass(frozen=True, slots=True)
class Damaged:
    """An image with damage: what was changed, as a recipe has it, and the image."""

    mutations: list[dict[str, Any]]
    image: Image


def packed(image: Image) -> Built:
    """What decodes of an image, with its payload, to be changed."""
    from khotool.encode.pack import pack_image

    return pack_image(image, payload=True)


def damage(base: Built, count: int, seed: int, most: int) -> Iterator[Damaged]:
    """Damaged copies of an image that still open; the same seed gives the same copies."""
    from khotool.fixture.fuzz import mutants

    for mutant in mutants(base, registry(), count, seed, most):
        if not mutant.error:
            try:
                yield Damaged(mutant.mutations, decode(mutant.built))
            except KhotoolError:
                continue


def mutated(base: Built, mutations: list[dict[str, Any]]) -> Image:
    """A copy of an image with some damage.

    Raises:
        KhotoolError: it cannot be applied, or nothing opens any more.
    """
    import copy

    from khotool.fixture.mutate import apply_mutations

    changed = copy.copy(base)
    changed.segments = list(base.segments)
    return decode(apply_mutations(changed, mutations, registry(), "damage"))


def recipe(path: str) -> dict[str, Any]:
    """The document of a recipe or manifest.

    Raises:
        KhotoolError: it cannot be read.
    """
    from khotool.opening.models import read_model

    return dict(read_model(path).document)


def from_segments(
    segments: list[tuple[int, bytes]], machine: str, release: str | None, page_size: int
) -> Image:
    """The image in some memory, as a reader of the file that it is written to sees it.

    Raises:
        KhotoolError: there is no handover in it.
    """
    data = [(address, memoryview(view)) for address, view in segments]
    return open_ram(data, [], release, page_size, machine)


def choices_of(image: Image, document: dict[str, Any]) -> dict[str, Any]:
    """What a kernel chose itself, as keys of a manifest: its test, FLBs, counts."""
    from khotool.view.image import ImageView

    chosen: dict[str, Any] = {}
    test = image.entry("kho_test")
    folios = test.get("folios") if test is not None else None
    if test is not None and folios is not None and folios.table is not None and "kho_test" in document:
        orders = folios.table.column("order").tolist()
        chosen["kho_test"] = {"orders": orders, "csum": test.value_of("csum")}
    flbs = [
        {"name": flb.name, "data": flb.data, "count": flb.count}
        for flb in ImageView(image).luo.flbs
        if isinstance(flb.name, str) and isinstance(flb.data, int) and isinstance(flb.count, int)
    ]
    return chosen | ({"flb": flbs} if flbs else {})
