"""Annotated bytes as lines: a row of bytes with the field it belongs to beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from hexdump import hexdump

from khotool.absent import Absent
from khotool.document.dump import json_value
from khotool.model.annotate import Mark, Piece, page_facts
from khotool.model.image import Image, Node
from khotool.render.lines import Line
from khotool.render.text import plural, range_text, visible
from khotool.render.value import value_segments
from khotool.view.notation import size_text

ROW = 8
"""Bytes of a row with fields beside it."""
PLAIN_ROW = 16
FOLD = 2
"""Rows of zeros, from which number on they are folded."""

HOLES = {
    "zero": "zeros that the dumper left out",
    "hole": "not in the capture",
    "error": "cannot be read",
}


def hex_rows(address: int, data: bytes, row: int) -> Iterator[tuple[int, str, str]]:
    """Address, hexadecimal and printable form of each row of ``row`` bytes, 8 or 16."""
    for at in range(0, len(data), row):
        # The package counts addresses from 0 and fills rows up to 16 bytes.
        (line,) = hexdump(data[at : at + row], "generator")
        body = line.partition(": ")[2]
        yield address + at, body[: 3 * row + (row > 8)].rstrip().lower(), body[50:]


def hex_lines(image: Image, pieces: Iterable[Piece]) -> Iterator[Line]:
    """Pieces as lines: a border where a page begins, bytes, fields; holes and zeros folded."""
    page_size = image.geometry.page_size
    page = -1
    owner: str | None = None
    for piece in _pages(pieces, page_size):
        if piece.state != "data":
            yield hole_line(piece)
            continue
        if piece.address // page_size != page:
            page = piece.address // page_size
            yield border(image, page * page_size)
            owner = None
        group = _record_of(piece.mark)
        if group and group != owner:
            yield Line([("   ", ""), (visible(group), "entry")])
        owner = group or owner
        yield from _piece_lines(piece)


def _pages(pieces: Iterable[Piece], page_size: int) -> Iterator[Piece]:
    """Pieces cut where pages end; those without bytes are joined with the next of their kind."""
    held: Piece | None = None
    for piece in pieces:
        if piece.state != "data":
            if held is not None and held.state == piece.state:
                held = Piece(held.address, held.size + piece.size, held.state)
                continue
            if held is not None:
                yield held
            held = piece
            continue
        if held is not None:
            yield held
            held = None
        at = 0
        while at < piece.size:
            left = page_size - (piece.address + at) % page_size
            part = piece.data[at : at + left]
            yield Piece(piece.address + at, len(part), "data", part, piece.mark)
            at += len(part)
    if held is not None:
        yield held


def border(image: Image, address: int) -> Line:
    """The line above the first bytes of a page."""
    facts = page_facts(image, address)
    line = Line([(f"-- page {facts['pfn']:#x}", "rule")], hang="   ")
    if facts["order"] is not None:
        line.add(f"  order {facts['order']}, preserved", "rule")
    elif not isinstance(image.map, Absent):
        line.add("  not preserved", "rule")
    for owner in facts["owners"]:
        line.add(f"  {visible(owner)}", "rule")
    return line.add(" --", "rule")


def hole_line(piece: Piece) -> Line:
    """One line for bytes that are missing."""
    text = f"-- {range_text(piece.address, piece.size)}  {size_text(piece.size)}  "
    return Line([(text, "rule"), (HOLES[piece.state], "absent"), (" --", "rule")])


def _piece_lines(piece: Piece) -> Iterator[Line]:
    mark = piece.mark
    first = mark is not None and piece.address == mark.address
    beside = mark_segments(mark) if mark is not None and first else []
    for zeros, rows in groupby(
        hex_rows(piece.address, piece.data, ROW), lambda row: not row[1].strip("0 ")
    ):
        listed = list(rows)
        shown = listed if not zeros or len(listed) <= FOLD else listed[:1]
        for address, text, chars in shown:
            line = Line(hang=" " * 50)
            line.add(f"{address:012x}  ", "address" if mark is not None else "dim")
            line.add(f"{text:<{3 * ROW}} {chars:<{ROW}}", "" if mark is not None else "dim")
            if beside:
                line.segments += [("  ", ""), *beside]
                beside = []
            yield line
        if len(shown) < len(listed):
            yield Line([(f"*             {plural(len(listed) - 1, 'more row')} of zeros", "dim")])


def mark_segments(mark: Mark) -> list[tuple[str, str]]:
    """Name and value of the fields that share some bytes, or what else the bytes are."""
    if not mark.nodes:
        return [(visible(mark.text), "dim")]
    segments: list[tuple[str, str]] = []
    for node in mark.nodes:
        gap = "  " if segments else ""
        segments += [(f"{gap}{visible(node.name)} ", "label"), *value_segments(node)]
    return segments


def _record_of(mark: Mark | None) -> str:
    """Path of the record that a field is part of."""
    if mark is None or not mark.nodes or mark.nodes[0].parent is None:
        return ""
    parent = mark.nodes[0].parent
    return f"{parent.path}  {parent.struct}" if parent.struct else parent.path


def plain_lines(pieces: Iterable[Piece]) -> Iterator[Line]:
    """Bytes alone, 16 a row, with zeros folded as in ``hexdump -C``."""
    for piece in _joined(pieces):
        if piece.state != "data":
            yield hole_line(piece)
            continue
        for zeros, rows in groupby(
            hex_rows(piece.address, piece.data, PLAIN_ROW), lambda row: not row[1].strip("0 ")
        ):
            listed = list(rows)
            for address, text, chars in listed if not zeros else listed[:1]:
                yield Line([(f"{address:012x}  ", "address"), (f"{text:<49} {chars}", "")])
            if zeros and len(listed) > 1:
                yield Line([("*", "dim")])


def _joined(pieces: Iterable[Piece], limit: int = 1 << 16) -> Iterator[Piece]:
    """Pieces of bytes put together, up to ``limit`` bytes each."""
    address = size = 0
    parts: list[bytes] = []
    for piece in pieces:
        if piece.state == "data" and parts and size < limit and address + size == piece.address:
            parts.append(piece.data)
            size += piece.size
            continue
        if parts:
            yield Piece(address, size, "data", b"".join(parts))
            parts, size = [], 0
        if piece.state == "data":
            address, parts, size = piece.address, [piece.data], piece.size
        else:
            yield piece
    if parts:
        yield Piece(address, size, "data", b"".join(parts))


def piece_json(piece: Piece) -> dict[str, object]:
    """A piece as an object."""
    document: dict[str, object] = {
        "address": f"{piece.address:#x}",
        "size": piece.size,
        "state": piece.state,
    }
    if piece.state == "data":
        document["bytes"] = piece.data.hex()
    if piece.mark is not None and piece.mark.nodes:
        document["fields"] = [field_json(node) for node in piece.mark.nodes]
    elif piece.mark is not None:
        document["what"] = piece.mark.text
    return document


def field_json(node: Node) -> dict[str, object]:
    """Path and value of a field."""
    return {"path": node.path, "value": json_value(node)}
