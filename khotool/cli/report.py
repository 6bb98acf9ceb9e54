"""``khotool report``: one HTML page about an image."""

from __future__ import annotations

import argparse
from typing import Any

from khotool.cli.options import add_image_options, add_output_options
from khotool.cli.output import note, open_with_progress, write_text
from khotool.errors import UsageError

NAME = "report"
HELP = "write a report on an image as one HTML page"
EPILOG = """\
examples:
  khotool report vmcore -o report.html
  khotool report vmcore --kernel 7.3 -o report.html      and what that kernel would do

The page is complete in itself: it loads nothing, and can be mailed or attached.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and flags."""
    parser.add_argument("image", metavar="IMAGE", help="capture to read")
    parser.add_argument("--kernel", metavar="RELEASE", help="add the verdict of this kernel")
    add_output_options(parser, json=False)
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    """Write the page."""
    if args.output is None:
        raise UsageError("a report is a page for a browser: give -o report.html")
    image = open_with_progress(args.image, args)
    from khotool.check.run import check_image
    from khotool.render.report_html import report_page

    findings = check_image(image)
    write_text(report_page(image, findings, verdict_of(image, args.kernel)), args)
    note(args, f"wrote {args.output}; open it in a browser")
    return 0


def verdict_of(image: Any, kernel: str | None) -> dict[str, Any] | None:
    """The verdict of a kernel, as ``check --kernel`` has it in JSON."""
    if kernel is None:
        return None
    from khotool.check.kernels import verdict_document

    document: dict[str, Any] = verdict_document(image, kernel)
    return document
