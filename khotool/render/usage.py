"""Preserved memory in groups, as text, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from khotool.absent import Absent
from khotool.document.dump import head
from khotool.model.image import Image
from khotool.render.lines import Line
from khotool.render.text import visible
from khotool.render.value import absent_segments
from khotool.view.notation import absent_json, size_text
from khotool.view.usage import By, Usage

COLUMNS = ("folios", "pages", "bytes", "payload_bytes", "metadata_bytes")


def group_json(group: Usage, page_size: int) -> dict[str, Any]:
    """One group."""
    return {
        "name": group.name,
        "folios": group.folios,
        "pages": group.pages,
        "bytes": group.pages * page_size,
        "payload_bytes": group.payload * page_size,
        "metadata_bytes": group.metadata * page_size,
    }


def usage_document(image: Image, by: By, groups: list[Usage] | None) -> dict[str, Any]:
    """``khotool.pages/1`` with groups in the place of ranges."""
    document = {**head("pages"), "by": str(by)}
    if groups is None:
        assert isinstance(image.map, Absent)
        return document | {"groups": absent_json(image.map)}
    size = image.geometry.page_size
    return document | {"groups": [group_json(group, size) for group in groups]}


def usage_csv(image: Image, groups: list[Usage] | None) -> str:
    """CSV with a header."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("name", *COLUMNS))
    for group in groups or ():
        row = group_json(group, image.geometry.page_size)
        writer.writerow((visible(group.name or ""), *(row[name] for name in COLUMNS)))
    return buffer.getvalue()


def usage_lines(image: Image, by: By, groups: list[Usage] | None) -> Iterator[Line]:
    """A line for each group, the largest first, and the total."""
    if groups is None:
        assert isinstance(image.map, Absent)
        yield Line([("memory  ", "key"), *absent_segments(image.map)])
        return
    size = image.geometry.page_size
    heads = f"{'size':>9}  {'payload':>9}  {'metadata':>9}  {'folios':>8}  {by}"
    yield Line([(heads, "key")])
    total = Usage("total")
    for group in groups:
        for name in ("folios", "pages", "metadata"):
            setattr(total, name, getattr(total, name) + getattr(group, name))
        yield _line(group, size)
    yield _line(total, size)


def _line(group: Usage, size: int) -> Line:
    parts = (group.pages, group.payload, group.metadata)
    text = "".join(f"{size_text(pages * size):>9}  " for pages in parts)
    line = Line(hang=" " * 43).add(f"{text}{group.folios:>8}  ")
    return (
        line.add("(none)", "dim") if group.name is None else line.add(visible(group.name), "entry")
    )
