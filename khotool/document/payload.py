"""Payload beside a document: the bytes that were handed over, one file a range."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from khotool.absent import Absent
from khotool.document.full import metadata_pages
from khotool.memory.atomic import made_folder, replacing
from khotool.memory.regular import read_regular
from khotool.model.image import Image
from khotool.pages.runs import intersect, normalise, subtract
from khotool.structured import Document

PIECE = 16 << 20
Range = tuple[int, int]


def payload_ranges(image: Image) -> np.ndarray[Any, Any]:
    """Captured memory that is preserved or claimed and is not metadata: (n, 2) uint64."""
    if isinstance(image.map, Absent):
        claims = image.claims.build()
        owned = normalise(np.stack([claims.start, claims.end], axis=1))
    else:
        owned = image.map.blocks.ranges()
    return subtract(intersect(owned, image.space.extents()), metadata_pages(image))


def write_blobs(image: Image, folder: str | Path) -> dict[str, Any]:
    """Write the payload; the ``blobs`` part of the document.

    Raises:
        InputError: the folder cannot be made.
    """
    folder = made_folder(folder, "--blobs")
    files = []
    for start, end in payload_ranges(image).tolist():
        name = f"{start:#x}.bin"
        with replacing(folder / name) as file:
            for at in range(start, end, PIECE):
                file.write(image.space.read(at, min(PIECE, end - at)))
        files.append({"address": hex(start), "size": end - start, "file": name})
    return {"blobs": {"folder": folder.name, "files": files}}


def read_blobs(document: Document, folders: list[Path]) -> Iterator[tuple[int, bytes]]:
    """Physical address and bytes of each blob of a document.

    Args:
        folders: places where the blob folder can be, first match wins.

    Raises:
        StructuredError: a file is missing or has a wrong length.
    """
    if "blobs" not in document.root:
        return
    for item in document.root.table("blobs")["files"].tables():
        name, size = Path(item.text("file")).name, item.integer("size")
        address = item.integer("address")
        document.check()
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is None:
            looked = ", ".join(str(folder) for folder in folders)
            item.mistake(f"{name} is not in {looked}; give --blobs DIR")
        data = b"" if path is None else read_regular(path, limit=size)
        if path is not None and len(data) != size:
            item.mistake(f"{name} has {len(data)} bytes, the document says {size}")
        document.check()
        yield address, data
