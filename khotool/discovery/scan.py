"""Find KHO roots in memory without symbols: the first word of each page, then candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from khotool.abi.definition import Kind
from khotool.abi.geometry import Geometry
from khotool.abi.record import decode_record, decode_records
from khotool.abi.registry import Registry
from khotool.codec.layouts import PEEK
from khotool.codec.scene import FDT_MAGIC, SMALLEST_PAGE, read_tree
from khotool.codec.stream import roots_of
from khotool.discovery.bootdata import BootPointer, chosen_pointer, payloads
from khotool.fdt.blob import Blob, Problem
from khotool.fdt.parse import parse
from khotool.limits import Limits
from khotool.memory.space import AddressSpace, MemoryFault
from khotool.model.image import Span
from khotool.records import dataclass, field, replace

if TYPE_CHECKING:
    from khotool.abi.compile import CompiledStruct

FDT_MAGIC_WORD = 0xEDFE0DD0
"""The first four bytes of a device tree, read as a little-endian word."""
STREAM_MAGIC = 0x3B37778C
"""The first word of a KSTATE stream, in the image's byte order."""
MAX_STREAMS = 64
ROOT_WORD = b"preserved-memory-map\0"
MAX_DAMAGED = 64
"""Damaged roots that are read; an image holds a handful at most."""
SEARCHED = 1 << 30
"""Bytes that are searched for a damaged root where there is no whole one."""
MAX_CANDIDATES = 100_000
ROOT_SHARE, TREE_SHARE = 1024, 128
"""Divisors of the bytes to search, for the bytes of tokens to read in roots and in other trees.

Trees that overlap are each as long as the memory that holds them, so the tokens that are read
have to be counted, not the memory.
"""
SCRATCH_ALIGNMENT = 2 << 20
"""Scratch areas start on a pageblock; the smallest one of any supported kernel is 2 MiB."""
SEGMENT_ALIGNMENT = 64 << 10
"""The scratch array handed over is a kexec segment of this alignment."""
SMALL_IMAGE = 64 << 20
"""An image up to this many bytes is searched whole for setup_data."""

Progress = Callable[[int, int | None], None]


@dataclass(slots=True)
class Candidate:
    """A device tree whose root is a KHO root."""

    address: int
    blob: Blob
    compatible: str


@dataclass(slots=True)
class Scan:
    """Result of a scan.

    Args:
        streams: physical address of the page that names a KSTATE stream, by that of the KHO root
            which the stream names.
    """

    roots: list[Candidate] = field(default_factory=list)
    pointers: list[BootPointer] = field(default_factory=list)
    scratch: list[tuple[int, list[Span]]] = field(default_factory=list)
    pages: int = 0
    trees: int = 0
    unread: list[int] = field(default_factory=list)
    streams: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class FirstWords:
    """Addresses of pages, by what the first word of each may begin.

    Args:
        trees: device trees; streams: KSTATE streams; arrays: scratch arrays.
    """

    trees: list[int] = field(default_factory=list)
    streams: list[int] = field(default_factory=list)
    arrays: list[int] = field(default_factory=list)

    def add(self, base: int, first: NDArray[np.uint64], byteorder: str) -> None:
        """Sort the pages from a physical address on.

        Args:
            first: the first word of each page, read as little-endian, (n,) uint64.
        """
        value = first.byteswap() if byteorder == "big" else first
        low = np.uint64(0xFFFFFFFF)
        aligned = (value & np.uint64(SCRATCH_ALIGNMENT - 1)) == 0
        for pages, matches, most in (
            (self.trees, (first & low) == FDT_MAGIC_WORD, MAX_CANDIDATES),
            (self.streams, (value & low) == STREAM_MAGIC, MAX_STREAMS),
            (self.arrays, aligned & (value != 0) & (value < np.uint64(1 << 52)), MAX_CANDIDATES),
        ):
            found = np.flatnonzero(matches)[: most - len(pages)]
            pages += [base + int(i) * SMALLEST_PAGE for i in found]


def scan(
    space: AddressSpace,
    registry: Registry,
    byteorder: str,
    limits: Limits,
    progress: Progress | None = None,
) -> Scan:
    """Look at the first word of every page, then at the pages it makes interesting.

    Args:
        byteorder: of native integers in the image, ``little`` or ``big``.
        progress: called with pages seen and pages in all.
    """
    result = Scan()
    geometry = Geometry(SMALLEST_PAGE, "big" if byteorder == "big" else "little")
    scratch = registry.get("kho_scratch")
    area = registry.compile(scratch, scratch.content, geometry)
    extents = space.extents()
    total = int((extents[:, 1] - extents[:, 0]).sum()) // SMALLEST_PAGE if len(extents) else 0
    pages = FirstWords()
    for base, words in space.first_words(SMALLEST_PAGE):
        # Words a page apart all share a few lines of the cache: they are fetched once.
        first = np.ascontiguousarray(words[:, 0])
        result.pages += len(first)
        pages.add(base, first, byteorder)
        if progress is not None:
            progress(result.pages, total)
    result.trees = len(pages.trees)
    _look_at_trees(space, registry, geometry, pages.trees, result, limits)
    if not result.roots:
        _look_for_damaged(space, result)
    if pages.streams and result.roots:
        result.streams = _streams(space, registry, geometry, pages.streams)
    for address in pages.arrays:
        areas = read_scratch(space, area, address)
        if areas:
            result.scratch.append((address, areas))
    if byteorder == "little":
        result.pointers += _setup_data(space, registry, geometry, result, limits)
    result.pointers = [pointer for pointer in result.pointers if credible(space, area, pointer)]
    return result


def _streams(
    space: AddressSpace, registry: Registry, geometry: Geometry, streams: list[int]
) -> dict[int, int]:
    """Pages that name KSTATE streams, by the KHO roots that the streams name."""
    holders: dict[int, int] = {}
    wanted = np.array(streams, np.uint64)
    for base, words in space.first_words(SMALLEST_PAGE):
        first = words[:, 0].byteswap() if geometry.byteorder == "big" else words[:, 0]
        for i in np.flatnonzero(np.isin(first, wanted))[:MAX_STREAMS]:
            holders.setdefault(int(first[i]), base + int(i) * SMALLEST_PAGE)
    found: dict[int, int] = {}
    for stream, holder in sorted(holders.items()):
        try:
            data = space.read(stream, SMALLEST_PAGE)
        except MemoryFault:
            continue
        for root in roots_of(data, registry, geometry):
            found.setdefault(root, holder)
    return found


def credible(space: AddressSpace, area: CompiledStruct, pointer: BootPointer) -> bool:
    """True for boot data that the kernel booted with, not that it prepares for the next one.

    kexec puts its segments into scratch, so boot data in use lies inside an area of the array it
    names. Before kexec the same bytes wait elsewhere, and the array's place holds other data.
    """
    if pointer.region:
        return pointer.scratch.address <= pointer.where.address < pointer.scratch.end
    if not space.contains(pointer.scratch.address, area.size):
        return True
    count = min(pointer.scratch.size // area.size, 4096)
    areas = read_scratch(space, area, pointer.scratch.address, count)
    return any(span.address <= pointer.where.address < span.end for span in areas)


def _look_at_trees(
    space: AddressSpace,
    registry: Registry,
    geometry: Geometry,
    trees: list[int],
    result: Scan,
    limits: Limits,
) -> None:
    """Sort device trees into KHO roots, boot data, and others; none is read further than needed."""
    roots: list[tuple[int, int, str]] = []
    rest: list[int] = []
    left = limits.scan // TREE_SHARE
    for address in trees:
        blob = read_tree(space, address, PEEK)
        if blob is None or blob.root is None:
            continue
        left -= len(blob.data) // 64
        compatible = blob.root.get("compatible")
        text = compatible.value.split(b"\0")[0].decode("latin-1") if compatible else ""
        if registry.match(Kind.ROOT, "compatible", text) or (
            text.startswith("kho-v") and blob.root.get("preserved-memory-map")
        ):
            roots.append((len(blob.data), address, text))
        else:
            rest.append(address)
    _read_roots(space, sorted(roots), result, limits)
    for address in rest:
        if left <= 0:
            result.unread.append(address)
            continue
        blob = read_tree(space, address)
        if blob is None:
            continue
        left -= max(0, blob.struct_end - blob.off_dt_struct)
        pointer = chosen_pointer(blob, address, registry, geometry)
        if pointer is not None:
            result.pointers.append(pointer)


def _read_roots(
    space: AddressSpace, roots: list[tuple[int, int, str]], result: Scan, limits: Limits
) -> None:
    """Read roots given as (bytes, address, compatible), small ones first: real ones are small."""
    left = limits.scan // ROOT_SHARE
    for _, address, text in roots:
        blob = read_tree(space, address) if left > 0 else None
        if blob is None:
            result.unread.append(address)
            continue
        left -= max(0, blob.struct_end - blob.off_dt_struct)
        result.roots.append(Candidate(address, blob, text))
    result.roots.sort(key=lambda candidate: candidate.address)


def _look_for_damaged(space: AddressSpace, result: Scan) -> None:
    """Find pages with the property names of a root, but without its magic or compatible string."""
    seen: set[int] = set()
    for start, end in space.extents().tolist():
        for match in space.find(ROOT_WORD, start, end, SEARCHED):
            address = match & -SMALLEST_PAGE
            if address in seen or not space.contains(address, SMALLEST_PAGE):
                continue
            seen.add(address)
            if len(result.roots) == MAX_DAMAGED:
                return
            raw = bytes(space.read(address, SMALLEST_PAGE))
            blob = parse(FDT_MAGIC + raw[4:])
            root = blob.root
            if root is None or root.get("preserved-memory-map") is None:
                continue
            if raw[:4] != FDT_MAGIC:
                problem = Problem("bad-magic", 0, f"magic is 0x{raw[:4].hex()}")
                blob.problems.insert(0, problem)
                blob = replace(blob, data=raw[: len(blob.data)], complete=False)
            prop = root.get("compatible")
            text = prop.value.split(b"\0")[0].decode("latin-1") if prop else ""
            result.roots.append(Candidate(address, blob, text))


def read_scratch(
    space: AddressSpace, area: CompiledStruct, address: int, count: int | None = None
) -> list[Span]:
    """An array of scratch areas, or nothing if the bytes cannot be one.

    Args:
        area: compiled ``kho_scratch``.
        count: areas where a pointer gives their number; else the array ends at the first 0 and
            has to pass for one: three areas or more, aligned, disjoint, followed by zeros.
    """
    try:
        data = space.read(address, area.size * count if count is not None else SMALLEST_PAGE)
    except (MemoryFault, OverflowError):
        return []
    used = len(data) // area.size
    if count is None:
        places = range(0, used * area.size, area.size)
        empty = bytes(area.size)
        used = next((n for n, at in enumerate(places) if data[at : at + area.size] == empty), 0)
        if used < 3 or any(data[used * area.size :]):
            return []
    areas = [Span(row["address"], row["size"]) for row in decode_records(area, data, used)]
    return areas if count is not None or are_sound(areas) else []


def are_sound(areas: list[Span]) -> bool:
    """True for scratch areas that are aligned, not empty, and apart from each other."""
    ordered = sorted(areas, key=lambda span: span.address)
    return all(
        not span.address % SCRATCH_ALIGNMENT and span.size and not span.size % SMALLEST_PAGE
        for span in areas
    ) and all(a.end <= b.address for a, b in pairwise(ordered))


def _setup_data(
    space: AddressSpace, registry: Registry, geometry: Geometry, result: Scan, limits: Limits
) -> Iterator[BootPointer]:
    roots = {candidate.address for candidate in result.roots}
    seen: set[int] = set()
    windows = _search_windows(space, result, limits)
    for payload in payloads(registry, geometry):
        kind = payload.header.by_label("type").offset
        needle = payload.number.to_bytes(4, "little") + payload.data.size.to_bytes(4, "little")
        for start, end in windows:
            for at in space.find(needle, start, end, limits.scan):
                node = at - kind
                if node in seen or node % 8:
                    continue
                seen.add(node)
                try:
                    data = space.read(node, payload.size)
                except MemoryFault:
                    continue
                values: dict[str, Any] = decode_record(payload.data, data[payload.header.size :])
                if values["fdt_addr"] in roots and values["scratch_size"]:
                    yield payload.pointer(values, node, registry)


def _search_windows(space: AddressSpace, result: Scan, limits: Limits) -> list[tuple[int, int]]:
    """Where setup_data can be: anywhere in a small image, else beside a scratch array.

    kexec puts its segments into scratch, from the top down, so that setup_data is in the
    very area that holds the array; an array in no area of its own is not one that was handed
    over.
    """
    extents = space.extents()
    if not len(extents) or not result.roots:
        return []
    if int((extents[:, 1] - extents[:, 0]).sum()) <= SMALL_IMAGE:
        return [(int(start), int(end)) for start, end in extents.tolist()]
    windows: list[tuple[int, int]] = []
    left = limits.scan
    for address, areas in result.scratch:
        if address % SEGMENT_ALIGNMENT:
            continue
        for area in areas:
            if area.address <= address < area.end and left > 0:
                windows.append((area.address, min(area.end, area.address + left)))
                left -= area.size
    return windows
