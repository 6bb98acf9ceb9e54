"""``khotool identify``: what a physical address belongs to, most specific first."""

from __future__ import annotations

import argparse

from khotool.cli.addresses import parse_address
from khotool.cli.arguments import declare
from khotool.cli.options import add_image_options, add_output_options
from khotool.cli.output import open_with_progress, write_json, write_lines

EPILOG = """\
examples:
  khotool identify vmcore 0x772000
  khotool identify vmcore 0x772010 '#0x4de'      a page frame number
  khotool identify --json vmcore 0x772000 | jq '.addresses[0].is[0].path'
"""
ARGUMENTS = """
image IMAGE            capture to read
addresses ADDR...      physical address, or #PFN (quoted)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_output_options(parser)
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    image = open_with_progress(args.image, args)
    from khotool.cli.notes import strict_exit
    from khotool.model.identify import Identifier
    from khotool.render.identify import identify_document, identify_lines

    addresses = [parse_address(text, image.geometry.page_size) for text in args.addresses]
    identifier = Identifier(image)
    found = [(address, identifier.identify(address)) for address in addresses]
    if args.json:
        write_json(identify_document(image, found), args)
    else:
        write_lines(identify_lines(image, found), args)
    return strict_exit(image, args)
