"""``khotool formats diff``: what changes between two definitions, and whether it breaks."""

from __future__ import annotations

import argparse

from khotool.cli.options import add_output_options, page_size
from khotool.cli.output import write_json, write_text

HELP = "compare two definitions: breaking, compatible, cosmetic"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and flags."""
    parser.add_argument("old", metavar="A", help="id of a definition, such as memfd-v1")
    parser.add_argument("new", metavar="B", help="id of another, such as memfd-v2")
    parser.add_argument(
        "--page-size", type=page_size, default=4096, metavar="N", help="4K, 16K or 64K"
    )
    parser.add_argument(
        "--formats", metavar="DIR", action="append", default=[], help="further definitions (repeat)"
    )
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Compare; 1 if a change is breaking."""
    from khotool.abi.geometry import Geometry
    from khotool.abi.registry import load_registry
    from khotool.authoring.compare import Impact, compare_definitions

    registry = load_registry(args.formats)
    changes = compare_definitions(
        registry.get(args.old), registry.get(args.new), registry, Geometry(args.page_size)
    )
    if args.json:
        from khotool.document.dump import head

        rows = [{"impact": c.impact, "where": c.where, "message": c.message} for c in changes]
        write_json(
            {**head("formats-diff"), "old": args.old, "new": args.new, "changes": rows}, args
        )
    else:
        lines = [f"{c.impact:<10}  {c.where}  {c.message}" for c in changes]
        write_text("\n".join(lines or ["same bytes, same meaning"]) + "\n", args)
    return 1 if any(c.impact is Impact.BREAKING for c in changes) else 0
