"""The full document: everything ``encode --mode preserve`` needs, beside what people read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import numpy as np

from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.decode.phase import phase_lines
from khotool.document.numbers import U64, rows
from khotool.document.regions import region_from_json, region_to_json
from khotool.document.slack import slack
from khotool.errors import EncodeError
from khotool.fdt.blob import FdtError
from khotool.limits import SHORT_ROWS
from khotool.model.image import UNPLACED, Image, Node
from khotool.model.region import Region, TableRegion, Write
from khotool.pages.runs import intersect, normalise
from khotool.structured import Document, Table, Value

ROOM = 1 << 20
"""Bytes of pages that may be empty."""
MAX_PAGES = 8 << 30
"""Bytes of metadata."""


def long_document(image: Image) -> dict[str, Any]:
    """The ``model`` part of ``dump --json --full``, arrays of many numbers as ``Long``.

    ``regions`` are the decoded records, tables, trees and maps; ``pages`` the pages of metadata
    that were captured; ``slack`` their bytes that no region explains, zeros left out.
    """
    fields = _value_nodes(image)
    pages = metadata_pages(image)
    return {
        "model": {
            "page_size": image.geometry.page_size,
            "endian": image.geometry.byteorder,
            "machine": image.info.machine,
            "vmcoreinfo": image.info.vmcoreinfo | phase_lines(image),
            "root": hex(image.tree.span.address) if image.tree.span else None,
            "abi": _single_choices(image),
            "regions": [
                region_to_json(region, image, fields)
                for region in image.regions
                if next(region.extents(), (0, 0))[0] < UNPLACED
            ],
            "pages": [[hex(int(a)), int(b) - int(a)] for a, b in pages.tolist()],
            "slack": [{"address": hex(a), "bytes": data.hex()} for a, data in slack(image, pages)],
        }
    }


def _single_choices(image: Image) -> dict[str, str]:
    """Layouts by string; where an image has several of one string, decoding chooses again."""
    several: dict[str, set[str]] = {}
    for choice in image.choices:
        several.setdefault(choice.definition, set()).add(choice.layout)
    return {string: found.pop() for string, found in several.items() if len(found) == 1}


def _value_nodes(image: Image) -> dict[int, Node]:
    return {
        node.span.address: node
        for node in image.tree.walk()
        if node.field is not None and node.span is not None
    }


def metadata_pages(image: Image) -> np.ndarray[Any, Any]:
    """Captured pages that hold metadata: (n, 2) uint64, physical start and end in bytes."""
    spans = [
        (address, size)
        for region in image.regions
        for address, size in region.extents()
        if address < UNPLACED and size
    ]
    spans += [(s.address, s.size) for s in image.anchors if s.address < UNPLACED and s.size]
    return captured_pages(image, spans)


def captured_pages(image: Image, spans: list[tuple[int, int]]) -> np.ndarray[Any, Any]:
    """The pages that spans touch, as far as they were captured: (n, 2) uint64."""
    page = image.geometry.page_size
    rows = [(a // page * page, min(-(-(a + n) // page) * page, (1 << 64) - page)) for a, n in spans]
    covered = normalise(np.array(rows, np.uint64).reshape(-1, 2))
    return intersect(covered, image.space.extents())


def render(pages: np.ndarray[Any, Any], writes: Iterator[Write]) -> list[bytearray]:
    """Lay writes over zeroed memory.

    Args:
        pages: (n, 2) uint64, ascending disjoint ranges; bytes outside them are dropped.
    """
    buffers = [bytearray(int(end) - int(start)) for start, end in pages.tolist()]
    starts, ends = pages[:, 0].tolist(), pages[:, 1].tolist()
    for address, data in writes:
        at = 0
        while at < len(data) and address + at < 1 << 64:
            row = bisect_right(starts, address + at) - 1
            if row < 0 or address + at >= ends[row]:
                following = starts[row + 1] if row + 1 < len(starts) else 1 << 64
                at = min(len(data), following - address)
                continue
            offset = address + at - starts[row]
            size = min(len(data) - at, len(buffers[row]) - offset)
            buffers[row][offset : offset + size] = data[at : at + size]
            at += size
    return buffers


def preserved_segments(
    document: Document, registry: Registry, short_rows: int = SHORT_ROWS
) -> tuple[list[tuple[int, bytearray]], Geometry]:
    """Memory at a dump's own addresses.

    Args:
        short_rows: of tables whose columns are given as one value and a count.

    Returns:
        physical address and contents of each run of pages; the geometry.

    Raises:
        StructuredError: the document is not what ``dump --json --full`` writes.
        EncodeError: a value of it does not fit.
    """
    model = document.root["model"].table()
    geometry = geometry_of(model)
    pages = _page_runs(model["pages"])
    tables = model["regions"].tables() if _are_few(model["regions"], short_rows) else ()
    regions = [region_from_json(one, registry, geometry) for one in tables]
    others = model["slack"].tables()
    left = [(one.integer("address"), one["bytes"].hexadecimal()) for one in others]
    document.check()
    whole = [region for region in regions if region is not None]
    _check_filled(model["pages"], pages, whole, len(left), geometry.page_size)
    document.check()

    def writes() -> Iterator[Write]:
        for number, region in enumerate(whole):
            try:
                yield from region.writes()
            except FdtError as error:
                raise EncodeError(f"model.regions[{number}].fdt", str(error)) from None
        yield from left

    buffers = render(pages, writes())
    segments = [(start, buffer) for (start, _), buffer in zip(pages.tolist(), buffers, strict=True)]
    return segments, geometry


def _page_runs(given: Value) -> U64:
    """Start and end of each run of pages, uint64 (n, 2)."""
    pages = rows(given, 2)
    pages[:, 1] += pages[:, 0]
    if bool((pages[:, 1] < pages[:, 0]).any()):
        given.mistake("outside the 64-bit address space")
        return pages[:0]
    pages = normalise(pages)
    if int((pages[:, 1] - pages[:, 0]).sum()) > MAX_PAGES:
        given.mistake(f"more than {MAX_PAGES} bytes of metadata")
    return pages


def _are_few(regions: Value, most: int) -> bool:
    """False, and a mistake, if tables have more rows than are made of one value and a count."""
    rows = 0
    for region in regions.raw if isinstance(regions.raw, list) else ():
        columns = region.get("columns") if isinstance(region, dict) else None
        given = columns.values() if isinstance(columns, dict) else ()
        counts = [column.get("count") for column in given if isinstance(column, dict)]
        rows += max((count for count in counts if isinstance(count, int)), default=0)
    if rows > most:
        regions.mistake(
            f"{rows} rows in columns of one value, and at most {most} are made; "
            "raise --limit bytes=N"
        )
    return rows <= most


def _check_filled(
    given: Value, pages: U64, regions: list[Region], slack_items: int, page: int
) -> None:
    """Note pages that nothing fills: memory for them is allocated."""
    described = ROOM + slack_items * 2 * page
    for region in regions:
        sizes = [size for _, size in region.extents()]
        # The extents of a table may claim any size.
        filled = region.records.nbytes if isinstance(region, TableRegion) else sum(sizes)
        described += filled + 2 * page * len(sizes)
    listed = int((pages[:, 1] - pages[:, 0]).sum())
    if listed > described:
        given.mistake(f"{listed} bytes, but the regions and slack fill at most {described}")


def geometry_of(model: Table) -> Geometry:
    """Page size and byte order of a model."""
    page_size = model.integer("page_size", least=4096, most=1 << 20)
    if page_size & (page_size - 1):
        model["page_size"].mistake(f"{page_size} is not a page size")
        page_size = 4096
    order = model.choice("endian", ("little", "big"))
    return Geometry(page_size, "big" if order == "big" else "little")
