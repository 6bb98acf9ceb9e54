"""``khotool formats``: the ABI definitions."""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.options import add_formats_option, add_output_options, add_page_size_option
from khotool.cli.output import write_document, write_json, write_lines
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.abi.registry import Registry

EPILOG = """\
examples:
  khotool formats list
  khotool formats list --kind root --status historical
  khotool formats show luo-v5
  khotool formats show kho-v4 --page-size 16K
  khotool formats list --formats ./my-formats
  khotool formats new acme-nic-v1 -o my-formats/acme-nic-v1.toml
  khotool formats diff old/demo.toml new/demo.toml
  khotool formats check ./my-formats                        all mistakes, with file and line
  khotool formats import vmlinux demo_ser --kind file -o my-formats/demo.toml
  khotool formats header memfd-v2 -o memfd.h
  khotool formats versions vmlinux                          what can this kernel take over?
  khotool formats versions --kernel 7.3

Definitions come from khotool itself, installed packages, ~/.config/khotool/formats, the directories
in KHOTOOL_FORMATS, and --formats; a later one replaces an earlier one of the same id.
"""

FURTHER = ("new", "check", "diff", "btf", "import", "header", "versions")
"""Sub-commands in modules of their own, ``khotool.cli.formats_NAME``, offered where they exist."""
LIST = """
--kind KIND            list only this kind: root, entry, file, ...
--status STATUS        list only this status: merged, queued, development, ...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list all definitions", allow_abbrev=False)
    declare(listing, LIST)
    show = actions.add_parser("show", help="show a definition and its layout", allow_abbrev=False)
    declare(show, "id ID  id as formats list prints it")
    add_page_size_option(show)
    for sub in (listing, show):
        add_formats_option(sub)
        add_output_options(sub)
    for name in FURTHER:
        module = f"khotool.cli.formats_{name}"
        if find_spec(module) is not None:
            loaded = import_module(module)
            loaded.add_arguments(actions.add_parser(name, help=loaded.HELP, allow_abbrev=False))


def run(args: argparse.Namespace) -> int:
    """List or show, or run the module of the sub-command."""
    if args.action in FURTHER:
        code: int = import_module(f"khotool.cli.formats_{args.action}").run(args)
        return code
    from khotool.abi.registry import load_registry

    registry = load_registry(args.formats)
    if args.action == "list":
        return list_formats(registry, args)
    from khotool.render.formats import show_json, show_lines

    definition = registry.get(args.id)
    if args.json:
        write_json(show_json(registry, definition, args.page_size), args)
    else:
        write_lines(show_lines(registry, definition, args.page_size), args)
    return 0


def list_formats(registry: Registry, args: argparse.Namespace) -> int:
    """The table of definitions."""
    from khotool.abi.definition import Kind
    from khotool.abi.load import STATUSES
    from khotool.structured.mistake import suggestion

    found = list(registry)
    if args.status is not None:
        if args.status not in STATUSES:
            raise UsageError(f"--status {args.status}{suggestion(args.status, STATUSES)}")
        found = [definition for definition in found if definition.status == args.status]
    if args.kind is not None:
        if args.kind not in [str(kind) for kind in Kind]:
            raise UsageError(f"--kind {args.kind}{suggestion(args.kind, Kind)}")
        found = [definition for definition in found if definition.kind == args.kind]
    # Merged definitions come first, then postings and plans.
    found.sort(key=lambda d: (d.status != "merged", list(Kind).index(d.kind), d.id))
    from khotool.render.formats import list_json, list_lines

    if args.json:
        write_document("formats", {"formats": [list_json(registry, d) for d in found]}, args)
    else:
        write_lines(list_lines(registry, found), args)
    return 0
