"""A small image that can leave the host: metadata, and payload only on request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from khotool.abi.record import encode_text
from khotool.decode.phase import PHASE_NOTE, phase_lines
from khotool.discovery.banner import WRITER_NOTE
from khotool.document.full import captured_pages, metadata_pages, render
from khotool.document.payload import payload_ranges
from khotool.encode.fresh import NO_PAGE_TABLES, Built
from khotool.errors import InputError
from khotool.handover.values import Buffer, Stored
from khotool.memory.space import MemoryFault
from khotool.model.image import UNPLACED, Image, NodeKind, Phase, Span
from khotool.model.region import Write
from khotool.pages.runs import normalise

KEPT_NOTES = ("OSRELEASE", "PAGESIZE", WRITER_NOTE)
PIECE = 64 << 20


def pack_image(
    image: Image,
    *,
    payload: bool = False,
    anonymize: bool = False,
    also: Sequence[Span] = (),
) -> Built:
    """The parts of an image that decode, and nothing of the memory around them.

    Bytes of a metadata page that no part of the handover explains are zeroed: they may be
    anybody's.

    Args:
        payload: keep memfd contents and reserved regions.
        anonymize: replace names that users chose by hashes of them.
        also: bytes of metadata pages to keep although nothing explains them, such as what a
            finding is about; not with ``anonymize``.

    Raises:
        InputError: the image holds no memory, as a debugfs copy does not.
    """
    also = () if anonymize else also
    pages = metadata_pages(image)
    if also:
        spans = [(span.address, span.size) for span in also]
        pages = normalise(np.concatenate((pages, captured_pages(image, spans))))
    if not len(pages):
        raise InputError(
            f"{image.info.path}: no memory to pack; a debugfs copy or a blob is small already"
        )
    buffers = render(pages, _kept(image, anonymize, also))
    segments: list[tuple[int, Stored]] = [
        (start, buffer) for (start, _), buffer in zip(pages.tolist(), buffers, strict=True)
    ]
    if payload:
        segments += _payload(image)
    notes = {key: image.info.vmcoreinfo[key] for key in KEPT_NOTES if key in image.info.vmcoreinfo}
    if image.info.build and image.info.osrelease:
        # A packed copy no longer has the banner.
        notes |= {"OSRELEASE": image.info.osrelease, WRITER_NOTE: image.info.osrelease}
    notes |= phase_lines(image)
    if image.phase is Phase.LIVE:
        notes[PHASE_NOTE] = image.phase.value
    return Built(
        segments=segments,
        root=image.tree.span.address if image.tree.span else 0,
        geometry=image.geometry,
        vmcoreinfo={"PAGESIZE": str(image.geometry.page_size)} | notes | NO_PAGE_TABLES,
        machine=image.info.machine,
        lost=_unexplained(image) if anonymize else [],
    )


def _kept(image: Image, anonymize: bool, also: Sequence[Span]) -> Iterator[Write]:
    spans = [extent for region in image.regions for extent in region.extents()]
    spans += [(span.address, span.size) for span in image.anchors]
    spans += [(span.address, span.size) for span in also]
    for address, size in spans:
        if address >= UNPLACED:
            continue
        there = [(address, address + size)]
        if not image.space.contains(address, size):
            there = captured_pages(image, [(address, size)]).tolist()
        for start, end in there:
            low, high = max(start, address), min(end, address + size)
            try:
                yield low, image.space.read(low, high - low)
            except MemoryFault:
                continue
    if anonymize:
        yield from anonymous_names(image)


def anonymous_names(image: Image) -> Iterator[tuple[int, bytes]]:
    """Physical address and new bytes of every name that a user chose.

    A name is replaced by a hash of itself, so that equal names stay equal and different ones
    different. The name of a device tree node keeps its length, which the tree depends on.
    """
    for node in image.tree.walk():
        if node.span is None or not isinstance(node.value, str):
            continue
        digest = hashlib.sha256(encode_text(node.value)).hexdigest()
        if node.field is not None and node.field.role == "name" and node.value:
            yield node.span.address, f"name-{digest[:16]}".encode().ljust(node.span.size, b"\0")
        elif (
            node.field is None
            and node.name == "name"
            and node.parent is not None
            and node.parent.kind is NodeKind.FDT_NODE
        ):
            length = node.span.size - 1
            yield node.span.address, ("n" + digest * (1 + length // 64))[:length].encode()


def _unexplained(image: Image) -> list[str]:
    return [
        f"{node.path}: unknown format; its bytes are kept as they are"
        for node in image.tree.walk()
        if node.kind is NodeKind.RAW
    ]


def _payload(image: Image) -> Iterator[tuple[int, Buffer]]:
    ranges = payload_ranges(image)
    for start, end in np.asarray(ranges).tolist():
        for at in range(start, end, PIECE):
            yield at, image.space.read(at, min(PIECE, end - at))
