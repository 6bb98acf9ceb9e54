"""The document of ``dump --json --full``."""

from __future__ import annotations

import json
from collections.abc import Iterator

from khotool.document.full import preserved_segments
from khotool.structured import Document
from tests.builders import CAPTURES, REGISTRY, capture
from tests.documents import full_document
from tests.fuzz.containers import SMALL
from tests.fuzz.damage import base

KIND = "text"
RUNS = 3000


def seeds() -> Iterator[bytes]:
    """Documents of small captures, and of a big-endian image."""
    for name in SMALL:
        yield json.dumps(full_document(capture(name))).encode()
    yield json.dumps(full_document(base(len(CAPTURES)).image)).encode()


def one_input(data: bytes) -> None:
    """A document is refused with its place, or gives pages."""
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):
        return
    preserved_segments(Document("dump", read), REGISTRY)
