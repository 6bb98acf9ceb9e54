"""Turn scattered writes into the segments of an ELF core."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike

import numpy as np

from khotool.decode.phase import phase_lines
from khotool.encode.fresh import Built
from khotool.errors import EncodeError
from khotool.handover.values import Buffer, Stored
from khotool.memory.writer import Stretch, write_elf
from khotool.model.image import UNPLACED, Image

PIECE = 16 << 20
ZEROS = memoryview(bytes(PIECE))
MOST = 4 << 30
"""Bytes of a compressed dump that are unpacked in memory."""


def write_image(path: str | PathLike[str], built: Built) -> None:
    """Write a built image as an ELF64 core; the file appears complete or not at all.

    Raises:
        EncodeError: writes overlap or leave the address space.
        KhotoolError: the file cannot be written.
    """
    write_elf(
        path,
        streamed_segments(built.segments, built.geometry.page_size),
        endian=built.geometry.byteorder,
        machine=built.machine or "x86_64",
        vmcoreinfo=built.vmcoreinfo,
    )


def write_memory(path: str | PathLike[str], image: Image) -> None:
    """Write all memory of an image as an ELF64 core; holes stay holes.

    Raises:
        EncodeError: the image holds more than ``MOST`` bytes that are not bytes of a file.
        KhotoolError: the file cannot be written.
    """
    write_elf(
        path,
        list(_captured(image)),
        endian=image.info.endian or image.geometry.byteorder,
        machine=image.info.machine,
        vmcoreinfo=image.info.vmcoreinfo | phase_lines(image),
    )


def _captured(image: Image) -> Iterator[tuple[int, Buffer]]:
    unpacked = 0
    for start, end in image.space.extents().tolist():
        if start >= UNPLACED:
            continue
        for low in range(start, end, PIECE):
            high = min(low + PIECE, end)
            pieces = image.space.known(low, high - low)
            for number, (address, view, state) in enumerate(pieces):
                stop = pieces[number + 1][0] if number + 1 < len(pieces) else high
                if state == "zero":
                    yield address, ZEROS[: stop - address]
                elif view is not None:
                    unpacked += len(view) if image.info.container == "kdump" else 0
                    if unpacked > MOST:
                        raise EncodeError(
                            image.info.path, "too large when unpacked; khotool pack it first"
                        )
                    yield address, view


def page_segments(writes: Iterable[tuple[int, Stored]], page: int) -> list[tuple[int, Buffer]]:
    """As ``streamed_segments``, with all of it in memory."""
    segments: list[tuple[int, Buffer]] = []
    for address, data in streamed_segments(writes, page):
        if isinstance(data, Stretch):
            segments += [(address + at, piece) for at, piece in data.split()]
        else:
            segments.append((address, data))
    return segments


def streamed_segments(writes: Iterable[tuple[int, Stored]], page: int) -> list[tuple[int, Stored]]:
    """Whole pages from writes in any order; writes in one page are laid over zeros in order.

    A write of whole aligned pages that touches no other stays what it is, so that payload is not
    copied, nor made before it is written.
    """
    items = [
        (address, data if isinstance(data, Stretch) else memoryview(data).cast("B"))
        for address, data in writes
        if len(data)
    ]
    if not items:
        return []
    starts = np.array([address for address, _ in items], np.uint64)
    order = np.argsort(starts, kind="stable")
    segments: list[tuple[int, Stored]] = []
    group: list[tuple[int, memoryview | Stretch]] = []
    group_end = -1
    for index in order.tolist():
        address, data = items[index]
        low = address // page * page
        high = -(-(address + len(data)) // page) * page
        if group and low >= group_end:
            segments += _close(group, page)
            group = []
            group_end = -1
        group.append((address, data))
        group_end = max(group_end, high)
    return segments + _close(group, page)


def _close(group: list[tuple[int, memoryview | Stretch]], page: int) -> list[tuple[int, Stored]]:
    low = group[0][0] // page * page
    high = max(-(-(address + len(data)) // page) * page for address, data in group)
    if len(group) == 1 and group[0][0] == low and len(group[0][1]) == high - low:
        return [(low, group[0][1])]
    buffer = bytearray(high - low)
    for address, data in group:
        buffer[address - low : address - low + len(data)] = bytes(data)
    return [(low, buffer)]
