"""``khotool hex``: bytes, field by field."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from khotool.cli.addresses import parse_range
from khotool.cli.arguments import declare
from khotool.cli.options import add_image_options, add_output_options
from khotool.cli.output import open_with_progress, write_json, write_lines
from khotool.errors import InputError

if TYPE_CHECKING:
    from khotool.model.annotate import Piece
    from khotool.model.image import Image, Span

EPILOG = """\
examples:
  khotool hex vmcore '/LUO/sessions[vm-alpha]'           the record of a session
  khotool hex vmcore '/LUO/sessions[vm-alpha]/files[0x1]/data'
  khotool hex vmcore 0x772000+64
  khotool hex --plain vmcore '#0x4de'                    a page frame, without fields
"""
ARGUMENTS = """
image IMAGE            capture to read
where PATH|ADDR[+LEN]  path as dump prints it, or physical address; without LEN, up to the end of
                       the page
what to show:
--plain                show only bytes, 16 per row
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_output_options(parser, compact=True)
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    image = open_with_progress(args.image, args)
    from khotool.cli.notes import strict_exit

    spans = find_spans(image, args.where)
    pieces = read(image, spans)
    if args.json:
        from khotool.document.dump import head
        from khotool.render.hex import piece_json
        from khotool.render.json import Rows

        document = head("hex")
        document["ranges"] = [{"address": f"{s.address:#x}", "size": s.size} for s in spans]
        document["pieces"] = Rows(piece_json(piece) for piece in pieces)
        write_json(document, args)
    else:
        from khotool.render.hex import hex_lines, plain_lines

        write_lines(plain_lines(pieces) if args.plain else hex_lines(image, pieces), args)
    return strict_exit(image, args)


def find_spans(image: Image, where: str) -> list[Span]:
    """The ranges that a path or an address means."""
    from khotool.model.image import UNPLACED, Span

    if not where.startswith("/"):
        page_size = image.geometry.page_size
        address, size = parse_range(where, page_size, -1)
        if size < 0:
            size = page_size - address % page_size
        return [Span(address, size)]
    from khotool.model.annotate import ranges_of
    from khotool.model.lookup import find_node

    node = find_node(image, where)
    spans = [
        Span(span.address, min(span.size, (1 << 64) - span.address))
        for span in ranges_of(node)
        if span.size and span.address < 1 << 64
    ]
    if not spans:
        raise InputError(f"{node.path} has no bytes of its own in this capture; name a part of it")
    # Blobs of unknown address have made-up ones, which can be read like any other.
    return sorted(spans, key=lambda span: (span.address >= UNPLACED, span.address))


def read(image: Image, spans: list[Span]) -> Iterator[Piece]:
    """Pieces of all ranges."""
    from khotool.model.annotate import annotate
    from khotool.model.places import Places

    places = Places(image)
    for span in spans:
        yield from annotate(image, places, span.address, span.size)
