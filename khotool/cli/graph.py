"""``khotool graph``: what files, devices and FLBs need of each other."""

from __future__ import annotations

import argparse

from khotool.cli.arguments import declare
from khotool.cli.options import add_image_options, add_output_options
from khotool.cli.output import open_with_progress, write_json, write_lines, write_text
from khotool.errors import UsageError

EPILOG = """\
examples:
  khotool graph vmcore                          a tree, numbered in restore order
  khotool graph vmcore --dot | dot -Tsvg > needs.svg
  khotool graph vmcore --json | jq .cycles

Each line depends on the lines below it, which are restored first. Exit code 1: there is a cycle,
which no order can restore.
"""
ARGUMENTS = """
image IMAGE            capture, packed image or model to read
--dot                  print a Graphviz graph instead of a tree
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_output_options(parser)
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    if args.dot and args.json:
        raise UsageError("--dot and --json exclude each other")
    image = open_with_progress(args.image, args)
    from khotool.cli.notes import strict_exit
    from khotool.render.graph import graph_document, graph_dot, graph_lines
    from khotool.view.dependencies import dependencies

    found = dependencies(image)
    if args.json:
        write_json(graph_document(found), args)
    elif args.dot:
        write_text(graph_dot(found), args)
    else:
        write_lines(graph_lines(found), args)
    return 1 if found.cycles else strict_exit(image, args)
