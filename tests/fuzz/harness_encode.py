"""A damaged image written again: bit for bit, and laid out afresh."""

from __future__ import annotations

import json
from contextlib import suppress
from zlib import crc32

from khotool.document.full import metadata_pages, preserved_segments
from khotool.encode.fresh import build_fresh
from khotool.encode.lift import handover_of
from khotool.encode.pack import pack_image
from khotool.encode.reopen import image_of
from khotool.encode.sets import set_of
from khotool.memory.space import MemoryFault
from khotool.model.image import Image
from khotool.structured import Document
from tests.builders import REGISTRY
from tests.documents import full_document
from tests.fuzz.damage import damaged
from tests.fuzz.fidelity import packed_says_the_same
from tests.fuzz.harness_image import seeds

__all__ = ["seeds"]

KIND = "recipe"
RUNS = 300


def one_input(data: bytes) -> None:
    """A packed image says the same; then one of the other ways to encode it."""
    image = damaged(data)
    packed_says_the_same(image)
    # All of them together would take the time of several commands.
    (comes_back, anonymized, laid_out)[crc32(data) % 3](image)


def anonymized(image: Image) -> None:
    """Names become hashes."""
    pack_image(image, anonymize=True)


def laid_out(image: Image) -> None:
    """What can be lifted is laid out and decodes."""
    image_of(build_fresh(handover_of(image), set_of(image), REGISTRY), REGISTRY)


def comes_back(image: Image) -> None:
    """Every captured page of metadata, through the text of the full document."""
    read = json.loads(json.dumps(full_document(image)))
    segments, geometry = preserved_segments(Document("dump", read), REGISTRY)
    assert geometry == image.geometry
    pages = {address: bytes(made) for address, made in segments}
    for start, end in metadata_pages(image).tolist():
        with suppress(MemoryFault):
            assert pages[start] == bytes(image.space.read(start, end - start)), hex(start)
