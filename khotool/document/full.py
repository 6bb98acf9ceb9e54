"""The full document: everything ``encode --mode preserve`` needs, beside what people read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import numpy as np

from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.decode.phase import phase_lines
from khotool.document.json_input import take, word
from khotool.document.long import plain
from khotool.document.regions import region_from_json, region_to_json
from khotool.document.slack import slack
from khotool.errors import EncodeError
from khotool.fdt.blob import FdtError
from khotool.model.image import UNPLACED, Image, Node
from khotool.model.region import Region, TableRegion, Write
from khotool.pages.runs import normalise

ROOM = 1 << 20
"""Bytes of pages that may be empty."""


def full_document(image: Image) -> dict[str, Any]:
    """The ``model`` part of ``dump --json --full``: :func:`long_document` in plain lists."""
    made: dict[str, Any] = plain(long_document(image))
    return made


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
    from khotool.pages.runs import intersect

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
    document: dict[str, Any], registry: Registry
) -> tuple[list[tuple[int, bytearray]], Geometry, dict[str, Any]]:
    """Memory at the model's own addresses.

    Returns:
        physical address and contents of each run of pages; the geometry; the model.

    Raises:
        EncodeError: the document is not what ``dump --json --full`` writes; names the key.
    """
    model = take(document, "model", dict, "document")
    geometry = geometry_of(model)
    pages = np.array(
        [
            _page_run(row, f"model.pages[{i}]")
            for i, row in enumerate(take(model, "pages", list, "model"))
        ],
        np.uint64,
    ).reshape(-1, 2)
    pages = normalise(pages)
    if len(pages) and int((pages[:, 1] - pages[:, 0]).sum()) > 8 << 30:
        raise EncodeError("model.pages", "more than 8 GiB of metadata")

    given = take(model, "regions", list, "model")
    regions = [
        (f"model.regions[{i}]", region_from_json(data, f"model.regions[{i}]", registry, geometry))
        for i, data in enumerate(given)
    ]
    left = take(model, "slack", list, "model")
    _refuse_empty_pages(pages, [region for _, region in regions], len(left), geometry.page_size)

    def writes() -> Iterator[Write]:
        for where, region in regions:
            try:
                yield from region.writes()
            except FdtError as error:
                raise EncodeError(f"{where}.fdt", str(error)) from None
        for index, item in enumerate(left):
            where = f"model.slack[{index}]"
            try:
                yield word(item["address"], where), bytes.fromhex(item["bytes"])
            except (KeyError, TypeError, ValueError):
                raise EncodeError(where, "expected address and hexadecimal bytes") from None

    buffers = render(pages, writes())
    segments = [(start, buffer) for (start, _), buffer in zip(pages.tolist(), buffers, strict=True)]
    return segments, geometry, model


def _refuse_empty_pages(
    pages: np.ndarray[Any, Any], regions: list[Region], slack_items: int, page: int
) -> None:
    """Memory for pages is allocated only as far as the document fills them."""
    described = ROOM + slack_items * 2 * page
    for region in regions:
        sizes = [size for _, size in region.extents()]
        # The extents of a table may claim any size.
        filled = region.records.nbytes if isinstance(region, TableRegion) else sum(sizes)
        described += filled + 2 * page * len(sizes)
    listed = int((pages[:, 1] - pages[:, 0]).sum())
    if listed > described:
        raise EncodeError(
            "model.pages", f"{listed} bytes, but the regions and slack fill at most {described}"
        )


def geometry_of(model: dict[str, Any]) -> Geometry:
    """Page size and byte order of a model.

    Raises:
        EncodeError: neither possible.
    """
    page_size = take(model, "page_size", int, "model")
    byteorder = take(model, "endian", str, "model")
    if page_size < 4096 or page_size & (page_size - 1) or page_size > 1 << 20:
        raise EncodeError("model.page_size", f"{page_size} is not a page size")
    if byteorder not in ("little", "big"):
        raise EncodeError("model.endian", f"{byteorder!r} is neither little nor big")
    return Geometry(page_size, "little" if byteorder == "little" else "big")


def _page_run(row: Any, where: str) -> tuple[int, int]:
    if not isinstance(row, list) or len(row) != 2:
        raise EncodeError(where, "expected an address and a number of bytes")
    start, size = word(row[0], where), word(row[1], where)
    if start + size >= 1 << 64:
        raise EncodeError(where, "outside the 64-bit address space")
    return start, start + size
