"""``khotool identify``: what a physical address belongs to, most specific first."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from khotool.cli.addresses import parse_address
from khotool.cli.options import add_image_options, add_output_options
from khotool.cli.output import open_with_progress, write_json, write_lines

if TYPE_CHECKING:
    from khotool.model.identify import Fact
    from khotool.model.image import Image
    from khotool.render.lines import Line

EPILOG = """\
examples:
  khotool identify vmcore 0x772000
  khotool identify vmcore 0x772010 '#0x4de'      a page frame number
  khotool identify --json vmcore 0x772000 | jq '.addresses[0].is[0].path'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and flags."""
    parser.add_argument("image", metavar="IMAGE", help="capture to read")
    parser.add_argument(
        "addresses", metavar="ADDR", nargs="+", help="physical address, or #PFN (quoted)"
    )
    add_output_options(parser)
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    """Decode the image and look the addresses up."""
    image = open_with_progress(args.image, args)
    from khotool.cli.notes import strict_exit
    from khotool.model.identify import Identifier

    addresses = [parse_address(text, image.geometry.page_size) for text in args.addresses]
    identifier = Identifier(image)
    found = [(address, identifier.identify(address)) for address in addresses]
    if args.json:
        from khotool.document.dump import head

        document = head("identify")
        document["addresses"] = [
            {
                "address": f"{address:#x}",
                "pfn": address >> image.geometry.page_shift,
                "is": [fact_json(fact) for fact in facts],
            }
            for address, facts in found
        ]
        write_json(document, args)
    else:
        write_lines(lines(image, found), args)
    return strict_exit(image, args)


def fact_json(fact: Fact) -> dict[str, object]:
    """A fact as an object."""
    document: dict[str, object] = {"kind": fact.kind, "path": fact.path or None}
    for name, value in fact.data.items():
        document[name] = f"{value:#x}" if name == "address" and isinstance(value, int) else value
    if "captured" in document:
        document["captured"] = bool(document["captured"])
    document["text"] = fact.text
    return document


def lines(image: Image, found: list[tuple[int, list[Fact]]]) -> Iterator[Line]:
    """Facts of each address below it."""
    from khotool.render.lines import Line
    from khotool.render.text import visible

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
