"""What addresses belong to, as text and JSON."""

from __future__ import annotations

from collections.abc import Iterator

from khotool.document.dump import Document, head
from khotool.model.identify import Fact
from khotool.model.image import Image
from khotool.render.lines import Line
from khotool.render.text import visible

Found = list[tuple[int, list[Fact]]]
"""Facts by physical address."""


def identify_document(image: Image, found: Found) -> Document:
    """``khotool.identify/1``."""
    shift = image.geometry.page_shift
    return head("identify") | {
        "addresses": [
            {
                "address": f"{address:#x}",
                "pfn": address >> shift,
                "is": [fact_json(fact) for fact in facts],
            }
            for address, facts in found
        ]
    }


def fact_json(fact: Fact) -> dict[str, object]:
    """A fact as an object."""
    document: dict[str, object] = {"kind": fact.kind, "path": fact.path or None}
    for name, value in fact.data.items():
        document[name] = f"{value:#x}" if name == "address" and isinstance(value, int) else value
    if "captured" in document:
        document["captured"] = bool(document["captured"])
    document["text"] = fact.text
    return document


def identify_lines(image: Image, found: Found) -> Iterator[Line]:
    """Facts of each address below it."""
    for number, (address, facts) in enumerate(found):
        if number:
            yield Line()
        frame = address >> image.geometry.page_shift
        offset = address & (image.geometry.page_size - 1)
        place = f"  page frame {frame:#x}" + (f" +{offset:#x}" if offset else "")
        yield Line([(f"{address:#x}", "address"), (place, "dim")])
        for fact in facts:
            line = Line([(f"  {fact.kind:<9}", "key")], hang=" " * 11)
            if fact.path:
                line.add(visible(fact.path), "entry").add("  ")
            yield line.add(visible(fact.text))
