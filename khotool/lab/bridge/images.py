"""Images as the laboratory sees them: what they hand over, what is where, what is predicted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.absent import Absent
from khotool.errors import InputError, KhotoolError, UsageError
from khotool.lab.bridge.making import decode, registry
from khotool.records import dataclass, field

if TYPE_CHECKING:
    from khotool.limits import OpenOptions
    from khotool.model.image import Image, Node

Range = tuple[int, int]
"""First physical address, and the one after the last."""
UNPLACED = 1 << 63
"""From here up addresses are invented for trees whose place is not captured."""
PIECE = 16 << 20
MOST_FOLIOS = 4096
"""Folios of the kernel's test that are looked at."""


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
    from khotool.limits import OpenOptions
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
    # A record of zeros is the rest of the page, and nobody asks for it.
    found.flbs = [flb.name for flb in view.luo.flbs if isinstance(flb.name, str) and flb.name]
    return found


def _known(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _file(node: Node, token: int | Absent, handler: str | Absent) -> HandedFile:
    data = node.get("data")
    size, position, seals = (
        _known(data.value_of(name)) if data is not None else None
        for name in ("size", "pos", "seals")
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
        captured=captured(image),
        metadata=_merge((address, address + size) for address, size in ranges),
        kept=_merge(kept),
        stray=_merge(stray),
        scratch=[(area.address, area.end) for area in scratch],
    )


def captured(image: Image) -> list[Range]:
    """Memory whose bytes an image has."""
    return _merge((int(a), int(b)) for a, b in image.space.extents().tolist())


def _merge(ranges: Iterable[Range]) -> list[Range]:
    merged: list[Range] = []
    for start, end in sorted(r for r in ranges if r[0] < r[1] and r[0] < UNPLACED):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def read_pieces(
    image: Image, ranges: list[Range], piece: int = PIECE
) -> Iterator[tuple[int, bytes]]:
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


def predict(
    image: Image, release: str, memory: list[Range], used: list[Range]
) -> dict[str, Any] | None:
    """The verdict of ``check --kernel``; None for a release that khotool has no model of.

    Args:
        memory: of the machine, which is empty where the image has nothing.
        used: memory that is not empty all the same, or that the kernel has by then.
    """
    from khotool.check.kernels import verdict_document
    from khotool.pages.runs import subtract

    given, taken = (np.array(_merge(ranges), np.uint64).reshape(-1, 2) for ranges in (memory, used))
    blank = tuple((int(start), int(end)) for start, end in subtract(given, taken).tolist())
    try:
        return verdict_document(image, release, memory=tuple(memory), blank=blank)
    except UsageError:
        return None


def test_is_captured(image: Image) -> bool:
    """True if the sum of the kernel's own test can be right: its folios are captured, or empty."""
    from khotool.extract.select import payload_plan

    entry = image.entry("kho_test")
    if entry is not None and entry.value_of("csum") == 0:
        # The sum of memory that holds nothing yet.
        return True
    folios = entry.get("folios") if entry is not None else None
    if folios is None or folios.table is None:
        return True
    extents = image.space.extents()
    for row in range(min(len(folios.table), MOST_FOLIOS)):
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
    from khotool.opening.models import Model, build_model, read_model
    from khotool.opening.recognise import looks_like_model

    if not os.path.isfile(path) or not looks_like_model(path):
        return None
    model = read_model(path)
    if model.is_dump or not model.document.get("mutate"):
        return None
    whole = {key: value for key, value in model.document.items() if key != "mutate"}
    return decode(build_model(Model.of(model.path, whole), registry()))


def pages_of(ranges: list[Range], page: int) -> list[Range]:
    """Ranges widened to whole pages, sorted and disjoint."""
    return _merge((start // page * page, -(-end // page) * page) for start, end in ranges)


def findings_of(image: Image) -> list[tuple[str, str, str]]:
    """Findings of ``check``: severity, rule, path."""
    from khotool.check.catalogue import severity
    from khotool.check.run import check_image

    return [(str(severity(f.rule)), f.rule, f.path) for f in check_image(image)]


def diff_lines(old: Image, new: Image) -> list[str]:
    """What differs between two images whatever the addresses, contents included; one line each."""
    from khotool.diff.changes import DiffOptions
    from khotool.diff.compare import compare

    result = compare(old, new, DiffOptions(contents=True), None)
    return [f"{change.kind} {change.path}" for change in result.changes]


def from_segments(
    segments: list[tuple[int, bytes]], machine: str, release: str | None, page_size: int
) -> Image:
    """The image in some memory, as a reader of the file that it is written to sees it.

    Raises:
        KhotoolError: there is no handover in it.
    """
    data = [(address, memoryview(view)) for address, view in segments]
    return open_ram(data, [], release, page_size, machine)
