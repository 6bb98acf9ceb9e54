"""``khotool pages``: the preserved memory as sorted ranges with order and owner."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.options import add_image_options, add_output_options
from khotool.cli.output import emit, note, open_with_progress, write_json, write_lines
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.model.image import Image

EPILOG = """\
examples:
  khotool pages vmcore
  khotool pages --summary vmcore
  khotool pages --unowned vmcore            preserved pages that nothing reaches: leaks
  khotool pages --unpreserved vmcore        reached pages that are not preserved: corruption
  khotool pages --by session vmcore         how much each session keeps, contents and records
  khotool pages --unclaimed vmcore          after a boot: what is still unclaimed
  khotool pages --owner '/LUO/sessions[vm-alpha]' --csv vmcore
"""
ARGUMENTS = """
image IMAGE            capture to read
what to show:
--summary              show only totals
--by session|handler|owner|entry  show sizes by group instead of ranges
--csv                  print CSV
--unowned              show only preserved pages without an owner
--unpreserved          show pages that are referenced but not preserved
--unclaimed            show pages that the running kernel received and has not claimed yet
--owner PATH           show only pages owned by PATH or below it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_output_options(parser, compact=True)
    add_image_options(parser)


def refuse_contradictions(args: argparse.Namespace) -> None:
    """Refuse options that exclude each other."""
    if args.json and args.csv:
        raise UsageError("--json and --csv exclude each other")
    if args.unowned and (args.owner or args.unpreserved):
        raise UsageError("--unowned excludes --owner and --unpreserved")
    if args.unclaimed and args.unpreserved:
        raise UsageError("--unclaimed excludes --unpreserved")
    if args.csv and args.summary:
        raise UsageError("--csv and --summary exclude each other")
    if args.by and any((args.unowned, args.unpreserved, args.unclaimed, args.owner, args.summary)):
        raise UsageError("--by groups all preserved memory; leave out the other selection")


def run(args: argparse.Namespace) -> int:
    refuse_contradictions(args)
    image = open_with_progress(args.image, args)
    from khotool.absent import Absent
    from khotool.cli.notes import strict_exit
    from khotool.render.pages import (
        Selection,
        csv_lines,
        ownership_of,
        pages_document,
        text_lines,
    )

    if args.by:
        show_groups(image, args)
        return strict_exit(image, args)
    owner = owner_path(image, args.owner)
    selection = Selection(args.unowned, args.unpreserved, owner, args.unclaimed)
    ownership = ownership_of(image, selection)
    if args.json:
        write_json(pages_document(image, selection, ranges=not args.summary), args)
    elif args.csv:
        if isinstance(ownership, Absent):
            what = "list of unclaimed blocks" if args.unclaimed else "preserved-page map"
            note(args, f"no ranges: the {what} is absent ({ownership.reason})")
            emit(args, lambda write: write("start,pages,order,owner\n"))
        else:
            emit(args, lambda write: [write(text) for text in csv_lines(ownership, selection)])
    else:
        write_lines(text_lines(image, selection, ranges=not args.summary), args)
    return strict_exit(image, args)


def show_groups(image: Image, args: argparse.Namespace) -> None:
    """Sizes by session, handler, owner or entry."""
    from khotool.render.usage import usage_csv, usage_document, usage_lines
    from khotool.view.usage import By, usage

    by = By(args.by)
    groups = usage(image, by)
    if args.json:
        write_json(usage_document(image, by, groups), args)
    elif args.csv:
        emit(args, lambda write: write(usage_csv(image, groups)))
    else:
        write_lines(usage_lines(image, by, groups), args)


def owner_path(image: Image, path: str | None) -> str | None:
    """``--owner`` as the model spells it; a path that names nothing is an error."""
    if path is None:
        return None
    from khotool.model.lookup import find_node

    return find_node(image, path).path
