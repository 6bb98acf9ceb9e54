"""``khotool dump``: everything in an image as a readable tree, JSON or DTS."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.options import add_image_options, add_output_options
from khotool.cli.output import note, open_with_progress, write_json, write_lines, write_text
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.document.dump import Document
    from khotool.model.image import Image, Node
    from khotool.render.lines import Line

EPILOG = """\
examples:
  khotool dump image.elf.xz
  khotool dump --summary vmcore
  khotool dump vmcore '/LUO/sessions[vm-alpha]' --depth 2
  khotool dump vmcore '/LUO/sessions[vm-alpha]/files[0x1]/data/folios' --rows 100
  khotool dump --json vmcore | jq '.luo.sessions[].name'
  khotool dump --json --full --blobs payload vmcore -o model.json
  khotool dump --dts vmcore /memblock | dtc -O dtb -o memblock.dtb
  khotool dump --fdt board.dtb                    any FDT, with offsets and problems

PATH is a path as dump prints it. Quote it: brackets are special to the shell.
"""
ARGUMENTS = """
image IMAGE            capture to read
path [PATH]            show only this part of the tree
what to show:
--summary              show about ten lines
--depth N              levels of the tree to show
--rows N               rows to list of each table
--dts                  print the root FDT, or the FDT at PATH, as device tree source
--fdt                  show any flattened device tree: offsets, values, problems; PATH is a node
--hex                  with --fdt: show the bytes of each token
--full                 with --json: include everything that encode needs
--blobs DIR            with --full: write memfd contents and regions to DIR
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS, depth=depth, rows=depth)
    add_output_options(parser, compact=True)
    add_image_options(parser)


def depth(text: str) -> int:
    """A count of at least 0."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number such as 2")
    return int(text)


def run(args: argparse.Namespace) -> int:
    if args.full and not args.json:
        raise UsageError("--full needs --json: encode cannot read the text")
    if args.blobs is not None and not args.full:
        raise UsageError("--blobs needs --json --full: only that document names the files")
    if sum((args.summary, args.dts, args.json)) > 1:
        raise UsageError("--summary, --json and --dts exclude each other")
    if args.fdt:
        from khotool.cli import dump_fdt

        return dump_fdt.run(args)
    if args.hex:
        raise UsageError("--hex needs --fdt; khotool hex shows the bytes of an image")
    image = open_with_progress(args.image, args)
    from khotool.cli.notes import geometry_hint, strict_exit

    node = select(image, args.path)
    if args.dts:
        from khotool.render.dts import dts_text

        write_text(dts_text(image, node), args)
    elif args.json:
        write_json(document(image, node, args), args)
    else:
        write_lines(lines(image, node, args), args)
    for line in image.info.notes:
        note(args, line)
    hint = geometry_hint(image, args)
    if hint:
        note(args, hint)
    return strict_exit(image, args)


def select(image: Image, path: str | None) -> Node | None:
    """The node that PATH names; None without PATH."""
    if path is None:
        return None
    from khotool.model.lookup import find_node

    return find_node(image, path)


def document(image: Image, node: Node | None, args: argparse.Namespace) -> Document:
    """The JSON document that the flags ask for."""
    from khotool.check.catalogue import count_by_severity
    from khotool.check.run import check_image
    from khotool.document.dump import dump_document, path_document

    if node is not None:
        return path_document(image, node)
    made = dump_document(image, count_by_severity(check_image(image)))
    if args.full:
        from khotool.document.digest import seal
        from khotool.document.full import long_document

        made = seal({**made, **long_document(image)})
    if args.blobs is not None:
        from khotool.document.payload import write_blobs

        made.update(write_blobs(image, args.blobs))
    return made


def lines(image: Image, node: Node | None, args: argparse.Namespace) -> Iterator[Line]:
    """The text that the flags ask for."""
    from khotool.check.run import check_image
    from khotool.render.lines import Line
    from khotool.render.overview import finding_lines, header_lines, summary_lines
    from khotool.render.tree import TreeOptions, tree_lines

    if args.summary:
        yield from summary_lines(image, check_image(image))
        return
    rows = args.rows if args.rows is not None else 16 if args.depth is not None else 0
    options = TreeOptions(args.depth, rows, args.verbose)
    if node is not None:
        yield from tree_lines(image, node, options)
        return
    yield from header_lines(image)
    yield Line()
    yield from tree_lines(image, image.tree, options)
    yield Line()
    yield from finding_lines(check_image(image))
