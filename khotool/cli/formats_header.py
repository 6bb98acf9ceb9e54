"""``khotool formats header``: a definition as a C header."""

from __future__ import annotations

import argparse

from khotool.cli.arguments import declare
from khotool.cli.options import add_formats_option, add_output_options, add_page_size_option
from khotool.cli.output import write_text

HELP = "write a definition as a C header"
ARGUMENTS = """
id ID                  id as formats list prints it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_page_size_option(parser)
    add_formats_option(parser)
    add_output_options(parser, json=False)


def run(args: argparse.Namespace) -> int:
    from khotool.abi.registry import load_registry
    from khotool.render.header import header_text

    registry = load_registry(args.formats)
    write_text(header_text(registry, registry.get(args.id), args.page_size), args)
    return 0
