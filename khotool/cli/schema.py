"""``khotool schema``: the JSON Schema of a document."""

from __future__ import annotations

import argparse

from khotool.cli.arguments import declare
from khotool.cli.options import add_output_options
from khotool.cli.output import write_json

EPILOG = """\
examples:
  khotool schema dump > dump.schema.json
  khotool schema manifest > manifest.schema.json       for an editor that knows TOML
  khotool schema config

Schemas are of draft 2020-12. What khotool writes may gain keys without a new version; manifest,
definition and config are what people write, and have no keys beyond those that are declared.
"""
NAMES = (
    *("dump", "pages", "check", "diff", "boot", "live", "formats", "rules", "explain", "identify"),
    *("hex", "graph", "encode", "convert", "pack", "extract", "fleet", "settings"),
    *("manifest", "definition", "config"),
)
"""Documents; repeated here so that ``--help`` loads none of them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("document", choices=NAMES, metavar="DOCUMENT", help=", ".join(NAMES))
    declare(parser, "--compact  print JSON on one line")
    add_output_options(parser, json=False)


def run(args: argparse.Namespace) -> int:
    from khotool.schema.documents import DOCUMENTS

    write_json(DOCUMENTS[args.document].schema(), args)
    return 0
