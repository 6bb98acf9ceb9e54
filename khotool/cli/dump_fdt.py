"""``khotool dump --fdt``: any flattened device tree, whatever it describes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from khotool.cli.output import refuse_same_file, write_document, write_lines, write_text
from khotool.errors import InputError, UsageError

if TYPE_CHECKING:
    from khotool.fdt.blob import Blob

MAX_DEPTH = 128
"""Deepest level of nodes that is followed, even if --limit allows more."""


def run(args: argparse.Namespace) -> int:
    """Parse the file and show it; with --strict, 1 if there is a problem."""
    if args.summary or args.full:
        raise UsageError("--fdt excludes --summary and --full")
    refuse_same_file(args, [args.image])
    from khotool.render.flat_tree import (
        flat_document,
        flat_lines,
        hex_rows,
        problems_of,
        tree_at,
    )

    blob = read(args.image, args)
    top = tree_at(blob, args.path or "/")
    if top is None and args.path is not None:
        raise UsageError(f"{args.path}: no such node; dump its parent to list them")
    if args.dts:
        from khotool.render.device_tree import to_dts

        if args.path is not None:
            raise UsageError("--dts with --fdt shows the whole tree; leave out PATH")
        write_text(to_dts(blob), args)
    elif args.json:
        write_document("dump-fdt", {"path": args.image, **flat_document(blob, top)}, args)
    else:
        write_lines(hex_rows(blob, top) if args.hex else flat_lines(blob, top), args)
    return int(args.strict and bool(problems_of(blob)))


def read(path: str, args: argparse.Namespace) -> Blob:
    """The device tree at the start of a file, decompressed if it is compressed."""
    from khotool.fdt.blob import FdtError
    from khotool.fdt.parse import parse
    from khotool.memory.wholefile import whole_file

    tokens = min(args.limit.nodes, 1_000_000)
    with whole_file(path, args.limit.bytes) as data:
        try:
            return parse(data, max_tokens=tokens, max_depth=min(args.limit.depth, MAX_DEPTH))
        except FdtError as error:
            raise InputError(f"{path}: not a flattened device tree: {error}") from None
