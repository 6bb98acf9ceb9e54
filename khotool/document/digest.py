"""Which half of a full document was edited: digests of both as they were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from khotool.document.long import Long

READABLE = ("root", "entries", "luo")
"""Keys of the half for people whose values are in the regions too."""
DERIVED = ("scratch", "memory")
"""Keys of the half for people that follow from the regions, or from what is not in them."""
DIGEST = "digest"
"""Key of the digests in ``model``."""


def seal(document: dict[str, Any]) -> dict[str, Any]:
    """The document with digests of its halves, as ``edited`` compares them."""
    model = dict(document["model"])
    model[DIGEST] = digests(document)
    return {**document, "model": model}


def digests(document: dict[str, Any]) -> dict[str, str]:
    """SHA-256 of the readable half, of what follows from it, and of regions, pages and slack."""
    model = document["model"]
    halves = {
        "readable": [document.get(key) for key in READABLE],
        "regions": [model.get(key) for key in ("regions", "pages", "slack")],
        **{key: [document[key]] for key in DERIVED if key in document},
    }
    return {name: _digest(parts) for name, parts in halves.items()}


def edited(document: dict[str, Any]) -> set[str]:
    """Parts that are not as they were written; a document without digests has none to compare."""
    known = document["model"].get(DIGEST)
    if not isinstance(known, dict):
        return {"readable"} if any(key in document for key in READABLE) else set()
    return {name for name, value in digests(document).items() if known.get(name, value) != value}


def _digest(parts: list[Any]) -> str:
    total = hashlib.sha256()
    for part in parts:
        # A list can be most of the document: item by item it is never text as a whole.
        for item in part if isinstance(part, list) else [part]:
            for text in _texts(item):
                total.update(text.encode())
            total.update(b"\n")
        total.update(b"\0")
    return total.hexdigest()


def _texts(item: Any) -> Iterator[str]:
    """JSON without blanks, keys in order; an array of many numbers in pieces."""
    if isinstance(item, Long):
        yield "["
        yield from item.text(",", ",")
        yield "]"
        return
    try:
        yield json.dumps(item, sort_keys=True, separators=(",", ":"))
        return
    except TypeError:
        # There is a Long in it.
        assert isinstance(item, dict | list)
    members = sorted(item.items()) if isinstance(item, dict) else [(None, one) for one in item]
    yield "{" if isinstance(item, dict) else "["
    for index, (key, value) in enumerate(members):
        yield ("," if index else "") + ("" if key is None else json.dumps(key) + ":")
        yield from _texts(value)
    yield "}" if isinstance(item, dict) else "]"
