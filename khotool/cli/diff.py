"""``khotool diff``: what changed between two handovers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.options import add_image_options, add_output_options, options_from
from khotool.cli.output import ProgressBar, refuse_same_file, write_json, write_lines, write_text
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.diff.changes import Comparison
    from khotool.model.image import Image

EPILOG = """\
examples:
  khotool diff before.elf after.elf                 what changed, regardless of addresses
  khotool diff outgoing.elf vmcore --contents       what was lost or changed on the way
  khotool diff a b --only '/LUO/sessions[vm-alpha]' --ignore '/LUO/sessions[*]/files[*]/data/pos'

Exit code 0: equal. 1: different. 5: equal where both images have data, but something could not be
compared. Physical addresses are ignored unless --addresses is given. Options for reading an image
apply to both.
"""

EXIT_CODES = {"equal": 0, "different": 1, "incomplete": 5}
"""Exit codes by result."""
ARGUMENTS = """
old A                  capture, packed image, debugfs copy or model
new B                  image to compare it with
--addresses            also compare addresses and the layout of lists
--pages                list the preserved ranges that differ
--contents             also compare payload
--stat                 count the changes instead of listing them
--only PATH...         report only this path and what is below it; * matches within a name
                       (repeatable)
--ignore PATH...       do not report this path or what is below it (repeatable)
--output-format text|json|markdown  format of the output (default: text)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_output_options(parser)
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    form = args.output_format or ("json" if args.json else "text")
    if args.json and form != "json":
        raise UsageError(f"--json and --output-format {form} exclude each other")
    refuse_same_file(args, [args.old, args.new])
    for path in (*args.only, *args.ignore):
        if not path.startswith("/"):
            raise UsageError(f"{path!r}: a path starts with /, as dump prints it")
    from khotool.diff.changes import DiffOptions
    from khotool.diff.compare import compare
    from khotool.opening.load import load_image

    options = DiffOptions(
        args.addresses, args.pages, args.contents, tuple(args.only), tuple(args.ignore)
    )
    with ProgressBar(args) as report:
        old = load_image(args.old, options_from(args), report)
        new = load_image(args.new, options_from(args), report)
        result = compare(old, new, options, report)
    _write(args, form, old, new, result)
    return EXIT_CODES[result.result]


def _write(args: argparse.Namespace, form: str, old: Image, new: Image, result: Comparison) -> None:
    from khotool.render.diff import diff_document, diff_lines, diff_markdown, stat_lines

    if form == "json":
        write_json(diff_document(old, new, result, ranges=args.pages or args.addresses), args)
    elif form == "markdown":
        write_text(diff_markdown(old, new, result), args)
    elif args.stat:
        write_lines(stat_lines(result), args)
    else:
        write_lines(diff_lines(old, new, result, old.geometry.page_size), args)
