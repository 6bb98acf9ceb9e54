"""Full documents as plain lists, which tests change and compare."""

from __future__ import annotations

from typing import Any

from khotool.document.full import long_document
from khotool.document.long import Long
from khotool.model.image import Image


def full_document(image: Image) -> dict[str, Any]:
    """The ``model`` part of ``dump --json --full``: ``long_document`` in plain lists."""
    made: dict[str, Any] = plain(long_document(image))
    return made


def plain(document: Any) -> Any:
    """A document with lists in place of ``Long``."""
    if isinstance(document, dict):
        return {key: plain(item) for key, item in document.items()}
    if isinstance(document, list):
        return [plain(item) for item in document]
    return document.plain() if isinstance(document, Long) else document
