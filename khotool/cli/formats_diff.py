"""``khotool formats diff``: what changes between two definitions, and whether it breaks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.options import (
    add_formats_option,
    add_limit_option,
    add_output_options,
    add_page_size_option,
)
from khotool.cli.output import write_document, write_text

if TYPE_CHECKING:
    from khotool.abi.definition import Definition
    from khotool.abi.registry import Registry

HELP = "compare two definitions: breaking, compatible, cosmetic"
ARGUMENTS = """
old A                  id of a definition, such as memfd-v1, or a TOML file
new B                  id or file to compare it with, such as memfd-v2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_page_size_option(parser)
    add_formats_option(parser)
    add_limit_option(parser)
    add_output_options(parser)


def named(name: str, known: Registry) -> tuple[Definition, Registry]:
    """A definition by id or file, and a registry in which it is the one of its id."""
    from khotool.abi.load import load_definition
    from khotool.abi.registry import Registry
    from khotool.memory.regular import read_regular

    if not name.endswith(".toml"):
        return known.get(name), known
    raw = read_regular(name, advice="name a definition that exists")
    definition = load_definition(raw, name)
    return definition, Registry([*known, definition])


def run(args: argparse.Namespace) -> int:
    """Compare; 1 if a change is breaking."""
    from khotool.abi.geometry import Geometry
    from khotool.abi.registry import load_registry
    from khotool.authoring.compare import Impact, compare_definitions

    known = load_registry(args.formats)
    (old, before), (new, after) = named(args.old, known), named(args.new, known)
    changes = compare_definitions(old, new, before, Geometry(args.page_size), after)
    if args.json:
        rows = [{"impact": c.impact, "where": c.where, "message": c.message} for c in changes]
        write_document("formats-diff", {"old": args.old, "new": args.new, "changes": rows}, args)
    else:
        lines = [f"{c.impact:<10}  {c.where}  {c.message}" for c in changes]
        write_text("\n".join(lines or ["same bytes, same meaning"]) + "\n", args)
    return 1 if any(c.impact is Impact.BREAKING for c in changes) else 0
