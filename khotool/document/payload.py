"""Payload beside a document: the bytes that were handed over, one file a range."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from khotool.absent import Absent
from khotool.document.full import metadata_pages
from khotool.document.json_input import address_of, take
from khotool.errors import EncodeError
from khotool.memory.atomic import made_folder, replacing
from khotool.memory.regular import read_regular
from khotool.model.image import Image
from khotool.pages.runs import intersect, subtract

PIECE = 16 << 20
Range = tuple[int, int]


def payload_ranges(image: Image) -> np.ndarray[Any, Any]:
    """Captured memory that is preserved or claimed and is not metadata: (n, 2) uint64."""
    if isinstance(image.map, Absent):
        claims = image.claims.build()
        owned = np.stack([claims.start, claims.end], axis=1)
        from khotool.pages.runs import normalise

        owned = normalise(owned)
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


def read_blobs(document: dict[str, Any], folders: list[Path]) -> Iterator[tuple[int, bytes]]:
    """Physical address and bytes of each blob of a document.

    Args:
        folders: places where the blob folder can be, first match wins.

    Raises:
        EncodeError: a file is missing or has a wrong length.
    """
    blobs = document.get("blobs")
    if blobs is None:
        return
    for index, item in enumerate(take(blobs, "files", list, "blobs")):
        where = f"blobs.files[{index}]"
        name = Path(take(item, "file", str, where)).name
        size = take(item, "size", int, where)
        for folder in folders:
            path = folder / name
            if path.is_file():
                data = read_regular(path, limit=max(size, 0))
                break
        else:
            looked = ", ".join(str(folder) for folder in folders)
            raise EncodeError(where, f"{name} is not in {looked}; give --blobs DIR")
        if len(data) != size:
            raise EncodeError(where, f"{name} has {len(data)} bytes, the document says {size}")
        yield address_of(item, where), data
